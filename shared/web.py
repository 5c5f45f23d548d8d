"""What every HTTP service has in common: request ids, errors as RFC 9457 problems, metrics, health.

A composition root calls ``install`` once, on an application whose routers carry their whole path themselves (an
``APIRouter(prefix="/v1/projects")`` included without a further prefix): metrics are kept by that path, with its
parameters unfilled, so that a million images are one line.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.db import events
from shared.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Retryable,
    StaleFence,
    Unauthorized,
    WinnowError,
)
from shared.health import Check, exposition
from shared.metrics import HTTP_SECONDS
from shared.telemetry import logger

log = logger(__name__)
PROBLEM_JSON = "application/problem+json"
REQUEST_ID = "X-Request-Id"
RETRY_AFTER_S = 2
MAX_BODY_BYTES = 8 * 1024 * 1024
"""Of requests that are read into memory. An endpoint that streams its body lifts this for itself: ``streams_body``."""
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_CLIENT_LEFT = 499


class Problem(Exception):
    """An answer that is an RFC 9457 problem. Endpoints raise it when they have more to say than a ``WinnowError``.

    Parameters
    ----------
    kind : the last part of the problem's type.
    members : further members of the document.
    """

    def __init__(
        self,
        *,
        status: int,
        kind: str,
        title: str,
        detail: str,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})


_UNEXPECTED = "Something went wrong in the service. It was logged under this request id."
_UNREACHABLE = "A part of the service can't be reached just now. Try again shortly."
_KINDS: dict[type[WinnowError], tuple[int, str, str]] = {
    Unauthorized: (401, "unauthorized", "Credentials are missing or not valid"),
    Forbidden: (403, "forbidden", "Not allowed"),
    NotFound: (404, "not-found", "Not found"),
    StaleFence: (409, "stale-fence", "The lease was lost"),
    Conflict: (409, "conflict", "In conflict with the present state"),
    Invalid: (422, "invalid", "The input can't be accepted"),
    Retryable: (503, "unavailable", "Temporarily unavailable"),
    WinnowError: (500, "internal", "Internal error"),
}
_PHRASES = {413: "Content too large", 422: "Unprocessable content"}
"""Where Python's versions differ, so that a problem's type doesn't."""
_CRASH = Problem(status=500, kind="internal", title="Internal error", detail=_UNEXPECTED)


def problem_from(error: WinnowError, **members: Any) -> Problem:
    """The problem that an error of ours means, by its nearest class in the table above.

    What broke inside (a driver's message, an address) is for the log: 500 and 503 say nothing of it.
    """
    status, kind, title = next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)
    detail, headers = str(error), {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="winnow"'
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        log.warning("http.unavailable", error=detail)
        detail, headers["Retry-After"] = _UNREACHABLE, str(RETRY_AFTER_S)
    elif status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("http.failed", error=detail, exc_info=error)
        detail = _UNEXPECTED
    return Problem(status=status, kind=kind, title=title, detail=detail, members=members, headers=headers)


def problem_response(request: Request, problem: Problem) -> Response:
    """The problem as a response to this request, with the request's path and id in it."""
    body = {
        "type": f"urn:winnow:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.path,
        "request_id": request_id(request),
        **problem.members,
    }
    return JSONResponse(body, problem.status, dict(problem.headers), PROBLEM_JSON)


def request_id(request: Request) -> str:
    """The id under which this request is logged."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def streams_body(request: Request) -> None:
    """Lift the limit on this request's body: the endpoint reads it piece by piece and keeps its own limits."""
    request.state.streams_body = True


def always() -> None:
    """The check of a service that is alive as long as it answers."""


def install(
    app: FastAPI, *, service: str, ready: Check, live: Check = always, collectors: Sequence[Collector] = ()
) -> None:
    """Give ``app`` the errors, request ids, metrics and health endpoints of every Winnow service.

    Parameters
    ----------
    service : its name in metrics.
    ready : raises a ``WinnowError`` unless the service can do its work now.
    live : raises one if something in the process has died, and only a restart helps; it is not ready then either.
    collectors : of metrics beyond those of ``shared.metrics``.
    """
    app.add_middleware(RequestContext, service=service)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(WinnowError, _on_winnow_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    _add_operations(app, live, ready, collectors)


class RequestContext:
    """ASGI middleware: names the request, times it, and answers what nobody caught. It never holds a body."""

    def __init__(self, app: ASGIApp, *, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = name
        # The server has put the address there that a proxy tells, if it trusts that proxy (FORWARDED_ALLOW_IPS).
        events.ADDRESS.set(scope["client"][0] if scope.get("client") else None)
        with structlog.contextvars.bound_contextvars(request_id=name, trace_id=name):
            await self._serve(scope, receive, send, name)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        started = time.perf_counter()
        status: int | None = None

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (REQUEST_ID.lower().encode(), name.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, _bounded(receive, scope), send_named)
        except ClientDisconnect:
            status = status or _CLIENT_LEFT
        except Exception:
            log.exception("http.crashed", method=scope["method"], path=scope["path"])
            if status is not None:
                raise  # half an answer is out: the server must break the connection, so that it can't pass for a whole
            await problem_response(Request(scope), _CRASH)(scope, receive, send_named)
        finally:
            self._record(scope, status or 500, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "(none)"
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        HTTP_SECONDS.labels(self._service, method, route, str(status)).observe(seconds)
        if route not in _QUIET:
            log.info("http.request", method=method, route=route, path=scope["path"], status=status, seconds=seconds)


def _bounded(receive: Receive, scope: Scope) -> Receive:
    """``receive``, which breaks the request off (413) once its body is larger than may be held in memory."""
    declared = Headers(scope=scope).get("content-length", "")
    total = 0

    async def receive_bounded() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        expected = max(total, int(declared)) if declared.isdecimal() else total
        if expected > MAX_BODY_BYTES and not scope["state"].get("streams_body"):
            limit = MAX_BODY_BYTES // 1024**2
            raise HTTPException(413, f"the body of this request may have {limit} MiB at most")
        return message

    return receive_bounded


def _request_id(scope: Scope) -> str:
    """The id that the caller gave, if it is fit for a log, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(request, error)


async def _on_winnow_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WinnowError)
    return problem_response(request, problem_from(error))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Says which fields are wrong and why. What was sent is not repeated: it may hold a secret."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {"in": str(e["loc"][0]), "field": ".".join(str(part) for part in e["loc"][1:]), "detail": e["msg"]}
        for e in error.errors()
    ]
    first = " ".join(str(errors[0][key]) for key in ("in", "field", "detail")) if errors else "no details"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    status, kind, title = _KINDS[Invalid]
    problem = Problem(status=status, kind=kind, title=title, detail=first + more, members={"errors": errors})
    return problem_response(request, problem)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = problem_of(error)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the framework names those of the first route alone
        found.headers["Allow"] = ", ".join(sorted(_methods(request.app.routes, request.scope)))
    return problem_response(request, found)


def problem_of(error: HTTPException) -> Problem:
    """What the framework itself refuses: no such path, no such method, a body that is too large."""
    if error.status_code == HTTPStatus.BAD_REQUEST:  # a body that can't be read at all, as one that doesn't fit
        return problem_from(Invalid(str(error.detail)))
    title = _PHRASES.get(error.status_code) or HTTPStatus(error.status_code).phrase
    kind = title.lower().replace(" ", "-")
    headers = error.headers or {}
    return Problem(status=error.status_code, kind=kind, title=title, detail=str(error.detail), headers=headers)


def _methods(routes: Iterable[Any], scope: Scope) -> set[str]:
    """Those that this path answers. Newer versions of FastAPI keep routers that were included as they are."""
    found: set[str] = set()
    for route in routes:
        if hasattr(route, "original_router"):
            found |= _methods(route.original_router.routes, scope)
        elif hasattr(route, "methods") and route.matches(scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found


def _add_operations(app: FastAPI, live: Check, ready: Check, collectors: Sequence[Collector]) -> None:
    """``/healthz``, ``/readyz`` and ``/metrics``, left out of OpenAPI: they are for those who run the service."""

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        try:
            live()
        except WinnowError as error:
            raise Retryable(f"not alive: {error}") from error
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> dict[str, str]:
        try:
            live()
            ready()
        except WinnowError as error:
            raise Retryable(f"not ready: {error}") from error
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(exposition(collectors), media_type=CONTENT_TYPE_LATEST)
