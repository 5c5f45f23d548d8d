"""Work under way over HTTP."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field

from services.api.schemas.base import Out


class OperationKind(StrEnum):
    PREDICTION = "prediction"
    FILL = "batch_fill"
    CANCELLATION = "batch_cancel"
    EXPORT = "export"


class OperationState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class OperationOut(Out):
    """`resource`: what it is about; of a prediction, where its results are."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "cancel-7",
                    "kind": "batch_cancel",
                    "project_id": 1,
                    "state": "done",
                    "resource": "/v1/projects/1/batches/7",
                    "result": {"answered": 312, "revoked": 40, "dropped": 148},
                    "error": None,
                }
            ]
        }
    )

    id: str
    kind: OperationKind
    project_id: int
    state: OperationState
    resource: str
    result: dict[str, Any] | None = Field(description="Counts, where there are any; of a cancellation, those so far.")
    error: str | None = Field(description="Why it failed.")
