"""Streams: images that arrive once there is a model are asked or passed as each is scored, at a rate that was set.

Where the stream stands is kept with the project, under whose lock the decision is made: in the transaction that ends
the scoring, so that an image is offered once however often its shard is tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.db import projects, tasks
from shared.db.pool import Tx
from shared.domain import ImageId, NewTask, Project, RoundId, TaskKind
from shared.selection.base import Floats, Scores
from shared.selection.streams import Stream, StreamState, begin, offer
from shared.selection.uncertainty import MEASURES
from shared.telemetry import logger

log = logger(__name__)
_PRIORITY = 0.5
"""Before the queries, whose priorities begin at 1: who sends a stream waits for its answers."""


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Images in order of arrival and how unsure the model is of each, float64 (n,), from 0 to ``highest``."""

    ids: Sequence[ImageId]
    scores: Scores
    highest: float

    @classmethod
    def of(cls, ids: npt.NDArray[np.int64], probabilities: Floats, measure: str) -> Arrivals:
        """``probabilities`` float32 (n, C) of images ``ids``, by one of the uncertainty measures."""
        order = np.argsort(ids)
        highest = math.log(max(probabilities.shape[1], 2)) if measure == "entropy" else 1.0
        return cls(
            ids=[ImageId(int(one)) for one in ids[order]],
            scores=MEASURES[measure](probabilities[order]),
            highest=highest,
        )


def take_in(tx: Tx, project: Project, round_id: RoundId, arrivals: Arrivals) -> int:
    """Open tasks for those that are worth asking; returns how many. Call under the project's lock."""
    if not project.settings.stream_rate or not len(arrivals.ids):
        return 0
    stream = Stream(rate=project.settings.stream_rate, highest=arrivals.highest)
    stood = begin(stream, arrivals.scores) if project.stream is None else StreamState.from_dict(project.stream)
    asked, stands = offer(stream, stood, arrivals.scores)
    projects.set_stream(tx, project.id, stands.to_dict())
    new = [
        NewTask(
            image_id=arrivals.ids[row],
            kind=TaskKind.STREAM,
            priority=_PRIORITY,
            strategy="stream",
            score=float(arrivals.scores[row]),
        )
        for row in np.flatnonzero(asked).tolist()
    ]
    opened = tasks.add(tx, project.id, round_id, new, asked_of=project.settings.asked_of)
    log.info("stream.offered", project_id=project.id, seen=len(arrivals.ids), asked=opened, threshold=stands.threshold)
    return opened
