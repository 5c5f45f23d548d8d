"""What waits for a reviewer, and second opinions. ``shared.adjudication`` says who may what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.db import questions
from shared.db.pool import Tx
from shared.db.questions import Question
from shared.db.sql import queries
from shared.db.tasks import task_of
from shared.domain import ClassId, ImageId, ProjectId, QuestionId, Task, UserId

_Q = queries("adjudication")


@dataclass(frozen=True, kw_only=True)
class Told:
    """An answer, and whose it is."""

    class_id: ClassId
    user_id: UserId
    by_name: str
    created_at: datetime


def queue(tx: Tx, project_id: ProjectId, user_id: UserId, *, after: int, limit: int) -> list[Question]:
    """In order of id, those beyond ``after`` about images that this person has said nothing of."""
    params = {"project_id": project_id, "user_id": user_id, "after": after, "limit": limit}
    return [questions.from_row(row) for row in tx.all(_Q["queue"], params)]


def waiting(tx: Tx, project_id: ProjectId) -> int:
    row = tx.one(_Q["waiting"], {"project_id": project_id})
    return int(row["waiting"]) if row else 0


def answers(tx: Tx, question_id: QuestionId) -> list[Told]:
    """In the order given."""
    return [Told(**row) for row in tx.all(_Q["answers"], {"id": question_id})]


def has_answered(tx: Tx, image_id: ImageId, user_id: UserId) -> bool:
    """Whether an answer of this person about the image stands."""
    row = tx.one(_Q["has_answered"], {"image_id": image_id, "user_id": user_id})
    return bool(row and row["found"])


def add_task(tx: Tx, project_id: ProjectId, image_id: ImageId, user_id: UserId) -> Task:
    """The reviewer's own question, answered as it is opened."""
    row = tx.one(_Q["insert_task"], {"project_id": project_id, "image_id": image_id, "user_id": user_id})
    assert row is not None  # INSERT ... RETURNING
    return task_of(row)


def close_copies(tx: Tx, question_id: QuestionId) -> None:
    """Nobody need answer it any more."""
    tx.run(_Q["close_copies"], {"id": question_id})


def ask_second_opinions(tx: Tx, project_id: ProjectId, user_id: UserId, image_ids: Sequence[ImageId]) -> list[ImageId]:
    """Returns the images about which another person is asked now."""
    params = {"project_id": project_id, "user_id": user_id, "image_ids": list(image_ids)}
    return [ImageId(row["image_id"]) for row in tx.all(_Q["ask_second_opinions"], params)]


def opinions(tx: Tx, project_id: ProjectId, *, before: int, limit: int) -> list[Question]:
    """Second opinions with an id below ``before``, the newest first."""
    rows = tx.all(_Q["opinions"], {"project_id": project_id, "before": before, "limit": limit})
    return [questions.from_row(row) for row in rows]
