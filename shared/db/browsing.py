"""Looking through the images of a project: which pass a filter, and what happened to one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.db import tags
from shared.db.events import Event
from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import ClassId, ImageId, ImageState, LabelSource, ProjectId, Split, TaskState, UserId

_Q = queries("browsing")
ENOUGH = 10_000
"""Counting stops here: more is only known to be more."""
_OF_ONE_IMAGE = 200


class Standing(StrEnum):
    """How far an image is. ``asked``: somebody is or will be asked; ``skipped``: given up on."""

    LABELLED = "labelled"
    UNLABELLED = "unlabelled"
    ASKED = "asked"
    SKIPPED = "skipped"
    UNREADABLE = "unreadable"


_TASK_STATES: Mapping[Standing, Sequence[TaskState]] = {
    Standing.ASKED: (TaskState.OPEN, TaskState.LEASED),
    Standing.SKIPPED: (TaskState.SKIPPED,),
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What images must have; None: anything. Sides are of the longer one, in pixels."""

    standing: Standing | None = None
    class_id: ClassId | None = None
    source: LabelSource | None = None
    least_sure: float | None = None
    surest: float | None = None
    """Bounds of the confidence of a label by a model: other labels have none, and don't pass."""
    annotator: UserId | None = None
    """Has an answer that stands on the image, be it the label or not."""
    split: Split | None = None
    tag: str | None = None
    """Its name, whatever its case."""
    format: str | None = None
    filename: str | None = None
    """A part of it, whatever its case."""
    said: ClassId | None = None
    """What the newest model says of it. The database doesn't know: ``among`` must have been found before."""
    among: tuple[ImageId, ...] | None = None
    """None of any others."""
    shortest: int | None = None
    longest: int | None = None


ALL = Filter()


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image of a list. ``asked`` and ``skipped`` as in ``Standing``."""

    id: ImageId
    filename: str
    width: int
    height: int
    bytes: int
    format: str
    state: ImageState
    split: Split
    class_id: ClassId | None
    source: LabelSource | None
    confidence: float | None
    asked: bool
    skipped: bool


@dataclass(frozen=True, kw_only=True)
class Question:
    """That somebody was asked: ``round`` None outside of rounds."""

    created_at: datetime
    kind: str
    state: str
    strategy: str
    score: float | None
    skips: int
    round: int | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``strategy`` is that of the question, ``correction`` for a label that was given beside all questions."""

    created_at: datetime
    undone_at: datetime | None
    duration_ms: int | None
    annotator: str
    class_name: str
    strategy: str


@dataclass(frozen=True, kw_only=True)
class History:
    """Of one image, each the newest first."""

    questions: Sequence[Question]
    answers: Sequence[Answer]
    events: Sequence[Event]


def page(tx: Tx, project_id: ProjectId, wanted: Filter, *, after: int = 0, limit: int) -> list[Found]:
    """Images with an id above ``after``, in order of id."""
    rows = tx.all(_Q["page"], _params(tx, project_id, wanted, after, limit))
    live = tx.all(_Q["asked"], {"ids": [row["id"] for row in rows]})
    skipped = {row["image_id"] for row in live if row["state"] == TaskState.SKIPPED}
    asked = {row["image_id"] for row in live if row["state"] != TaskState.SKIPPED}
    return [
        Found(
            **{
                **row,
                "state": ImageState(row["state"]),
                "split": Split(row["split"]),
                "source": LabelSource(row["source"]) if row["source"] else None,
            },
            asked=row["id"] in asked,
            skipped=row["id"] in skipped and row["id"] not in asked and row["class_id"] is None,
        )
        for row in rows
    ]


def count(tx: Tx, project_id: ProjectId, wanted: Filter, *, enough: int = ENOUGH) -> int:
    """How many there are; stops counting at ``enough`` + 1."""
    found = f"SELECT count(*) AS found FROM ({_Q['page'].rstrip(';')}) AS passing"
    row = tx.one(found, _params(tx, project_id, wanted, 0, enough + 1))
    return int(row["found"]) if row else 0


def ids(tx: Tx, project_id: ProjectId, wanted: Filter, *, limit: int) -> list[ImageId]:
    """In order."""
    found = f"SELECT id FROM ({_Q['page'].rstrip(';')}) AS passing ORDER BY id"
    return [ImageId(row["id"]) for row in tx.all(found, _params(tx, project_id, wanted, 0, limit))]


def annotators(tx: Tx, project_id: ProjectId) -> list[tuple[UserId, str]]:
    """Who has an answer that stands, by name."""
    return [(row["id"], row["display_name"]) for row in tx.all(_Q["annotators"], {"project_id": project_id})]


def history(tx: Tx, project_id: ProjectId, image_id: ImageId) -> History:
    """The newest 200 of each. The caller has made sure that the image is the project's."""
    params = {"project_id": project_id, "image_id": image_id, "limit": _OF_ONE_IMAGE}
    return History(
        questions=[Question(**row) for row in tx.all(_Q["tasks_of"], params)],
        answers=[Answer(**row) for row in tx.all(_Q["answers_of"], params)],
        events=[Event(**row) for row in tx.all(_Q["events_of"], params)],
    )


def neighbours(tx: Tx, project_id: ProjectId, image_id: ImageId) -> tuple[ImageId | None, ImageId | None]:
    """The images before and after, by id."""
    row: Row = tx.one(_Q["neighbours"], {"project_id": project_id, "image_id": image_id}) or {}
    return row.get("before"), row.get("after")


def _params(tx: Tx, project_id: ProjectId, wanted: Filter, after: int, limit: int) -> dict[str, Any]:
    standing = wanted.standing
    of_label = (wanted.class_id, wanted.source, wanted.least_sure, wanted.surest)
    states = _TASK_STATES.get(standing, ()) if standing else ()
    return {
        "project_id": project_id,
        "after": after,
        "limit": limit,
        "by_label": standing is Standing.LABELLED or any(value is not None for value in of_label),
        "unlabelled": standing is Standing.UNLABELLED,
        "by_task": bool(states),
        "task_states": [state.value for state in states],
        "state": ImageState.UNREADABLE.value if standing is Standing.UNREADABLE else None,
        "class_id": wanted.class_id,
        "source": wanted.source.value if wanted.source else None,
        "least_sure": wanted.least_sure,
        "surest": wanted.surest,
        "annotator": wanted.annotator,
        "split": wanted.split.value if wanted.split else None,
        "tag_id": None if wanted.tag is None else _tag_id(tx, project_id, wanted.tag),
        "format": wanted.format,
        "shortest": wanted.shortest,
        "longest": wanted.longest,
        "filename": _part(wanted.filename),
        "among": None if wanted.among is None else list(wanted.among),
    }


def _tag_id(tx: Tx, project_id: ProjectId, name: str) -> int:
    """0, which no tag has, for a name that none has."""
    return next((one.id for one in tags.named(tx, project_id, [name])), 0)


def _part(text: str | None) -> str | None:
    """The pattern that finds this text, whatever it is, within another."""
    if not text:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
