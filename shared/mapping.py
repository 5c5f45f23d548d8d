"""A map of the pool: every image a point, and like images side by side. Asked for here, drawn by a scorer.

It shows what the newest model that has looked at the pool makes of it: of the images that people are asked about, never
of the holdout. The points lie in the store beside that model; who looks at them adds the labels that there are by then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.db import maps, rounds
from shared.db.pool import Tx
from shared.domain import CheckpointId, Job, JobKind, JobState, NewJob, Project
from shared.errors import Conflict

MOST = 50_000
"""Points of a map. Of a larger pool it shows a sample, in which all images are that people have labelled."""
FEWEST = 10
"""With fewer images there is nothing to see."""
POINT = np.dtype([("id", "<i8"), ("x", "<f4"), ("y", "<f4"), ("column", "<i2"), ("confidence", "<f4")])
"""An image and its place, in units of the map's own, and what the model takes it for, and how surely."""
Points = NDArray[np.void]


@dataclass(frozen=True, kw_only=True)
class Request:
    """``previous``: where the map lies that this one begins from, so that what is alike stays where it was."""

    checkpoint_id: CheckpointId
    seed: int
    most: int = MOST
    previous: str | None = None

    @classmethod
    def of(cls, job: Job) -> Request:
        values: dict[str, Any] = dict(job.payload)
        return cls(**values)


def wanted(tx: Tx, project: Project, checkpoint_id: CheckpointId, *, number: int = 0) -> NewJob:
    """The job that draws a map, for the caller to enqueue; ``number`` tells it from earlier ones of the model."""
    before = maps.newest_drawn(tx, project.id)
    checkpoint = rounds.checkpoint(tx, checkpoint_id)
    request = Request(
        checkpoint_id=checkpoint_id, seed=project.settings.seed, previous=None if before is None else before.key
    )
    return NewJob(
        kind=JobKind.MAP,
        project_id=project.id,
        round_id=checkpoint.round_id,
        unique_key=f"map:{checkpoint_id}:{number}",
        payload=asdict(request),
    )


def asked_for(tx: Tx, project: Project) -> NewJob:
    """As ``wanted``, of the newest model, when a person asks. The caller holds the project's lock.

    Raises ``Conflict`` while there is no model, or a map is being drawn.
    """
    newest = maps.newest(tx, project.id)
    if newest is not None and newest.state in (JobState.QUEUED, JobState.RUNNING):
        raise Conflict("a map is being drawn already")
    model = rounds.latest_scored(tx, project.id)
    if model is None:
        raise Conflict("there is no map before a model has looked at the pool: that is what the first round ends with")
    return wanted(tx, project, model.id, number=maps.asked_of(tx, project.id, model.id))
