"""Quick label: images that somebody brings along are predicted at once; what the model is sure of is filed, the rest
asks.

For who may upload, since nothing tells yet whose an image is: others could see and change what is not theirs. The
images join the pool by an ordinary upload first. A filed label is the model's, with its confidence; an answer is
the person's, who had seen what the model says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from services.ui.hotkeys import with_hotkeys
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Exports, Uploads
from services.ui.views import BIGGEST_ID
from services.ui.words import _
from shared import autolabelling
from shared.db import events, images, labels, projects, rounds
from shared.db.model_labels import Said
from shared.domain import ClassId, ImageId, Job, JobId, Project, ProjectId, Split, UserId
from shared.errors import Invalid
from shared.exporting import Exporter
from shared.imaging import FORMATS
from shared.intake.asking import MAX_PICTURES, Question, job_of, result_of
from shared.predicting import Request as Asked
from shared.predicting import Result

router = APIRouter(include_in_schema=False)
JobPath = Annotated[int, Path(alias="job_id", ge=1, le=BIGGEST_ID)]
ImageIdsOf = Annotated[list[int], Field(min_length=1, max_length=MAX_PICTURES)]
MOST_TAKEN_ALONG = 10_000


class Wish(BaseModel):
    image_ids: ImageIdsOf


class Under(BaseModel):
    job_id: int


class Filing(BaseModel):
    """``threshold``: the least confidence, from 0 to 1, that the model's label is taken with."""

    threshold: float = Field(gt=0, le=1)


class Answer(BaseModel):
    image_id: int = Field(ge=1, le=BIGGEST_ID)
    class_id: int = Field(ge=1, le=BIGGEST_ID)
    suggested: int | None = Field(None, ge=1, le=BIGGEST_ID)


class Undo(BaseModel):
    image_id: int = Field(ge=1, le=BIGGEST_ID)


class Recorded(BaseModel):
    image_ids: list[int]


class PictureView(BaseModel):
    """What the model says of an image, the likeliest class first; ``label``: the class that it has already.

    ``error``: why nothing is said. Of an image of the holdout nothing is said, nor is it asked about here.
    """

    image_id: int
    filename: str
    label: int | None
    class_ids: list[int]
    probabilities: list[float]
    error: str | None


class Predicted(BaseModel):
    """``pictures`` is null while a scorer is at work."""

    pictures: list[PictureView] | None


@router.get("/projects/{project_id}/quick")
def quick_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Uploads) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        classes = with_hotkeys(projects.classes(tx, project.id))
        model = rounds.serving(tx, project.id)
        metrics = rounds.checkpoint(tx, model.checkpoint_id).metrics if model else {}
    threshold = autolabelling.threshold_of(project, metrics).value
    context = {
        "user": user,
        "project": project,
        "classes": classes,
        "model": model,
        "threshold": threshold,
        "formats": FORMATS,
        "max_file_bytes": parts.settings.max_file_bytes,
        "page": {
            "project": project.id,
            "has_model": model is not None,
            "at_once": MAX_PICTURES,
            "classes": [one.model_dump() for one in classes],
        },
    }
    return parts.templates.TemplateResponse(request, "quick.html", context)


@router.post("/v1/projects/{project_id}/quick/predictions", status_code=202)
def predict(project_id: ProjectPath, wish: Wish, parts: PartsOf, user: Uploads) -> Under:
    """Ask the model in use about images of the pool. 409 while there is no model."""
    project = ProjectId(project_id)
    question = Question(parts.system, project, _of_pool(parts, project, wish.image_ids), max_pixels=0)
    job = question.ask()[1]
    if job is None:
        raise Invalid(_("none of these images can be predicted"))
    return Under(job_id=job.id)


@router.get("/v1/projects/{project_id}/quick/predictions/{job_id}")
def predicted(project_id: ProjectPath, job_id: JobPath, parts: PartsOf, user: Uploads) -> Predicted:
    """409 if it failed for good."""
    job, result = _result(parts, ProjectId(project_id), job_id)
    if result is None:
        return Predicted(pictures=None)
    asked = Asked.of(job)
    with parts.system.database.transaction() as tx:
        ids = {one.position: one.id for one in projects.classes(tx, job.project_id)}
        present = {item.image_id: labels.of_image(tx, item.image_id) for item in asked.items if item.image_id}
    views = []
    for item, answer in zip(asked.items, result.answers, strict=True):
        said = sorted(enumerate(answer.probabilities or ()), key=lambda one: -one[1])[:5]
        known = present.get(item.image_id) if item.image_id else None
        views.append(
            PictureView(
                image_id=item.image_id or 0,
                filename=item.filename,
                label=known.class_id if known else None,
                class_ids=[ids[column] for column, _share in said],
                probabilities=[share for _column, share in said],
                error=answer.error,
            )
        )
    return Predicted(pictures=views)


@router.post("/v1/projects/{project_id}/quick/predictions/{job_id}/file")
def file(project_id: ProjectPath, job_id: JobPath, body: Filing, parts: PartsOf, user: Uploads) -> Recorded:
    """File those images that the model is sure enough of, as it has said and not as the page says it has."""
    job, result = _result(parts, ProjectId(project_id), job_id)
    if result is None:
        raise Invalid(_("the model has not looked at these images yet"))
    asked = Asked.of(job)
    sure = [
        Said(image_id=item.image_id, column=max(range(len(said)), key=said.__getitem__), confidence=max(said))
        for item, answer in zip(asked.items, result.answers, strict=True)
        if item.image_id is not None and (said := answer.probabilities) and max(said) >= body.threshold
    ]
    filed = parts.system.curation.file(job.project_id, user.id, asked.checkpoint_id, sure) if sure else []
    parts.standings.forget(job.project_id)
    return Recorded(image_ids=list(filed))


@router.post("/v1/projects/{project_id}/quick/answers")
def answer(project_id: ProjectPath, body: Answer, parts: PartsOf, user: Uploads) -> Recorded:
    """A person's label; sent again it changes nothing."""
    project = ProjectId(project_id)
    (image_id,) = _of_pool(parts, project, [body.image_id])
    suggested = None if body.suggested is None else ClassId(body.suggested)
    changed = parts.system.curation.relabel(
        project, user.id, [ImageId(image_id)], ClassId(body.class_id), suggested=suggested
    )
    parts.standings.forget(project)
    return Recorded(image_ids=list(changed))


@router.post("/v1/projects/{project_id}/quick/undo")
def undo(project_id: ProjectPath, body: Undo, parts: PartsOf, user: Uploads) -> Recorded:
    """Take the label of an image away again; the answer stays on record."""
    project = ProjectId(project_id)
    changed = parts.system.curation.remove_labels(project, user.id, [ImageId(body.image_id)])
    parts.standings.forget(project)
    return Recorded(image_ids=list(changed))


@router.post("/projects/{project_id}/quick/export.{form}")
def export(
    project_id: ProjectPath,
    form: Literal["csv", "zip"],
    parts: PartsOf,
    user: Exports,
    ids: Annotated[str, Form(max_length=20 * MOST_TAKEN_ALONG)],
) -> Response:
    """These images with their labels; ``ids`` has commas between them."""
    project = ProjectId(project_id)
    chosen = [ImageId(int(one)) for one in ids.split(",") if one.isascii() and one.isdecimal() and len(one) < 19]
    if not chosen:
        raise Invalid(_("no image was chosen"))
    exporter = Exporter(parts.system.database, parts.system.store)
    body: Iterator[bytes] = exporter.csv(project, chosen) if form == "csv" else exporter.zip(project, chosen)
    _note(parts, project, user.id, form)
    headers = {"Content-Disposition": f'attachment; filename="quick-{project}.{form}"'}
    media_type = "text/csv; charset=utf-8" if form == "csv" else "application/zip"
    return StreamingResponse(body, media_type=media_type, headers=headers)


def _note(parts: Parts, project: ProjectId, user_id: UserId, form: str) -> None:
    with parts.system.database.transaction() as tx:
        events.record(tx, project, f"user:{user_id}", "data.exported", {"form": form})


def _of_pool(parts: Parts, project_id: ProjectId, ids: Sequence[int]) -> list[int]:
    """Those of the pool: what the model says of the holdout must sway nobody. Raises ``Invalid`` if none is left."""
    with parts.system.database.transaction() as tx:
        project: Project = projects.get(tx, project_id)
        known = images.by_ids(tx, project.id, [ImageId(one) for one in ids])
    pool = [one for one in ids if (image := known.get(ImageId(one))) is not None and image.split is Split.POOL]
    if not pool:
        raise Invalid(_("none of these images is in the pool of this project"))
    return pool


def _result(parts: Parts, project_id: ProjectId, job_id: int) -> tuple[Job, Result | None]:
    job = job_of(parts.system, project_id, JobId(job_id))
    return job, result_of(parts.system, job)
