"""Exports over HTTP."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from services.api.schemas.base import In, NextCursor, Out
from shared.db.exports import Export, ExportForm, ExportState


class NewExport(In):
    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "zip"}]})

    format: ExportForm = Field(description="`csv`: the table alone. `zip`: with the labelled images by class.")


class ExportOut(Out):
    """What it holds is null until it is `ready`, and is known still when its file is `deleted`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    "format": "zip",
                    "state": "ready",
                    "progress": 1.0,
                    "error": None,
                    "asked_by": "key:wnw_1a2b3c4d",
                    "created_at": "2026-11-25T17:30:00Z",
                    "moment": "2026-11-25T17:30:02.518Z",
                    "images": 12000,
                    "labels": 3400,
                    "bytes": 418213112,
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "finished_at": "2026-11-25T17:31:40Z",
                    "expires_at": "2026-12-02T17:31:40Z",
                    "file": "/v1/projects/1/exports/3/file",
                }
            ]
        }
    )

    id: int
    format: ExportForm
    state: ExportState
    progress: float = Field(ge=0, le=1, description="About how much of it is made, from 0 to 1.")
    error: str | None = Field(description="Why it failed.")
    asked_by: str
    created_at: datetime
    moment: datetime | None = Field(description="It holds all that was there by then, and nothing later.")
    images: int | None = Field(description="Rows of its table.")
    labels: int | None = Field(description="How many of the images have a label.")
    bytes: int | None
    sha256: str | None = Field(description="Of the whole file.")
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="Until when it can be downloaded.")
    file: str | None = Field(description="Where it can be downloaded; null while it can't.")

    @classmethod
    def about(cls, one: Export) -> ExportOut:
        held = one.contents
        place = f"/v1/projects/{one.project_id}/exports/{one.id}/file"
        return cls(
            id=one.id,
            format=one.form,
            state=one.state,
            progress=one.progress,
            error=one.error,
            asked_by=one.actor,
            created_at=one.created_at,
            moment=held and held.moment,
            images=None if held is None else held.images,
            labels=None if held is None else held.labels,
            bytes=None if held is None else held.bytes,
            sha256=held and held.sha256,
            finished_at=one.finished_at,
            expires_at=one.expires_at,
            file=place if one.state is ExportState.READY else None,
        )


class ExportPage(Out):
    items: list[ExportOut]
    next_cursor: NextCursor
