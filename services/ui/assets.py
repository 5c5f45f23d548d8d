"""Scripts and styles: this service's own, and Plotly's from the installed package. No other site is ever asked."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
_KEPT = "public, max-age=31536000, immutable"
PLOTLY_PATH = f"/assets/plotly-{metadata.version('plotly')}.min.js"
router = APIRouter(include_in_schema=False)


class KeptFiles(StaticFiles):
    """Files under a path that changes when they do, so that a browser need not ask for them again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = _KEPT
        return response


def version(folder: Path) -> str:
    """A short digest of all files in ``folder`` and of their names."""
    together = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            together.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return together.hexdigest()[:12]


@router.get("/worker.js")
def worker() -> Response:
    """The service worker, outside the versioned path: from here it may serve pages, and browsers ask for it anew."""
    script = (STATIC / "js" / "worker.js").read_bytes()
    return Response(script, media_type="text/javascript", headers={"cache-control": "no-cache"})


@cache
def _plotly(compressed: bool) -> bytes:
    script = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return gzip.compress(script, 6) if compressed else script


@router.get(PLOTLY_PATH)
def plotly(request: Request) -> Response:
    """Without signing in: it is the same for everybody. A quarter of its size for who takes gzip."""
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": _KEPT, "vary": "accept-encoding"}
    if compressed:
        headers["content-encoding"] = "gzip"
    return Response(_plotly(compressed), media_type="text/javascript", headers=headers)
