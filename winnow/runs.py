"""Many simulations beside each other: a process each, results in files, and none lost for another's failure."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from shared.errors import Conflict, WinnowError
from shared.learning.model import use_threads
from winnow.inputs import Inputs
from winnow.options import SimulateOptions
from winnow.simulate import Row, simulate

_NOT_OF_THE_RESULT = ("data", "weights", "weights_dir", "device", "initial", "batch", "rounds", "shard_size")
"""Options that say where things are and not what they are, and those that ``budgets`` says too."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One strategy with one seed. ``label`` is the strategy as it was asked for, settings and all."""

    label: str
    options: SimulateOptions
    path: Path
    digest: str

    def identity(self) -> dict[str, Any]:
        """Everything that the result depends on, JSON-ready."""
        told = {name: value for name, value in asdict(self.options).items() if name not in _NOT_OF_THE_RESULT}
        image_size = self.options.learn_config().image_size
        told |= {"budgets": list(self.options.schedule()), "image_size": image_size, "images": self.digest}
        made: dict[str, Any] = json.loads(json.dumps(told, sort_keys=True))
        return made


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run's result, as ``simulate`` gives it, and the seconds it took."""

    run: Run
    result: Row
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A run without a result; ``reason`` is for people."""

    run: Run
    reason: str


OnEnd = Callable[[Finished | Failed], None]


def run_path(folder: Path, label: str, seed: int) -> Path:
    """Where a run is kept, below ``folder``."""
    return folder / "runs" / f"{re.sub(r'[^A-Za-z0-9_.,:=+-]', '_', label)}-{seed}.json"


def finished_before(run: Run) -> Finished | None:
    """The run from its file, None where there is no such file.

    Raises ``Conflict`` when that one was made with other options.
    """
    if not run.path.exists():
        return None
    try:
        kept = json.loads(run.path.read_text())
        before, result, seconds = kept["options"], kept["result"], kept["seconds"]
    except (ValueError, KeyError, TypeError) as error:
        raise Conflict(f"{run.path} is no run that this command wrote: move it, or use --fresh") from error
    now = run.identity()
    other = [name for name in sorted(now.keys() | before.keys()) if now.get(name) != before.get(name)]
    if other:
        told = ", ".join(f"{name} {before.get(name)!r}, not {now.get(name)!r}" for name in other)
        raise Conflict(f"{run.path} was made with {told}: use --fresh to run it anew, or another --out")
    return Finished(run=run, result=result, seconds=seconds)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def run_all(runs: Sequence[Run], inputs: Path, *, jobs: int, on_end: OnEnd) -> None:
    """Run them, ``jobs`` at a time, each in a process of its own that maps ``inputs`` and has its share of the cores.

    A result is in its file before ``on_end`` hears of it. A run that raises, or whose process is killed, is told of as
    failed and the others go on. The processes end with this one, however it ends.
    """
    threads = max(1, cores() // jobs)
    with _environment({"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}):
        # The server loads torch once, and every run is a fork of it that starts at once.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["winnow.simulate"])
        waiting, active = list(reversed(runs)), list[_Child]()
        try:
            while waiting or active:
                while waiting and len(active) < jobs:
                    active.append(_Child(context, waiting.pop(), inputs, threads))
                ready = wait([child.process.sentinel for child in active])
                for child in [one for one in active if one.process.sentinel in ready]:
                    active.remove(child)
                    on_end(child.end())
        finally:
            for child in active:
                child.process.kill()
                child.process.join()


class _Child:
    """A run in its process."""

    def __init__(self, context: Any, run: Run, inputs: Path, threads: int) -> None:
        self.run = run
        self.started = time.perf_counter()
        self.said, says = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=_run, args=(run, inputs, threads, says), daemon=True)
        self.process.start()
        says.close()

    def end(self) -> Finished | Failed:
        self.process.join()
        reason = self._reason()
        self.said.close()
        finished = finished_before(self.run) if reason is None else None
        if finished is not None:
            return finished
        return Failed(run=self.run, reason=reason or "it ended without a result")

    def _reason(self) -> str | None:
        try:
            if self.said.poll():
                return str(self.said.recv())
        except EOFError:
            pass
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = ": perhaps memory ran out, so try fewer --jobs" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{hint}"
        return None if code == 0 else f"its process ended with exit code {code}"


def _run(run: Run, inputs: Path, threads: int, says: Connection) -> None:
    """What a child does: simulate, and write the result so that the file is whole or not there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    try:
        use_threads(threads)
        started = time.perf_counter()
        result = simulate(run.options, inputs=Inputs.load(inputs))
        kept = {"options": run.identity(), "result": result, "seconds": time.perf_counter() - started}
        part = run.path.with_suffix(".part")
        part.write_text(json.dumps(kept, indent=1))
        part.replace(run.path)
    except WinnowError as error:
        says.send(str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        says.send(f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})")


def _end_with_parent() -> None:
    """Nobody waits for the result any more. The server of forks can't tell: it lives as long as its forks do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
