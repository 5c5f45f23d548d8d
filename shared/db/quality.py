"""Answers as arrays, for ``shared.quality``, and what its consensus changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.db.pool import Tx
from shared.db.sql import queries
from shared.domain import ImageId, ProjectId, UserId

_Q = queries("quality")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Given:
    """All answers that stand, int64 (n,) each, in the order given.

    ``classes`` are columns; ``durations`` milliseconds, -1 where unknown; ``questions`` -1 of one person's.
    """

    images: Ints
    people: Ints
    classes: Ints
    durations: Ints
    questions: Ints
    gold: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Person:
    user_id: UserId
    name: str
    vendor_id: UserId | None
    vendor: str | None
    role: str | None
    pause_reason: str | None


@dataclass(frozen=True, kw_only=True)
class Overlapping:
    """Answers to settled and disputed questions, int64 (n,) each."""

    questions: Ints
    people: Ints
    classes: Ints


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """``labels`` by consensus after it was weighed anew; ``changed`` name another class than before; ``settled`` had
    been a reviewer's to decide."""

    labels: int = 0
    changed: int = 0
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """``by``: whose answer the label is; ``confidence``: of a consensus. Both None: a lead's, or imported."""

    by: UserId | None
    confidence: float | None


def answers(tx: Tx, project_id: ProjectId) -> Given:
    rows = list(tx.stream(_Q["answers"], {"project_id": project_id}))

    def column(name: str) -> Ints:
        return np.array([-1 if row[name] is None else row[name] for row in rows], np.int64)

    return Given(
        images=column("image_id"),
        people=column("user_id"),
        classes=column("class"),
        durations=column("duration_ms"),
        questions=column("question_id"),
        gold=np.array([row["gold"] for row in rows], np.bool_),
    )


def known(tx: Tx, project_id: ProjectId) -> Mapping[ImageId, int]:
    """The column of the answer of each gold image."""
    return {row["image_id"]: row["class"] for row in tx.all(_Q["known"], {"project_id": project_id})}


def settled(tx: Tx, project_id: ProjectId) -> Mapping[ImageId, int]:
    """The column of each label that several people, or a reviewer, decided."""
    return {row["image_id"]: row["class"] for row in tx.all(_Q["settled"], {"project_id": project_id})}


def people(tx: Tx, project_id: ProjectId, ids: Sequence[int]) -> Mapping[int, Person]:
    rows = tx.all(_Q["people"], {"project_id": project_id, "ids": list(ids)})
    return {row["user_id"]: Person(**row) for row in rows}


def paused(tx: Tx, project_id: ProjectId) -> list[UserId]:
    """Those of whom nothing more is asked."""
    return [UserId(row["user_id"]) for row in tx.all(_Q["paused"], {"project_id": project_id})]


def questions_by_state(tx: Tx, project_id: ProjectId) -> Mapping[str, int]:
    rows = tx.all(_Q["questions_by_state"], {"project_id": project_id})
    return {row["state"]: row["questions"] for row in rows}


def overlapping(tx: Tx, project_id: ProjectId) -> Overlapping:
    rows = list(tx.stream(_Q["overlapping"], {"project_id": project_id}))
    return Overlapping(
        questions=np.array([row["question_id"] for row in rows], np.int64),
        people=np.array([row["user_id"] for row in rows], np.int64),
        classes=np.array([row["class"] for row in rows], np.int64),
    )


def renew_consensus(
    tx: Tx, question_ids: Sequence[int], classes: Sequence[int], confidences: Sequence[float]
) -> Renewed:
    """Make these the labels of the questions, but where something else has taken a label's place."""
    params = {"question_ids": list(question_ids), "classes": list(classes), "confidences": list(confidences)}
    row = tx.one(_Q["renew_consensus"], params)
    assert row is not None  # SELECT without FROM
    return Renewed(**row)


def label_origins(tx: Tx, project_id: ProjectId) -> Mapping[ImageId, Origin]:
    """Whose the label of each image of the pool is."""
    rows = tx.all(_Q["label_origins"], {"project_id": project_id})
    return {
        row["image_id"]: Origin(by=row["by"], confidence=row["confidence"] if row["source"] == "consensus" else None)
        for row in rows
    }
