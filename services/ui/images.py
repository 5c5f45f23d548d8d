"""The bytes of an image, in a form that every browser shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from services.ui.parts import ImagePath, Parts, PartsOf, ProjectPath
from services.ui.permits import Labels
from services.ui.sessions import SignedInAs
from shared.access import Permission, Principal, permits
from shared.db import guidelines, images, members
from shared.domain import Image, ImageId, ProjectId
from shared.errors import NotFound
from shared.imaging import render_for_browser, thumbnail
from shared.store.base import image_key, thumb_key, view_key

router = APIRouter(include_in_schema=False)
# A file's bytes never change, and only who is signed in may see them.
_KEPT = {
    "cache-control": "private, max-age=31536000, immutable",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
_PNG = b"\x89PNG"
THUMB_SIDE = 320
"""Pixels: sharp at 160 on the screens of today."""
_SMALL_FILE = 64 * 1024
# Rendering decodes whole images; several of the largest at once would take gigabytes.
_RENDERING = threading.BoundedSemaphore(2)


@router.get("/projects/{project_id}/images/{image_id}")
def image_bytes(
    project_id: ProjectPath, image_id: ImagePath, request: Request, parts: PartsOf, user: Labels, who: SignedInAs
) -> Response:
    """The file itself where browsers can show it, else a rendition; 304 for who has it already."""
    image = _visible(parts, who, ProjectId(project_id), ImageId(image_id))
    headers = {**_KEPT, "etag": f'"{image.sha256}"'}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if image.browser_safe and image.format in _TYPES:
        return _original(parts, image, headers)
    body, media_type = _rendition(parts, image)
    return Response(body, media_type=media_type, headers=headers)


@router.get("/projects/{project_id}/images/{image_id}/thumb")
def thumb(
    project_id: ProjectPath, image_id: ImagePath, request: Request, parts: PartsOf, user: Labels, who: SignedInAs
) -> Response:
    """A small picture of it for lists, made when it is first looked at; the file itself where that is small."""
    image = _visible(parts, who, ProjectId(project_id), ImageId(image_id))
    headers = {**_KEPT, "etag": f'"{image.sha256}-thumb"'}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    small = max(image.width, image.height) <= THUMB_SIDE and image.bytes <= _SMALL_FILE
    if small and image.browser_safe and image.format in _TYPES:
        return _original(parts, image, headers)
    return Response(_thumb(parts, image), media_type="image/jpeg", headers=headers)


def _visible(parts: Parts, who: Principal, project_id: ProjectId, image_id: ImageId) -> Image:
    """The image. Who may not browse sees those they hold or answered, and examples of classes; ``NotFound`` else."""
    with parts.system.database.transaction() as tx:
        image = images.get(tx, project_id, image_id)
        if not permits(who, Permission.BROWSE, project_id):
            seen = who.user is not None and members.may_see_image(tx, project_id, who.user.id, image_id)
            if not seen and not any(image_id in one.examples for one in guidelines.get(tx, project_id).classes):
                raise NotFound(f"there is no image {image_id} in project {project_id}")
    return image


def _original(parts: Parts, image: Image, headers: dict[str, str]) -> Response:
    opened = ExitStack()
    chunks = opened.enter_context(parts.system.store.open(image_key(image.project_id, image.sha256)))
    headers = {**headers, "content-length": str(image.bytes)}
    return StreamingResponse(_closing(opened, chunks), media_type=_TYPES[image.format], headers=headers)


def _closing(opened: ExitStack, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with opened:
        yield from chunks


def _rendition(parts: Parts, image: Image) -> tuple[bytes, str]:
    """What the ingest left, or one made now and left for the next who asks. Its content type is in its first bytes."""
    store, key = parts.system.store, view_key(image.project_id, image.sha256)
    try:
        body = store.get(key)
        return body, "image/png" if body.startswith(_PNG) else "image/jpeg"
    except NotFound:
        original = store.get(image_key(image.project_id, image.sha256))
    with _RENDERING:
        body, media_type = render_for_browser(original)
    store.put_bytes(key, body, media_type)
    return body, media_type


def _thumb(parts: Parts, image: Image) -> bytes:
    store, key = parts.system.store, thumb_key(image.project_id, image.sha256)
    try:
        return store.get(key)
    except NotFound:
        original = store.get(image_key(image.project_id, image.sha256))
    with _RENDERING:
        body = thumbnail(original, side=THUMB_SIDE)
    store.put_bytes(key, body, "image/jpeg")
    return body
