"""All that happened to one image, as entries in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.ui.sentences import names_in, sentence
from services.ui.words import _
from shared.db import browsing
from shared.db.browsing import Answer, Question
from shared.db.labels import ImageLabel
from shared.db.pool import Tx
from shared.domain import Class, Image, LabelSource, Split, TaskKind

_CORRECTION = "correction"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """``who`` is empty where it wasn't a person. ``class_name`` where a class is at the heart of it."""

    at: datetime
    text: str
    who: str = ""
    class_name: str = ""


def chronicle(tx: Tx, image: Image, label: ImageLabel | None, classes: Sequence[Class]) -> list[Entry]:
    """The newest first."""
    found = browsing.history(tx, image.project_id, image.id)
    names = names_in(tx, found.events)
    entries = [Entry(at=image.created_at, text=_("It was uploaded."))]
    entries += [Entry(at=event.at, who=names.actor(event.actor), text=sentence(event, names)) for event in found.events]
    entries += [_asked(question) for question in found.questions if question.strategy != _CORRECTION]
    for answer in found.answers:
        entries += _answered(answer)
    if label is not None and label.source in (LabelSource.IMPORT, LabelSource.MODEL, LabelSource.CONSENSUS):
        entries.append(Entry(at=label.created_at, text=_came(label.source), class_name=label.name))
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _asked(question: Question) -> Entry:
    if question.kind == Split.HOLDOUT:
        text = _("Chosen to measure on, and asked.")
    elif question.kind == TaskKind.AUDIT:
        text = _("Asked about to check the model's label.")
    elif question.strategy == "asked_again":
        text = _("Asked again, on somebody's wish.")
    elif question.round == 0:
        text = _("Chosen at random for the first labels.")
    else:
        text = _("Chosen in round %s with the strategy %s.") % (question.round or "–", question.strategy)
    if question.score is not None and question.round:
        text += " " + _("Its score was %s.") % f"{question.score:.3f}"
    if question.skips:
        text += " " + _("Skipped %s times.") % question.skips if question.skips > 1 else " " + _("Skipped once.")
    if question.state == "superseded":
        text += " " + _("Not asked in the end.")
    return Entry(at=question.created_at, text=text)


def _answered(answer: Answer) -> list[Entry]:
    corrected = answer.strategy == _CORRECTION
    text = _("labelled it by hand") if corrected else _("answered")
    if answer.duration_ms is not None:
        text += _(" after %s s") % f"{answer.duration_ms / 1000:.1f}"
    given = Entry(at=answer.created_at, who=answer.annotator, text=text, class_name=answer.class_name)
    if answer.undone_at is None:
        return [given]
    back = Entry(
        at=answer.undone_at, who=answer.annotator, text=_("took the answer back"), class_name=answer.class_name
    )
    return [given, back]


def _came(source: LabelSource) -> str:
    if source is LabelSource.IMPORT:
        return _("The label was brought in from elsewhere.")
    return _("The model labelled it.") if source is LabelSource.MODEL else _("The label is what people agreed on.")
