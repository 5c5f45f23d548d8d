"""Errors as pages, for a person who followed a link. Calls, images and scripts get the problem document itself."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from services.ui.parts import Parts
from shared.errors import WinnowError
from shared.web import Problem, request_id

Handler = Callable[[Request, Exception], Awaitable[Response]]


def show_as_pages(app: FastAPI) -> None:
    """Put a page around the problems that ``shared.web.install`` answers with, where a page was asked for."""
    for kind in (Problem, WinnowError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _page_of(cast(Handler, app.exception_handlers[kind])))


def _page_of(answer: Handler) -> Handler:
    async def handler(request: Request, error: Exception) -> Response:
        response = await answer(request, error)
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if not wants_page or request.url.path.startswith("/v1/"):
            return response
        parts: Parts = request.app.state.parts
        context = {"problem": json.loads(bytes(response.body)), "request_id": request_id(request)}
        return parts.templates.TemplateResponse(request, "error.html", context, status_code=response.status_code)

    return handler
