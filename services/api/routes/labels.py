"""Known labels: brought in from elsewhere, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter

from services.api.auth import Labeller
from services.api.parts import ProjectPath, SystemPart
from services.api.problems import errors
from services.api.schemas.labels import ImportOut, KnownLabel, KnownLabels, LabelProblem
from shared.db import events, images, labels, projects
from shared.db.pool import Tx
from shared.domain import ClassId, Image, ImageId, ProjectId
from shared.intake.receiving import nudge

router = APIRouter(prefix="/v1/projects/{project_id}/labels", tags=["labels"])


@router.post("", summary="Import known labels", responses=errors(404, 413))
def import_labels(project_id: ProjectPath, body: KnownLabels, caller: Labeller, system: SystemPart) -> ImportOut:
    """Up to 10,000 labels of images that the project has. Questions open about these images are closed.

    A label that can't be taken (no such image, no such class) is listed in `errors`; the others are taken. An image
    that a person has labelled keeps that label.
    """
    with system.ledger.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        known = _resolve(tx, project.id, body.labels)
        labelled = labels.import_known(tx, project.id, known.classes)
        if labelled:
            events.record(tx, project.id, caller.actor, "labels.imported", {"labels": len(labelled)})
    nudge(system, project.id)
    return ImportOut(
        labelled=len(labelled),
        kept=len(known.classes) - len(labelled),
        failed=len(known.errors),
        errors=known.errors,
    )


@dataclass
class _Known:
    """``classes`` by the image's digest, and what could not be resolved."""

    classes: dict[str, ClassId] = field(default_factory=dict)
    errors: list[LabelProblem] = field(default_factory=list)


def _resolve(tx: Tx, project_id: ProjectId, given: Sequence[KnownLabel]) -> _Known:
    """Find the image and the class of each label."""
    class_ids = {c.name: c.id for c in projects.classes(tx, project_id)}
    by_digest = images.by_sha256(tx, project_id, [label.sha256 for label in given if label.sha256])
    by_id = images.by_ids(tx, project_id, [ImageId(label.image_id) for label in given if label.image_id])
    known = _Known()
    for index, label in enumerate(given):
        image = by_digest.get(label.sha256) if label.sha256 else by_id.get(ImageId(label.image_id or 0))
        reason = _add(known, image, class_ids.get(label.class_), label)
        if reason is not None:
            known.errors.append(LabelProblem(index=index, reason=reason))
    return known


def _add(known: _Known, image: Image | None, class_id: ClassId | None, label: KnownLabel) -> str | None:
    """Take one label in; why not, if it can't be."""
    if image is None:
        return (
            f"the project has no image with the {'sha256' if label.sha256 else 'id'} {label.sha256 or label.image_id}"
        )
    if class_id is None:
        return f"the project has no class '{label.class_}'"
    if known.classes.setdefault(image.sha256, class_id) != class_id:
        return f"image {image.id} was given another class before, in this request"
    return None
