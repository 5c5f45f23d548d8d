"""Webhooks: who is told of what happens, and what became of telling them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from services.api.auth import Caller, SomeManager
from services.api.parts import BIGGEST_ID, CursorQuery, LimitQuery, SystemPart, decode_cursor, encode_cursor
from services.api.problems import errors
from services.api.schemas.webhooks import (
    DeliveryOut,
    DeliveryPage,
    DeliveryWithLog,
    NewWebhook,
    Rotation,
    WebhookChange,
    WebhookOut,
    WebhookPage,
    WebhookWithSecret,
)
from shared.access import Permission
from shared.db.webhooks import MessageState, Within
from shared.domain import ProjectId
from shared.webhooks.endpoints import Change

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
WebhookPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The webhook's id.", examples=[1])]
DeliveryPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The delivery's id.", examples=[7])]
StateQuery = Annotated[MessageState | None, Query(description="Only deliveries in this state.")]


@router.post("", status_code=201, summary="Create a webhook", responses=errors(404, 409))
def create_webhook(body: NewWebhook, response: Response, caller: SomeManager, system: SystemPart) -> WebhookWithSecret:
    """Answers with the secret that requests are signed with, this once.

    The URL must be an https one that leads to a public address, unless whoever runs Winnow allowed others (422).
    """
    caller.require(Permission.MANAGE, body.project_id)
    project_id = None if body.project_id is None else ProjectId(body.project_id)
    endpoint, secret = system.webhooks.add(
        project_id, url=body.url, types=body.types, description=body.description, actor=caller.actor
    )
    response.headers["Location"] = f"{router.prefix}/{endpoint.id}"
    return WebhookWithSecret.whole(endpoint, secret)


@router.get("", summary="List webhooks", responses=errors())
def list_webhooks(
    caller: SomeManager, system: SystemPart, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> WebhookPage:
    """In order of id. A key that may manage some projects only sees the webhooks of these."""
    after = decode_cursor(cursor) or 0
    found = system.webhooks.page(after=after, limit=limit + 1, within=_within(caller))
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return WebhookPage(items=[WebhookOut.of(one) for one in found[:limit]], next_cursor=more)


@router.get("/{webhook_id}", summary="Look at a webhook", responses=errors(404))
def get_webhook(webhook_id: WebhookPath, caller: SomeManager, system: SystemPart) -> WebhookOut:
    """Without its secret."""
    return WebhookOut.of(system.webhooks.get(webhook_id, within=_within(caller)))


@router.patch("/{webhook_id}", summary="Change a webhook", responses=errors(404))
def change_webhook(webhook_id: WebhookPath, body: WebhookChange, caller: SomeManager, system: SystemPart) -> WebhookOut:
    """What waits to be delivered goes to the new URL; when it is disabled, what waits is given up."""
    wanted = Change(url=body.url, types=body.types, description=body.description, enabled=body.enabled)
    return WebhookOut.of(system.webhooks.change(webhook_id, wanted, within=_within(caller), actor=caller.actor))


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook", responses=errors(404))
def delete_webhook(webhook_id: WebhookPath, caller: SomeManager, system: SystemPart) -> None:
    """With its deliveries, those that wait included, and their log."""
    system.webhooks.delete(webhook_id, within=_within(caller), actor=caller.actor)


@router.post("/{webhook_id}/rotate", summary="Change the secret", responses=errors(404))
def rotate_webhook(
    webhook_id: WebhookPath, caller: SomeManager, system: SystemPart, body: Rotation | None = None
) -> WebhookWithSecret:
    """Answers with the new secret, this once. For `keep_s` seconds requests carry a signature by each of the two."""
    keep_s = (body or Rotation()).keep_s
    endpoint, secret = system.webhooks.rotate(webhook_id, keep_s=keep_s, within=_within(caller), actor=caller.actor)
    return WebhookWithSecret.whole(endpoint, secret)


@router.post("/{webhook_id}/ping", status_code=202, summary="Send a test message", responses=errors(404))
def ping_webhook(webhook_id: WebhookPath, caller: SomeManager, system: SystemPart) -> DeliveryOut:
    """A message of the type `webhook.ping`, tried once, also to a webhook that is disabled. Its delivery says what came
    of it."""
    return DeliveryOut.about(system.webhooks.ping(webhook_id, within=_within(caller), actor=caller.actor))


@router.get("/{webhook_id}/deliveries", summary="List deliveries", responses=errors(404))
def list_deliveries(
    webhook_id: WebhookPath,
    caller: SomeManager,
    system: SystemPart,
    state: StateQuery = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> DeliveryPage:
    """The newest first, each with its last attempt. They are kept for 30 days unless the system is set otherwise."""
    before = decode_cursor(cursor)
    found = system.webhooks.messages(webhook_id, state=state, before=before, limit=limit + 1, within=_within(caller))
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return DeliveryPage(items=[DeliveryOut.about(one) for one in found[:limit]], next_cursor=more)


@router.get("/{webhook_id}/deliveries/{delivery_id}", summary="Look at a delivery", responses=errors(404))
def get_delivery(
    webhook_id: WebhookPath, delivery_id: DeliveryPath, caller: SomeManager, system: SystemPart
) -> DeliveryWithLog:
    """What is said, and every attempt to say it."""
    return DeliveryWithLog.whole(*system.webhooks.message(webhook_id, delivery_id, within=_within(caller)))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Deliver again",
    responses=errors(404, 409),
)
def redeliver(
    webhook_id: WebhookPath, delivery_id: DeliveryPath, caller: SomeManager, system: SystemPart
) -> DeliveryOut:
    """From the beginning, with the same `webhook-id`. 409 while it is under way, and while the webhook is disabled."""
    again = system.webhooks.redeliver(webhook_id, delivery_id, within=_within(caller), actor=caller.actor)
    return DeliveryOut.about(again)


def _within(caller: Caller) -> Within:
    return caller.reach(Permission.MANAGE)
