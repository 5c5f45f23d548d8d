"""A selection doesn't depend on the processor, nor on how many threads add up its products."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.selection import registry
from shared.selection.base import Labelled
from tests.unit.test_selection_strategies import choose, make_pool

MACHINES = {
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "one thread": {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    "two threads": {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    "no vector instructions in faiss": {"FAISS_OPT_LEVEL": "generic"},
    "no vector instructions in NumPy": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 X86_V3"},
}

FEW = {"variance": 20, "error_reduction": 20}
"""How many images of these, whose work for each is that of a whole batch of others."""


def selections() -> dict[str, list[int]]:
    """What each strategy chooses of a pool that is large enough for blocks, threads and several fronts."""
    pool = make_pool(2000, seed=8, classes=10, dim=70)
    rng = np.random.default_rng(3)
    labelled = Labelled(
        np.arange(300) + 10**8, rng.integers(10, size=300), 10, rng.normal(size=(300, 70)).astype(np.float32)
    )
    asked = {name: registry.make(name) for name in registry.names()}
    asked |= {"all wrappers": registry.make("entropy", subsample=0.7, balance=True, distinct=0.8)}
    asked |= {"weighted": registry.make("kmeans", weighted=True)}
    return {
        name: choose(one, [pool], FEW.get(name, 300), labelled=labelled).ids.tolist() for name, one in asked.items()
    }


def elsewhere(environment: dict[str, str]) -> dict[str, list[int]]:
    code = f"import json; from {__name__} import selections; print(json.dumps(selections()))"
    path = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.returncode, ran.stderr
    return dict(json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def here() -> dict[str, list[int]]:
    return selections()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels to choose between are those of x86-64")
@pytest.mark.parametrize("machine", MACHINES)
def test_every_strategy_selects_the_same_on_every_machine(machine: str, here: dict[str, list[int]]) -> None:
    if machine == "SkylakeX" and "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX-512")
    there = elsewhere(MACHINES[machine])
    assert [name for name in here if here[name] != there[name]] == []
