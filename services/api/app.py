"""Puts the API together."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from services.api import problems
from services.api.idempotency import Idempotency
from services.api.limits import RateLimit
from services.api.routes import (
    audit,
    batches,
    exports,
    guidelines,
    images,
    labels,
    models,
    operations,
    predictions,
    progress,
    projects,
    quality,
    tags,
    uploads,
    vendor_record,
    vendors,
    webhooks,
)
from shared import web
from shared.gauges import DatabaseGauges
from shared.health import Check
from shared.intake.gate import Gate
from shared.intake.receiving import Receiver
from shared.settings import ApiSettings
from shared.system import System

_DESCRIPTION = """
Send an API key with every request: `Authorization: Bearer <key>`. A key has scopes: `read`, `ingest` (upload images),
`label` (import labels) and `manage` (all of these); those of vendors have `batch`.

Errors are problems as RFC 9457 defines them (`application/problem+json`); `request_id` is what to look for in the
service's log. Lists come in pages: ask again with `cursor` set to the `next_cursor` of the page before.

Send `Idempotency-Key` with a POST, and it is done once however often it is sent. A key may make so many requests a
minute (`RateLimit-Policy`, `RateLimit`); beyond that the answer is 429, and `Retry-After` says when to go on.
"""
_TAGS = [
    {"name": "projects", "description": "A question, its possible answers, and how a model learns to give them."},
    {"name": "images", "description": "What is to be labelled, and what the model thinks of it."},
    {"name": "labels", "description": "Labels that are known already."},
    {"name": "tags", "description": "Words of your own on images, beside classes; the model learns nothing of them."},
    {"name": "guidelines", "description": "What annotators are told, and what they flag for a lead."},
    {"name": "progress", "description": "Rounds, models, work under way, and who did what."},
    {"name": "models", "description": "Look at a model, put one to use, compare two, take one along."},
    {"name": "predictions", "description": "What a model says of pictures, the project's or others."},
    {
        "name": "batches",
        "description": "Work for outside vendors: order, watch and pay it, accept or reject it.",
    },
    {"name": "vendors", "description": "What a vendor does, with a key of its own: lease tasks, answer them in bulk."},
    {"name": "operations", "description": "How work goes that was begun and answered with 202."},
    {"name": "quality", "description": "How good people are, and what several answers come to."},
    {"name": "exports", "description": "Everything, to take along."},
    {"name": "webhooks", "description": "Being told of what happens, by requests to an address of yours."},
]
COMPRESSED_FROM = 1000
"""Bytes."""
# What is no JSON: most of it is compressed already, and all of it is streamed.
_NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "image/*", "text/*", "application/octet-stream")


def create_app(system: System, settings: ApiSettings, *, live: Check = web.always) -> FastAPI:
    """The application. It starts nothing and closes nothing: its composition root does, and says with ``live`` whether
    what it started is alive."""
    app = FastAPI(
        title="Winnow",
        version=version("winnow"),
        summary="Label large image pools with active learning.",
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        generate_unique_id_function=_operation_id,
        # The framework's pages load scripts from other people's servers.
        docs_url=None,
        redoc_url=None,
    )
    app.state.system = system
    app.state.settings = settings
    app.state.receiver = Receiver(
        system,
        max_file_bytes=settings.max_file_bytes,
        max_pixels=settings.max_pixels,
        decode_memory_bytes=settings.decode_memory_bytes,
    )
    # A gate of its own, so that nobody who waits for an answer waits for a long upload.
    app.state.predict_gate = Gate(receiving=predictions.RECEIVING, threads=predictions.THREADS)
    app.add_middleware(Idempotency, database=system.database)
    app.add_middleware(GZipMiddleware, COMPRESSED_FROM, 5, exclude_content_types=_NOT_COMPRESSED)
    app.add_middleware(RateLimit, quota=settings.requests_per_minute, window_s=60)
    gauges = [DatabaseGauges(system.database)]
    web.install(app, service="api", ready=system.check, live=live, collectors=gauges)
    for family in (
        projects,
        images,
        uploads,
        labels,
        guidelines,
        progress,
        audit,
        models,
        predictions,
        quality,
        tags,
        exports,
        webhooks,
    ):
        app.include_router(family.router)
    for router in (batches.vendors_router, batches.router, vendor_record.router, vendors.router, operations.router):
        app.include_router(router)
    problems.describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
