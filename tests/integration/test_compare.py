"""Comparing and tuning, with real processes on real digits: what is written, what is kept, and what is lost of none."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from shared.errors import Conflict, Invalid, Permanent
from winnow.cli import app
from winnow.compare import Compared, CompareOptions, Progress, compare, contender
from winnow.datasets import open_dataset, write_digits
from winnow.inputs import Inputs, plan, prepare
from winnow.options import SimulateOptions
from winnow.runs import Failed, Finished, Run, cores, run_all, run_path
from winnow.simulate import simulate
from winnow.tune import Grid, label_of, tune

QUICK = {"min_steps": 20, "folds": 0}
FLAGS = ["--image-size", "8", "--channels", "1", "--epochs", "1", "--recipe", "min_steps=20", "--recipe", "folds=0"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("data") / "digits")


def options(data: Path, **changes: Any) -> SimulateOptions:
    small = SimulateOptions(data=data, image_size=8, channels=1, epochs=1, budgets=(30, 50), recipe=QUICK)
    return replace(small, **changes)


def asked(data: Path, out: Path, strategies: str = "random,margin", **changes: Any) -> CompareOptions:
    made = CompareOptions(
        strategies=tuple(strategies.split(",")),
        seeds=2,
        out=out,
        options=options(data),
        jobs=cores(),
        shared_options={},
    )
    return replace(made, **changes)


def run(wanted: CompareOptions) -> tuple[Compared, list[Progress], list[str]]:
    progress: list[Progress] = []
    said: list[str] = []
    return compare(wanted, progress.append, said.append), progress, said


@pytest.fixture(scope="module")
def out(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of random and margin, two seeds each, that the tests below read and add to."""
    folder = tmp_path_factory.mktemp("compared")
    compared, progress, _ = run(asked(digits, folder))
    assert compared.failed == ()
    assert [one.number for one in progress] == [1, 2, 3, 4] and not any(one.kept for one in progress)
    return folder


def test_the_curves_have_a_line_for_each_round_and_a_column_for_each_class(out: Path) -> None:
    with (out / "curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    per_class = [f"accuracy_{name}" for name in "0123456789"]
    assert list(lines[0]) == [
        *("strategy", "seed", "labels", "accuracy", "macro_f1"),
        *per_class,
        *("train_s", "score_s", "select_s"),
    ]
    seen = [(line["strategy"], line["seed"], line["labels"]) for line in lines]
    assert seen == [(name, seed, n) for name in ("random", "margin") for seed in "01" for n in ("30", "50")]
    assert all(0 <= float(line[name]) <= 1 for line in lines for name in ("accuracy", *per_class))


def test_the_summary_says_what_was_run_and_holds_every_strategy(out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())
    about = {key: summary[key] for key in ("dataset", "mode", "pool", "measured_on", "budgets", "seeds", "failed")}
    assert about == {
        "dataset": "digits",
        "mode": "scratch",
        "pool": 1297,
        "measured_on": 500,
        "budgets": [30, 50],
        "seeds": [0, 1],
        "failed": [],
    }
    assert list(summary["strategies"]) == ["random", "margin"]
    first = summary["strategies"]["margin"]["budgets"][0]["accuracy"]
    assert (first["diff"], first["diff_se"]) == (0.0, 0.0), "strategies must start with the same labels and seeds"


def test_a_run_is_what_simulate_gives(digits: Path, out: Path) -> None:
    kept = json.loads(run_path(out, "margin", 1).read_text())["result"]
    alone = simulate(options(digits, strategy="margin", seed=1))

    def figures(result: dict[str, Any]) -> list[Any]:
        return [[row[key] for key in ("labels", "accuracy", "macro_f1", "per_class")] for row in result["rounds"]]

    assert figures(kept) == figures(alone)


def test_what_is_finished_is_kept_and_only_what_is_new_is_run(digits: Path, out: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    _, progress, said = run(asked(digits, out))
    assert all(one.kept for one in progress) and said == []
    added, progress, said = run(asked(digits, out, "margin,hybrid:alpha=0.5:clusters=5"))
    assert [one.kept for one in progress] == [True] * 4 + [False] * 2
    assert said[0].startswith("random is run too") and said[1] == "preparing 1,797 images, once for 2 runs"
    assert list(added.summary["strategies"]) == ["random", "margin", "hybrid:alpha=0.5:clusters=5"]
    after = {path.name: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    assert {name: when for name, when in after.items() if name in before} == before
    assert set(after) - set(before) == {f"hybrid:alpha=0.5:clusters=5-{seed}.json" for seed in (0, 1)}


def test_runs_with_other_options_are_refused_until_they_may_be_replaced(digits: Path, tmp_path: Path) -> None:
    first = asked(digits, tmp_path, "random", seeds=1)
    run(first)
    other = replace(first, options=options(digits, budgets=(30, 60)))
    with pytest.raises(Conflict, match=r"random-0\.json was made with budgets \[30, 50\], not \[30, 60\]: use --fresh"):
        run(other)
    compared, _, _ = run(replace(other, fresh=True))
    assert compared.summary["budgets"] == [30, 60]
    run_path(tmp_path, "random", 0).write_text("{}")
    with pytest.raises(Conflict, match="is no run that this command wrote"):
        run(other)


def test_settings_that_cannot_work_are_refused_before_anything_is_run(digits: Path, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"strategies": "best"},
        {"strategies": "margin:alpha=0.5"},
        {"strategies": "hybrid:alpha"},
        {"strategies": "hybrid:alpha=2"},
        {"strategies": "margin:cold_start=entropy"},
        {"strategies": "margin:cold_start=best"},
        {"shared_options": {"alpha": 0.5}},
        {"seeds": 0},
        {"jobs": 0},
        {"options": options(digits, budgets=(30, 30))},
        {"options": options(digits, budgets=(2000,))},
        {"options": options(digits, pool=5000)},
        {"options": options(digits, mode="head")},
    ]
    for changes in wrong:
        with pytest.raises(Invalid):
            run(asked(digits, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_strategy_of_the_list_sets_what_it_says_and_takes_the_rest_from_all(digits: Path) -> None:
    base = options(digits)
    made = contender("hybrid:measure=entropy:clusters=20", base, {"alpha": 0.25, "clusters": 3})
    assert made.strategy_options.items() >= {"measure": "entropy", "alpha": 0.25, "clusters": 20}.items()
    assert "alpha" not in contender("margin", base, {"alpha": 0.25}).strategy_options


# Failures


@pytest.fixture
def inputs(digits: Path, tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "inputs"
    folder.mkdir()
    with open_dataset(digits) as dataset:
        planned = plan(options(digits), dataset)
        prepare(options(digits), dataset, planned).save(folder)
    return folder, planned.digest()


def runs_of(digits: Path, folder: Path, digest: str, **named: Any) -> list[Run]:
    (folder / "runs").mkdir()
    return [
        Run(label=label, options=options(digits, **changes), path=run_path(folder, label, 0), digest=digest)
        for label, changes in named.items()
    ]


def test_a_run_that_fails_is_told_of_and_the_others_finish(
    digits: Path, tmp_path: Path, inputs: tuple[Path, str]
) -> None:
    folder, digest = inputs
    runs = runs_of(digits, tmp_path, digest, good={}, bad={"cold_start": "entropy"}, also_good={"seed": 1})
    ended: dict[str, Finished | Failed] = {}
    run_all(runs, folder, jobs=2, on_end=lambda one: ended.update({one.run.label: one}))
    assert isinstance(ended["good"], Finished) and isinstance(ended["also_good"], Finished)
    bad = ended["bad"]
    assert isinstance(bad, Failed) and "needs a trained model's probabilities" in bad.reason
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == ["also_good-0.json", "good-0.json"]


def test_a_killed_process_loses_its_own_run_only(digits: Path, tmp_path: Path, inputs: tuple[Path, str]) -> None:
    folder, digest = inputs
    long = {"recipe": {"min_steps": 100_000, "folds": 0}}
    runs = runs_of(digits, tmp_path, digest, killed=long, good={})
    ended: dict[str, Finished | Failed] = {}

    def kill_the_first() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for child in multiprocessing.active_children():
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGKILL)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    run_all(runs, folder, jobs=1, on_end=lambda one: ended.update({one.run.label: one}))
    killer.join()
    killed = ended["killed"]
    assert isinstance(killed, Failed) and "ended by SIGKILL" in killed.reason and "fewer --jobs" in killed.reason
    assert isinstance(ended["good"], Finished)


PARENT = """
import multiprocessing, pickle, sys, threading, time
from pathlib import Path
from winnow.runs import run_all

def tell():
    while not multiprocessing.active_children():
        time.sleep(0.01)
    print(multiprocessing.active_children()[0].pid, flush=True)

if __name__ == "__main__":
    threading.Thread(target=tell).start()
    run_all(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), jobs=1, on_end=print)
"""


def test_runs_end_with_the_process_that_asked_for_them_even_when_it_is_killed(
    digits: Path, tmp_path: Path, inputs: tuple[Path, str]
) -> None:
    folder, digest = inputs
    runs = runs_of(digits, tmp_path, digest, long={"recipe": {"min_steps": 1_000_000, "folds": 0}})
    (tmp_path / "runs.pickle").write_bytes(pickle.dumps(runs))
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "runs.pickle"), str(folder)]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.kill()
    deadline = time.monotonic() + 60
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(child)


def lives(pid: int) -> bool:
    """Whether there is such a process, other than as a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_inputs_come_back_from_their_folder_as_they_were(digits: Path, inputs: tuple[Path, str]) -> None:
    with open_dataset(digits) as dataset:
        made = prepare(options(digits), dataset)
    loaded = Inputs.load(inputs[0])
    assert (loaded.dataset, loaded.classes, loaded.backbone_id) == (made.dataset, made.classes, None)
    for name in ("x", "y", "test_x", "test_y", "original"):
        assert (getattr(loaded, name) == getattr(made, name)).all()


# Budgets and variants


def test_a_model_is_trained_at_each_budget_and_at_the_last_image(digits: Path) -> None:
    result = simulate(options(digits, pool=60, budgets=(10, 25, 59, 500)))
    assert [row["labels"] for row in result["rounds"]] == [10, 25, 59, 60]


def test_a_pool_with_near_duplicates_counts_the_different_pictures(digits: Path, tmp_path: Path) -> None:
    wanted = asked(digits, tmp_path, "random", seeds=1, options=options(digits, duplicates=10, pool=400))
    compared, _, _ = run(wanted)
    assert (compared.summary["pool"], compared.summary["duplicates"]) == (400, 10)
    distinct = [row["distinct"]["mean"] for row in compared.summary["strategies"]["random"]["budgets"]]
    assert 10 < distinct[0] < 30 and distinct[0] < distinct[1] <= 40
    assert (tmp_path / "curves.csv").read_text().splitlines()[0].endswith("select_s,distinct")


def test_an_imbalanced_pool_leaves_the_test_set_as_it_is(digits: Path) -> None:
    with open_dataset(digits) as dataset:
        made = prepare(options(digits, imbalance=20.0), dataset)
    counts = sorted((made.y == one).sum() for one in range(10))
    assert counts[-1] / counts[0] == pytest.approx(20, rel=0.15)
    assert len(made.test_y) == 500


# Tuning


@pytest.fixture(scope="module")
def without_a_test_set(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, every test image of which is unreadable."""
    folder = write_digits(tmp_path_factory.mktemp("data") / "digits")
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(b"not to be looked at")
    return folder


def test_tuning_measures_the_grid_on_training_images_alone(without_a_test_set: Path, tmp_path: Path) -> None:
    grid = Grid(measures=("margin",), alphas=(0.5, 0.9), clusters=(5,))
    wanted = asked(without_a_test_set, tmp_path, options=options(without_a_test_set, validation=0.2))
    tuned = tune(grid, wanted, lambda _: None, lambda _: None)
    assert [row["aulc"] for row in tuned.rows] == sorted((row["aulc"] for row in tuned.rows), reverse=True)
    report = json.loads((tmp_path / "tune.json").read_text())
    assert report["best"]["strategy"] == label_of({key: tuned.rows[0][key] for key in ("measure", "alpha", "clusters")})
    assert report["pure"]["measure"] == "margin"
    assert report["ahead_of_random"] == pytest.approx(report["best"]["aulc"] - report["random"]["aulc"])
    assert report["beyond_noise"]["random"] == (report["ahead_of_random"] > report["least_difference"])
    assert (report["pool"], report["measured_on"]) == (1038, 259)
    with (tmp_path / "grid.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {(line["alpha"], line["clusters"]) for line in lines} == {("0.5", "5"), ("0.9", "5")}


def test_tuning_refuses_what_would_say_nothing(digits: Path, tmp_path: Path) -> None:
    grid = Grid(measures=("margin",), alphas=(0.5,), clusters=(5,))
    held = options(digits, validation=0.2)
    for wrong in ({"seeds": 1, "options": held}, {"options": options(digits)}):
        with pytest.raises(Invalid):
            tune(grid, asked(digits, tmp_path, **wrong), lambda _: None, lambda _: None)
    for empty in ({"measures": ()}, {"alphas": (0.5, 0.5)}):
        with pytest.raises(Invalid, match="different values"):
            replace(grid, **empty).settings()


# The commands


def winnow(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_prints_a_line_for_each_run_and_a_table_and_writes_everything(digits: Path, tmp_path: Path) -> None:
    place = ["--out", str(tmp_path), "--budgets", "30,50", "--seeds", "2"]
    printed = winnow("compare", str(digits), "--strategies", "random,margin", *FLAGS, *place)
    assert printed.count("seed 0: accuracy") == 2 and printed.count("seed 1: accuracy") == 2
    assert "AULC" in printed and "points ahead of random" in printed
    written = {"curves.csv", "summary.json", "curves.png", "differences.png", "classes.png", "report.html", "runs"}
    assert {path.name for path in tmp_path.iterdir()} == written
    for name in ("curves.png", "differences.png", "classes.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_tuning_command_prints_the_grid_and_a_verdict(digits: Path, tmp_path: Path) -> None:
    lists = ["--measures", "margin", "--alphas", "0.5", "--clusters", "5", "--seeds", "2", "--budgets", "30,50"]
    printed = winnow("tune", str(digits), *lists, *FLAGS, "--out", str(tmp_path))
    assert "to random" in printed and "points against random and" in printed
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")


def test_a_comparison_of_which_runs_failed_says_so_and_keeps_the_rest(digits: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, "--strategies", "margin", "--seeds", "1", "--budgets", "30,50", "--recipe", "learning_rate=1e30"]
    failed = CliRunner().invoke(app, ["compare", str(digits), *flags, "--out", str(tmp_path)])
    assert isinstance(failed.exception, Permanent)
    told = str(failed.exception)
    assert told.startswith("2 of the runs failed, the same command runs them again: margin, seed 0:")
    assert "; random, seed 0:" in told
    assert json.loads((tmp_path / "summary.json").read_text())["strategies"] == {}


def test_lists_that_are_none_are_refused(digits: Path, tmp_path: Path) -> None:
    for flags in (["--budgets", "50;100"], ["--recipe", "epochs"]):
        refused = CliRunner().invoke(app, ["compare", str(digits), "--out", str(tmp_path), *flags])
        assert isinstance(refused.exception, Invalid)
