"""Errors as OpenAPI shows them. ``shared.web`` makes them; this only describes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from shared.web import PROBLEM_JSON


class ProblemDocument(BaseModel):
    """An error (RFC 9457). Some have further members, such as `errors` for a request that does not fit its schema."""

    type: str = Field(description="What kind of error this is; stable.", examples=["urn:winnow:problem:not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What is wrong this time, for a person.", examples=["there is no project 7"])
    instance: str = Field(description="The path that was asked.", examples=["/v1/projects/7"])
    request_id: str = Field(description="Under which the request is logged.", examples=["2f1c9f1a7c3f4ab6"])


_DESCRIPTIONS = {
    401: "No API key, or one that is not valid.",
    403: "The key lacks the scope.",
    404: "There is no such thing, or the key is limited to another project.",
    408: "The client fell silent; `results` has what was taken until then.",
    409: "Not possible in the present state; `detail` says why.",
    412: "`If-Match` names a version that is not the present one.",
    413: "The body is too large.",
    415: "The body is not multipart/form-data.",
    416: "The range lies beyond the file's end.",
    422: "The request does not fit its schema, or values don't go together.",
    429: "The key has used its requests up; go on after `Retry-After` seconds.",
    503: "A part of the service can't be reached; try again after `Retry-After` seconds.",
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Of your choice, such as a UUID. Sent again with the same request within a day, that is not done "
    "again, and the answer is the same, with `Idempotency-Replayed: true`. 422 with another request, 409 while the "
    "first is under way.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
_SCHEMA = {"$ref": "#/components/schemas/Problem"}
Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Responses:
    """The ``responses`` of an endpoint that may answer these; 401, 403, 422 and 503 may come from every one."""
    return {
        status: {"description": _DESCRIPTIONS[status], "content": {PROBLEM_JSON: {"schema": _SCHEMA}}}
        for status in sorted({401, 403, 422, 503, *statuses})
    }


def _add_conventions(method: str, operation: dict[str, Any]) -> None:
    """What holds for every endpoint: 429, and ``Idempotency-Key`` for what is asked with POST and read into memory."""
    operation["responses"].setdefault("429", errors(429)[429])
    takes_files = "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
    if method == "post" and not takes_files:
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
        operation["responses"].setdefault("409", errors(409)[409])


def file_of(media_type: str) -> Responses:
    """The ``responses`` of an endpoint that answers with a file."""
    schema = {"type": "object"} if media_type == "application/json" else {"type": "string", "format": "binary"}
    return {200: {"description": "The file.", "content": {media_type: {"schema": schema}}}}


def describe(app: FastAPI) -> None:
    """Let the application's OpenAPI document hold the schema of problems."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schema = ProblemDocument.model_json_schema()
            document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = {**schema, "title": "Problem"}
            for path in document["paths"].values():
                for method, operation in path.items():
                    _add_conventions(method, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
