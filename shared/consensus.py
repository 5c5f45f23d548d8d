"""Consensus of all overlapping answers at once, and how much a trainer should believe each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from shared.db import events, projects, questions
from shared.db import quality as rows
from shared.db.pool import Tx
from shared.db.quality import Origin, Renewed
from shared.domain import ImageId, ProjectId, UserId
from shared.quality.answers import Answers
from shared.quality.consensus import dawid_skene
from shared.quality.skill import PRIOR_ACCURACY, accuracy, training_weight
from shared.telemetry import logger

log = logger(__name__)
SURE = 0.8
"""What the model of the answers is less sure of stays as it is: a majority's label, or a reviewer's to decide."""


def renew(tx: Tx, project_id: ProjectId, *, actor: str) -> Renewed:
    """Weigh every overlapping answer anew by Dawid and Skene's model, and let labels and their confidence follow.

    Questions that a reviewer would have decided are settled where it is sure enough. What a reviewer or a lead has
    decided is left alone. Takes a second or so for a hundred thousand answers, and holds the project meanwhile.
    """
    projects.lock(tx, project_id)
    told = rows.overlapping(tx, project_id)
    if not len(told.questions):
        return Renewed()
    ids, items = np.unique(told.questions, return_inverse=True)
    people, annotators = np.unique(told.people, return_inverse=True)
    answers = Answers(
        items=items,
        annotators=annotators,
        classes=told.classes,
        n_items=len(ids),
        n_annotators=len(people),
        n_classes=len(projects.classes(tx, project_id)),
    )
    found = dawid_skene(answers)
    best, surest = found.probabilities.argmax(axis=1), found.probabilities.max(axis=1)
    sure = np.flatnonzero(surest >= SURE)
    renewed = rows.renew_consensus(tx, ids[sure].tolist(), best[sure].tolist(), surest[sure].tolist())
    data = {
        "labels": renewed.labels,
        "changed": renewed.changed,
        "settled": renewed.settled,
        "people": len(people),
        "iterations": found.iterations,
    }
    events.record(tx, project_id, actor, "consensus.renewed", data)
    log.info("consensus.renewed", project_id=project_id, **data)
    return renewed


def label_weights(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId]) -> npt.NDArray[np.float64]:
    """How much to believe the label of each image, float64 (n,), from 0 to 1; see ``quality.skill.training_weight``.

    One person's label counts by their record where answers are known, a consensus by its confidence, and what a lead
    or a reviewer decided, or an import brought, in full.
    """
    origins = rows.label_origins(tx, project_id)
    classes = len(projects.classes(tx, project_id))
    by = sorted({one.by for one in origins.values() if one.by is not None})
    records = questions.skills(tx, project_id, by)
    expected = {user: float(accuracy(known.right, known.answers)) for user, known in records.items()}

    return training_weight([_right(origins.get(one), expected) for one in image_ids], classes)


def _right(origin: Origin | None, expected: Mapping[UserId, float]) -> float:
    """How likely a label is right."""
    if origin is not None and origin.by is not None:
        return expected.get(origin.by, PRIOR_ACCURACY)
    return 1.0 if origin is None or origin.confidence is None else origin.confidence
