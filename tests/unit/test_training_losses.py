"""The losses of a training, as who watches gets them."""

from __future__ import annotations

from itertools import pairwise

from services.trainer.losses import MOST, Losses
from shared.learning.train import EpochReport


def report(epoch: int, stage: str = "model") -> EpochReport:
    return EpochReport(epoch=epoch, epochs=1000, loss=1 / epoch, accuracy=0.5, stage=stage)


def test_all_epochs_are_told_while_they_are_few() -> None:
    losses = Losses()
    told = [losses.add(report(epoch)) for epoch in (1, 2, 3)][-1]
    assert told == [(1, 1.0, None), (2, 0.5, None), (3, 1 / 3, None)]


def test_a_long_training_is_told_by_some_of_its_epochs_the_first_and_the_last_among_them() -> None:
    losses = Losses()
    for epoch in range(1, 1001):
        told = losses.add(report(epoch))
        assert len(told) <= MOST + 1
        assert told[0][0] == 1 and told[-1][0] == epoch
    steps = {later[0] - earlier[0] for earlier, later in pairwise(told[:-1])}
    assert steps == {8}, "evenly spread"


def test_another_stage_begins_anew() -> None:
    losses = Losses()
    losses.add(report(1))
    assert losses.add(report(1, "fold 1")) == [(1, 1.0, None)]
