"""The losses of a training under way, as they travel in its job's row."""

from __future__ import annotations

from shared.learning.train import EpochReport

MOST = 200
"""Points: a row of them is written every two seconds."""
Point = tuple[int, float, float | None]
"""Epoch, loss, and loss on the holdout or None."""


class Losses:
    """The losses of the present stage by epoch, for who watches: at most ``MOST``, evenly spread."""

    def __init__(self) -> None:
        self._stage = ""
        self._every = 1
        self._seen = 0
        self._kept: list[Point] = []

    def add(self, report: EpochReport) -> list[Point]:
        """(epoch, loss, loss on the holdout or None), this report's last."""
        if report.stage != self._stage:
            self._stage, self._every, self._seen, self._kept = report.stage, 1, 0, []
        point = (report.epoch, report.loss, report.holdout_loss)
        if self._seen % self._every == 0:
            self._kept.append(point)
        self._seen += 1
        if len(self._kept) > MOST:
            self._kept, self._every = self._kept[::2], 2 * self._every
        return self._kept if self._kept[-1] == point else [*self._kept, point]
