"""Webhooks over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from services.api.parts import BIGGEST_ID
from services.api.schemas.base import In, NextCursor, Out, Whole, YesNo, printable
from shared.db.webhooks import Attempt, Endpoint, EventType, Message, MessageState
from shared.webhooks.endpoints import KEEP_S, LONGEST_KEEP_S

Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(printable)]
Types = Annotated[list[EventType], Field(min_length=1, max_length=100, description="What it is told of.")]
_URL = "https://labels.vendor.example/winnow"


class NewWebhook(In):
    """`project_id` null: it is told of every project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": _URL, "types": ["round.completed", "project.stopped"], "project_id": 1}]
        }
    )

    url: Url
    types: Types
    project_id: Whole | None = Field(default=None, ge=1, le=BIGGEST_ID)
    description: Description = ""


class WebhookChange(In):
    """What is not named stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}, {"types": ["model.promoted"]}]})

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None
    enabled: YesNo | None = Field(default=None, description="Enabled again, it begins anew.")


class Rotation(In):
    model_config = ConfigDict(json_schema_extra={"examples": [{"keep_s": 86400}]})

    keep_s: Whole = Field(
        default=int(KEEP_S), ge=0, le=int(LONGEST_KEEP_S), description="For how long the old secret signs as well."
    )


class WebhookOut(Out):
    id: int
    project_id: int | None
    url: str
    types: list[str]
    description: str
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None = Field(description="Since when every attempt has failed; null: the last did not.")
    created_by: str
    created_at: datetime


class WebhookWithSecret(WebhookOut):
    secret: str = Field(description="Shown this once.", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])

    @classmethod
    def whole(cls, endpoint: Endpoint, secret: str) -> WebhookWithSecret:
        return cls(**dict(WebhookOut.of(endpoint)), secret=secret)


class WebhookPage(Out):
    items: list[WebhookOut]
    next_cursor: NextCursor


class AttemptOut(Out):
    at: datetime
    duration_ms: int
    status: int | None = Field(description="Null: no answer came, and `error` says why.")
    error: str | None
    excerpt: str = Field(description="The beginning of the answer's body.")


class DeliveryOut(Out):
    id: int
    webhook_id: str = Field(description="The header `webhook-id`, the same for every attempt.")
    type: str
    state: MessageState
    attempts: int = Field(description="Made so far; since it was last redelivered, if it was.")
    next_at: datetime | None = Field(description="When it is tried next; null: no more.")
    created_at: datetime
    last: AttemptOut | None

    @classmethod
    def about(cls, message: Message) -> DeliveryOut:
        return cls(
            id=message.id,
            webhook_id=name_of(message.uid),
            type=message.type,
            state=message.state,
            attempts=message.attempts,
            next_at=message.next_at,
            created_at=message.created_at,
            last=message.last and AttemptOut.of(message.last),
        )


class DeliveryPage(Out):
    items: list[DeliveryOut]
    next_cursor: NextCursor


class DeliveryWithLog(DeliveryOut):
    data: dict[str, Any]
    log: list[AttemptOut] = Field(description="Every attempt, in order of time.")

    @classmethod
    def whole(cls, message: Message, log: list[Attempt]) -> DeliveryWithLog:
        return cls(**dict(DeliveryOut.about(message)), data=dict(message.data), log=[AttemptOut.of(one) for one in log])


def name_of(uid: UUID) -> str:
    return f"msg_{uid.hex}"
