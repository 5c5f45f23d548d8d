"""Puts the API together."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute

from services.api import problems
from services.api.routes import (
    audit,
    exports,
    guidelines,
    images,
    labels,
    models,
    predictions,
    progress,
    projects,
    quality,
    uploads,
    webhooks,
)
from shared import web
from shared.gauges import DatabaseGauges
from shared.intake.gate import Gate
from shared.intake.receiving import Receiver
from shared.settings import ApiSettings
from shared.system import System

_DESCRIPTION = """
Send an API key with every request: `Authorization: Bearer <key>`. A key has scopes: `read`, `ingest` (upload images),
`label` (import labels) and `manage` (everything).

Errors are problems as RFC 9457 defines them (`application/problem+json`); `request_id` is what to look for in the
service's log. Lists come in pages: ask again with `cursor` set to the `next_cursor` of the page before.
"""
_TAGS = [
    {"name": "projects", "description": "A question, its possible answers, and how a model learns to give them."},
    {"name": "images", "description": "What is to be labelled, and what the model thinks of it."},
    {"name": "labels", "description": "Labels that are known already."},
    {"name": "guidelines", "description": "What annotators are told, and what they flag for a lead."},
    {"name": "progress", "description": "Rounds, models, work under way, and who did what."},
    {"name": "models", "description": "Look at a model, put one to use, compare two, take one along."},
    {"name": "predictions", "description": "What a model says of pictures, the project's or others."},
    {"name": "quality", "description": "How good people are, and what several answers come to."},
    {"name": "exports", "description": "Everything, to take along."},
    {"name": "webhooks", "description": "Being told of what happens, by requests to an address of yours."},
]


def create_app(system: System, settings: ApiSettings) -> FastAPI:
    """The application. It starts nothing and closes nothing: its composition root does."""
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
    web.install(app, service="api", ready=system.check, collectors=[DatabaseGauges(system.database)])
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
        exports,
        webhooks,
    ):
        app.include_router(family.router)
    problems.describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
