"""A wake-up as bytes, the same on every bus: ``{"kind": "train", "job_id": 7}``."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError

from shared.domain import JobId, JobKind, WakeUp
from shared.errors import Invalid


class _Message(BaseModel):
    """Keys that a newer version may add are ignored, so that versions can be mixed while one is rolled out."""

    model_config = ConfigDict(extra="ignore")
    kind: JobKind
    job_id: StrictInt


def encode(wakeup: WakeUp) -> bytes:
    return json.dumps({"kind": wakeup.kind.value, "job_id": wakeup.job_id}).encode()


def decode(body: bytes) -> WakeUp:
    """Raises ``Invalid``, which says what is wrong, if this is no wake-up."""
    try:
        message = _Message.model_validate_json(body)
    except ValidationError as error:
        raise Invalid(f"not a wake-up: {error.errors(include_url=False, include_input=False)}") from error
    return WakeUp(kind=message.kind, job_id=JobId(message.job_id))
