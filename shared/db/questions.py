"""Questions that several people are asked: the answers that stand, and what became of each.

The tasks of a question are its copies. The database refuses a copy beyond what was set, a second copy for the same
person, and a second standing answer by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import (
    AnnotationId,
    ClassId,
    ImageId,
    Overlap,
    ProjectId,
    QuestionId,
    QuestionKind,
    QuestionState,
    UserId,
)
from shared.errors import NotFound

_Q = queries("questions")


@dataclass(frozen=True, kw_only=True)
class Question:
    id: QuestionId
    project_id: ProjectId
    image_id: ImageId
    kind: QuestionKind
    state: QuestionState
    asked_of: Overlap
    answered: int
    """Answers that stand."""
    asked_by: UserId | None
    created_at: datetime
    gives_label: bool = True
    """Whether the label, if it is one by these answers, still is. Known of a question that is held."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer that stands."""

    annotation_id: AnnotationId
    user_id: UserId
    class_id: ClassId


@dataclass(frozen=True, kw_only=True)
class Copies:
    """``live``: open or held; ``asked``: all that there ever were, those given up included."""

    live: int
    asked: int


@dataclass(frozen=True, kw_only=True)
class Known:
    """Answers to what is known, and how many of them were right."""

    answers: int
    right: int


def from_row(row: Row) -> Question:
    """Of a row of ``questions``."""
    return Question(
        id=row["id"],
        project_id=row["project_id"],
        image_id=row["image_id"],
        kind=QuestionKind(row["kind"]),
        state=QuestionState(row["state"]),
        asked_of=Overlap(copies=row["copies"], most=row["most"]),
        answered=row["answered"],
        asked_by=row["asked_by"],
        created_at=row["created_at"],
        gives_label=row.get("gives_label", True),
    )


def lock(tx: Tx, question_id: QuestionId) -> Question:
    """Hold a question until the transaction ends. Raises ``NotFound``."""
    row = tx.one(_Q["lock"], {"id": question_id})
    if row is None:
        raise NotFound(f"there is no question {question_id}")
    return from_row(row)


def get(tx: Tx, project_id: ProjectId, question_id: QuestionId) -> Question:
    """Raises ``NotFound``, also for a question of another project."""
    row = tx.one(_Q["get"], {"project_id": project_id, "id": question_id})
    if row is None:
        raise NotFound(f"there is no question {question_id} in this project")
    return from_row(row)


def answers(tx: Tx, question_id: QuestionId) -> list[Said]:
    """Those that stand, in the order given."""
    return [Said(**row) for row in tx.all(_Q["answers"], {"id": question_id})]


def copies(tx: Tx, question_id: QuestionId) -> Copies:
    row = tx.one(_Q["copies"], {"id": question_id})
    assert row is not None  # an aggregate always answers
    return Copies(**row)


def set_state(
    tx: Tx, question_id: QuestionId, state: QuestionState, *, answered: int, decided_by: UserId | None = None
) -> None:
    params = {"id": question_id, "state": state.value, "answered": answered, "decided_by": decided_by}
    tx.run(_Q["set_state"], params)


def ask_one_more(tx: Tx, question_id: QuestionId) -> None:
    """Open another copy."""
    tx.run(_Q["ask_one_more"], {"id": question_id})


def skills(tx: Tx, project_id: ProjectId, user_ids: Sequence[UserId]) -> Mapping[UserId, Known]:
    """How often these people were right where the answer is known; those who were never asked are left out."""
    rows = tx.all(_Q["skills"], {"project_id": project_id, "user_ids": list(user_ids)})
    return {UserId(row["user_id"]): Known(answers=row["answers"], right=row["right"]) for row in rows}


def takes_answers(tx: Tx, question_id: QuestionId) -> bool:
    """Whether answers still decide: no reviewer has, and no newer label has taken its place."""
    row = tx.one(_Q["takes_answers"], {"id": question_id})
    return bool(row and row["found"])


def is_audit(tx: Tx, question_id: QuestionId) -> bool:
    """Whether people are asked what the model had labelled."""
    row = tx.one(_Q["is_audit"], {"id": question_id})
    return bool(row and row["found"])
