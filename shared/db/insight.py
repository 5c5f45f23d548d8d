"""What the dashboard shows beside where a project stands: labels over time, pace, samples, all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import CheckpointId, ClassId, ImageId, LabelSource, ProjectId, ShardId

_Q = queries("insight")
_SPAN_S, _NEWEST = 300, 2000


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Labels as they stand, by when they were given: ``ends`` of equal spans of time, and how many of each source there
    were by then."""

    ends: Sequence[datetime]
    labels: Mapping[LabelSource, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained model. ``accuracy``, its interval and ``macro_f1`` are None without a holdout of ``n`` images."""

    id: CheckpointId
    round_number: int
    labels: int
    arch: str
    key: str
    created_at: datetime
    promoted_at: datetime | None
    scored: bool
    """Its probabilities are in the store."""
    kept: bool
    """Its weights are in the store."""
    accuracy: float | None
    low: float | None
    high: float | None
    n: int | None
    macro_f1: float | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An image of the holdout: where its scores lie, and the column of its class."""

    id: ImageId
    shard_id: ShardId | None
    shard_row: int | None
    position: int


def growth(tx: Tx, project_id: ProjectId, *, steps: int) -> Growth | None:
    """None without labels. Reads every label's row: about a second for a million, so keep the answer for a while."""
    ends = tx.one(_Q["first_and_last"], {"project_id": project_id})
    if ends is None or ends["first"] is None:
        return None
    first, last = ends["first"], ends["last"]
    steps = steps if last > first else 1
    params = {"project_id": project_id, "first": first, "last": last, "steps": steps}
    if steps == 1:
        params["last"] = datetime.fromtimestamp(first.timestamp() + 1, first.tzinfo)
    counts: dict[LabelSource, list[int]] = {}
    for row in tx.all(_Q["growth"], params):
        counts.setdefault(LabelSource(row["source"]), [0] * steps)[row["step"] - 1] += row["labels"]
    return Growth(
        ends=[first + (last - first) * (n + 1) / steps for n in range(steps)],
        labels={source: np.cumsum(by_step).tolist() for source, by_step in counts.items()},
    )


def pace(tx: Tx, project_id: ProjectId) -> float | None:
    """Labels by people in an hour of work: over the newest 2,000 of the last fortnight, leaving out times at which
    nobody labelled. None where there are too few to say."""
    row = tx.one(_Q["pace"], {"project_id": project_id, "limit": _NEWEST})
    if row is None or row["labels"] < 10:
        return None
    return float(row["labels"] * 3600 / (row["spans"] * _SPAN_S))


def answers(tx: Tx, project_id: ProjectId) -> int:
    """All that stand, several to one image included."""
    row = tx.one(_Q["answers"], {"project_id": project_id})
    return int(row["answers"]) if row else 0


def sample(tx: Tx, project_id: ProjectId, count: int, rng: np.random.Generator) -> list[ImageId]:
    """Up to ``count`` images drawn at random, in no order. One after a gap in the ids is drawn more often."""
    ends = tx.one(_Q["ends"], {"project_id": project_id})
    if ends is None or ends["first"] is None:
        return []
    places = rng.integers(ends["first"], ends["last"] + 1, size=4 * count)
    rows = tx.all(_Q["from_places"], {"project_id": project_id, "places": places.tolist()})
    ids = [ImageId(row["id"]) for row in rows]
    return [ids[at] for at in rng.permutation(len(ids))[:count]]


def unanswered(tx: Tx, shard_id: ShardId, rows: Sequence[int]) -> dict[int, ImageId]:
    """By row of the shard, those that are images of the pool without a person's label."""
    params = {"shard_id": shard_id, "rows": list(rows)}
    return {row["shard_row"]: ImageId(row["id"]) for row in tx.all(_Q["unanswered"], params)}


def labels_of(tx: Tx, ids: Sequence[ImageId]) -> dict[ImageId, tuple[ClassId, LabelSource]]:
    """The labels that there are, by image."""
    rows = tx.all(_Q["labels_of"], {"ids": list(ids)})
    return {ImageId(row["image_id"]): (ClassId(row["class_id"]), LabelSource(row["source"])) for row in rows}


def holdout(tx: Tx, project_id: ProjectId) -> list[Measured]:
    """Every image that measures, in order of id."""
    return [
        Measured(id=r["id"], shard_id=r["shard_id"], shard_row=r["shard_row"], position=r["position"])
        for r in tx.all(_Q["holdout"], {"project_id": project_id})
    ]


def models(tx: Tx, project_id: ProjectId) -> list[Model]:
    """All that were trained, the newest first."""
    return [
        Model(
            id=row["id"],
            round_number=row["number"],
            labels=row["labels"],
            arch=row["arch"],
            key=row["key"],
            created_at=row["created_at"],
            promoted_at=row["promoted_at"],
            scored=row["scored_at"] is not None and row["scores_retired_at"] is None,
            kept=row["weights_retired_at"] is None,
            accuracy=row["accuracy"],
            low=row["low"],
            high=row["high"],
            n=row["n"],
            macro_f1=row["macro_f1"],
        )
        for row in tx.all(_Q["models"], {"project_id": project_id})
    ]
