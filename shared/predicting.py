"""What the api asks a scorer to predict, and what the scorer answers: a job's payload, and an object in the store.

The pictures that a caller sent lie in the store under a name of the request's own until the job is done; the answer
lies there until retention deletes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.domain import CheckpointId, ImageId, Job, JobKind, NewJob, ProjectId
from shared.errors import Permanent
from shared.store.base import Store, prediction_prefix


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture. ``key``: where its bytes lie; None where there is nothing to predict, and ``error`` says why."""

    filename: str
    key: str | None = None
    image_id: ImageId | None = None
    """Of an image of the project; None for one that the caller sent."""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """``name`` sets this request apart from all others of the project; ``items`` in the order in which they came.

    The model is the one that was in use when it was asked; ``promoted`` tells whether somebody had chosen it.
    """

    name: str
    checkpoint_id: CheckpointId
    round: int
    promoted: bool
    items: Sequence[Item]

    def job(self, project_id: ProjectId) -> NewJob:
        """The job that asks for it."""
        return NewJob(
            kind=JobKind.PREDICT, project_id=project_id, unique_key=f"predict:{self.name}", payload=asdict(self)
        )

    @classmethod
    def of(cls, job: Job) -> Request:
        """The inverse of ``job``."""
        return cls(**{**job.payload, "items": [Item(**item) for item in job.payload["items"]]})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model says of one item: a probability for each class, or why there are none."""

    probabilities: Sequence[float] | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """``answers`` in the order of the items, ``classes`` in that of the probabilities."""

    classes: Sequence[str]
    answers: Sequence[Answer]

    def save(self, store: Store, job: Job) -> None:
        """Each attempt at a job writes an object of its own, as two may differ in the last bits."""
        store.put_bytes(_key(job), json.dumps(asdict(self)).encode(), "application/json")

    @classmethod
    def load(cls, store: Store, job: Job) -> Result:
        """Of a job that is done. Raises ``NotFound`` once retention has deleted it."""
        try:
            held: Mapping[str, Any] = json.loads(store.get(_key(job)))
            return cls(classes=held["classes"], answers=[Answer(**answer) for answer in held["answers"]])
        except (ValueError, TypeError, KeyError) as error:
            raise Permanent(f"{_key(job)} can't be read: {error}") from error


def _key(job: Job) -> str:
    return f"{prediction_prefix(job.project_id, Request.of(job).name)}result-{job.fence}.json"
