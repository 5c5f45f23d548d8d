"""Several processes train one model: the same as one process would have trained, whatever happens to them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from services.trainer.launch import Alone, Together, Training, is_shared
from services.trainer.order import Failed, Order, Progress, Trained
from shared.domain import ClassId
from shared.learning.config import LearnConfig
from shared.settings import TrainerSettings
from tests.unit.learning_support import squares
from tests.waiting import wait_for

TWO = TrainerSettings(processes=2)
PATIENCE_S = 120


def order(folder: Path, *, n: int = 200, batch_norm: bool = True, **recipe: Any) -> Order:
    x, y = squares(n, size=16)
    folder.mkdir()
    (folder / "journal").mkdir()
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.save(folder / "images.npy", np.arange(n))
    config = LearnConfig(
        image_size=16,
        channels=1,
        dropout=0.0,  # every process drops other units
        batch_norm=batch_norm,
        recipe={"epochs": 3, "min_steps": 1, "batch_size": 50, "folds": 0, **recipe},
    )
    return Order(
        folder=folder,
        config=config.to_dict(),
        classes=[(ClassId(i), name) for i, name in enumerate(("left", "right", "bottom"))],
        data_version="v",
        backbone_id=None,
        device="cpu",
        journal_s=0.001,
    )


@contextmanager
def running(training: Training, *, over: bool = False) -> Iterator[Training]:
    try:
        yield training
    finally:
        training.end(over=over)


def messages(training: Training) -> Iterator[Any]:
    """What a training says, to its end."""
    while training.pipe.poll(PATIENCE_S):
        message = training.pipe.recv()
        yield message
        if not isinstance(message, Progress):
            return
    pytest.fail("the training fell silent")


def outcome(training: Training) -> tuple[Any, list[Progress]]:
    with running(training, over=True):
        *progress, last = messages(training)
    return last, progress


def weights(one: Order) -> dict[str, np.ndarray]:
    return load_file(one.folder / "model.safetensors")


@pytest.mark.parametrize("recipe", [{"mixup": 0.2, "ema": 0.9}, {"imbalance": "weighted"}], ids=["mixup", "weighted"])
def test_two_processes_train_the_model_that_one_trains(tmp_path: Path, recipe: dict[str, Any]) -> None:
    alone, together = order(tmp_path / "alone", **recipe), order(tmp_path / "together", **recipe)
    said, told = outcome(Alone(alone)), outcome(Together(together, TWO))
    assert isinstance(said[0], Trained) and isinstance(told[0], Trained)
    expected = weights(alone)
    for name, found in weights(together).items():
        assert found == pytest.approx(expected[name], abs=2e-3), name
    for one, other in zip(said[1], told[1], strict=True):
        assert other.report.loss == pytest.approx(one.report.loss, abs=1e-3)
        assert other.report.accuracy == pytest.approx(one.report.accuracy, abs=0.011)


def test_machines_meet_at_the_address_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("WINNOW_WORKER_DEVICE", "cpu")
    first = TrainerSettings(processes=1, nodes=2, node=0, master=master)
    member = {"PROCESSES": "1", "NODES": "2", "NODE": "1", "MASTER": master}
    env = os.environ | {f"WINNOW_TRAINER_{name}": value for name, value in member.items()}
    log = (tmp_path / "member.log").open("w+")
    second = subprocess.Popen([sys.executable, "-m", "services.trainer.member"], env=env, stdout=log, stderr=log)
    try:
        alone, together = order(tmp_path / "alone"), order(tmp_path / "together")
        assert isinstance(outcome(Alone(alone))[0], Trained)
        for _ in range(2):  # a member stays for the next training
            assert isinstance(outcome(Together(together, first))[0], Trained), (tmp_path / "member.log").read_text()
            for name, found in weights(together).items():
                assert found == pytest.approx(weights(alone)[name], abs=2e-3), name
            for left in (together.folder / "journal").iterdir():
                left.unlink()
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=30) == 0
        log.close()


def test_a_failure_is_told_and_leaves_no_process_behind(tmp_path: Path) -> None:
    wild = order(tmp_path / "wild", batch_norm=False)
    wild = replace(wild, config={**wild.config, "learning_rate": 1e30})
    failed, _ = outcome(Together(wild, TWO))
    assert isinstance(failed, Failed) and failed.permanent and failed.diverged
    wait_for(lambda: not ranks(wild), "the processes to end")


def ranks(one: Order) -> list[int]:
    """The processes that work in the order's folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str(one.folder).encode() in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
    return found


@pytest.mark.parametrize("victim", ["a rank", "torchrun"])
def test_when_one_dies_all_end(tmp_path: Path, victim: str) -> None:
    long = order(tmp_path / "long", epochs=100_000)
    training = Together(long, TWO)
    with running(training):
        assert isinstance(next(messages(training)), Progress)
        processes = sorted(ranks(long))
        assert len(processes) == 3
        os.kill(processes[-1] if victim == "a rank" else processes[0], signal.SIGKILL)
        wait_for(lambda: training.ended, "torchrun to end")
        wait_for(lambda: not ranks(long), "the others to end")


def test_ending_it_ends_every_process(tmp_path: Path) -> None:
    long = order(tmp_path / "long", epochs=100_000)
    training = Together(long, TWO)
    with running(training):
        assert isinstance(next(messages(training)), Progress)
    wait_for(lambda: not ranks(long), "the processes to end")


def test_together_goes_on_from_what_was_written_down(tmp_path: Path) -> None:
    whole, broken = order(tmp_path / "whole", epochs=8), order(tmp_path / "broken", epochs=8)
    assert isinstance(outcome(Together(whole, TWO))[0], Trained)
    training = Together(broken, TWO)
    with running(training):
        for message in messages(training):
            if message.report.epoch == 3:
                break
    assert (broken.folder / "journal" / "model.pt").exists()
    _, progress = outcome(Together(broken, TWO))
    assert progress[0].report.epoch >= 3
    for name, found in weights(broken).items():
        assert found == pytest.approx(weights(whole)[name], abs=1e-4), name
    history = json.loads((broken.folder / "checkpoint.json").read_text())["metrics"]["history"]
    assert [report["epoch"] for report in history] == list(range(1, 9))


def test_few_labels_are_trained_on_by_one_process() -> None:
    assert not is_shared(TWO, "cpu", 127)
    assert is_shared(TWO, "cpu", 128)
    assert not is_shared(TrainerSettings(), "cpu", 10**6)
