"""Images: list, look at, fetch, and what the model thinks of one."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.api.auth import Browser
from services.api.parts import (
    CursorQuery,
    ImagePath,
    LimitQuery,
    ProjectPath,
    SystemPart,
    decode_cursor,
    encode_cursor,
    streamed,
)
from services.api.predictions import Pending, predict
from services.api.problems import errors
from services.api.schemas.images import ImageDetail, ImageOut, ImagePage, PendingOut, PredictionOut
from shared.db import images, labels, projects, tags
from shared.domain import Image, ImageId, ImageState, ProjectId, Split
from shared.intake.ingest import CONTENT_TYPES
from shared.store.base import Store, image_key, view_key
from shared.tagging import clean

router = APIRouter(prefix="/v1/projects/{project_id}/images", tags=["images"])
StateQuery = Annotated[ImageState | None, Query(description="Only images in this state.")]
SplitFilter = Annotated[Split | None, Query(description="Only images of this split.")]
TagFilter = Annotated[str | None, Query(max_length=200, description="Only images with this tag, whatever its case.")]
RenditionQuery = Annotated[
    Literal["original", "browser"],
    Query(description="`browser`: a form that every browser shows, where the original isn't one."),
]
IfNoneMatch = Annotated[str | None, Header(include_in_schema=False)]
_PNG = b"\x89PNG"


@router.get("", summary="List images", responses=errors(404))
def list_images(
    project_id: ProjectPath,
    caller: Browser,
    system: SystemPart,
    state: StateQuery = None,
    split: SplitFilter = None,
    tag: TagFilter = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 100,
) -> ImagePage:
    """In the order in which they came in."""
    after = decode_cursor(cursor) or 0
    with system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        known = [] if tag is None else tags.named(tx, project.id, [clean(tag)])
        if tag is not None and not known:
            return ImagePage(items=[], next_cursor=None)
        tag_id = known[0].id if known else None
        found = images.page(tx, project.id, after=after, limit=limit + 1, state=state, split=split, tag_id=tag_id)
        tagged = tags.of_images(tx, [image.id for image in found[:limit]])
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    items = [ImageOut.tagged(image, tagged.get(image.id, [])) for image in found[:limit]]
    return ImagePage(items=items, next_cursor=more)


@router.get("/{image_id}", summary="Look at an image", responses=errors(404))
def get_image(project_id: ProjectPath, image_id: ImagePath, caller: Browser, system: SystemPart) -> ImageDetail:
    """What is known of it, with its label if it has one."""
    with system.database.transaction() as tx:
        image = images.get(tx, ProjectId(project_id), ImageId(image_id))
        tagged = tags.of_images(tx, [image.id])
        return ImageDetail.whole(image, tagged.get(image.id, []), labels.of_image(tx, image.id))


_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Not changed: an image's content never does."},
}


@router.get(
    "/{image_id}/content",
    summary="Fetch an image's file",
    response_class=StreamingResponse,
    responses=errors(404) | _FILE,
)
def get_content(
    project_id: ProjectPath,
    image_id: ImagePath,
    caller: Browser,
    system: SystemPart,
    rendition: RenditionQuery = "original",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The file byte for byte as it was uploaded, or a rendition of it."""
    with system.database.transaction() as tx:
        image = images.get(tx, ProjectId(project_id), ImageId(image_id))
    rendered = rendition == "browser" and not image.browser_safe
    headers = {
        "ETag": f'"{image.sha256}{"-browser" if rendered else ""}"',
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    # Files come from anybody: a browser must take them for images and for nothing else.
    headers |= {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
    return _rendition(system.store, image, headers) if rendered else _original(system.store, image, headers)


def _original(store: Store, image: Image, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(image.bytes)
    headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(image.filename, safe='')}"
    _, body = streamed(store, image_key(image.project_id, image.sha256))
    return StreamingResponse(body, headers=headers, media_type=CONTENT_TYPES[image.format])


def _rendition(store: Store, image: Image, headers: dict[str, str]) -> Response:
    first, body = streamed(store, view_key(image.project_id, image.sha256))
    media_type = "image/png" if first.startswith(_PNG) else "image/jpeg"
    return StreamingResponse(body, headers=headers, media_type=media_type)


@router.get(
    "/{image_id}/prediction",
    summary="What the model thinks of an image",
    response_model=PredictionOut,
    responses=errors(404, 409) | {202: {"model": PendingOut, "description": "Not scored yet: ask again."}},
)
def get_prediction(
    project_id: ProjectPath, image_id: ImagePath, caller: Browser, system: SystemPart
) -> PredictionOut | JSONResponse:
    """The probabilities that the newest model gives it.

    For an image that came in since, the answer is 202 until it has been scored; asking puts it ahead of the next round.
    Answers 409 while the project has no model, and for an image that can't be read.
    """
    found = predict(system, ProjectId(project_id), ImageId(image_id))
    if isinstance(found, Pending):
        body = PendingOut(image_id=image_id, waiting_for=found.waiting_for, detail=found.detail)
        return JSONResponse(body.model_dump(mode="json"), 202, {"Retry-After": "1"})
    return PredictionOut.whole(found)
