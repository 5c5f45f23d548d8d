"""Webhooks: who is told of what, made and tried here, and the log of what became of telling them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.configuration import FormOf
from services.ui.parts import Parts, PartsOf
from services.ui.permits import ManagesSomewhere
from services.ui.sessions import SignedInAs
from services.ui.words import N_, _
from shared.access import Permission, Principal, reach, require
from shared.db import projects
from shared.db.webhooks import Endpoint, EventType, Within
from shared.domain import ProjectId, User
from shared.errors import Conflict, Invalid, NotFound
from shared.webhooks.endpoints import KEEP_S, MOST, Change

router = APIRouter(include_in_schema=False)
WebhookPath = Annotated[int, Path(alias="webhook_id", ge=1, le=2**63 - 1)]
DeliveryPath = Annotated[int, Path(alias="delivery_id", ge=1, le=2**63 - 1)]
PAGE = 50
_NEWEST = 2**62
LONGEST_URL, LONGEST_DESCRIPTION = 2000, 200
MEANINGS: Mapping[EventType, str] = {
    EventType.BATCH_OPENED: N_("a batch for a vendor can be worked on"),
    EventType.BATCH_COMPLETED: N_("a batch for a vendor is done"),
    EventType.BATCH_CANCELLED: N_("a batch for a vendor was cancelled"),
    EventType.TASK_LEASE_EXPIRED: N_("somebody held a task and did not answer in time"),
    EventType.ANNOTATION_SUBMITTED: N_("somebody answered; in a busy project that is often"),
    EventType.ANNOTATION_ACCEPTED: N_("a vendor's answer was accepted"),
    EventType.ANNOTATION_REJECTED: N_("a vendor's answer was rejected"),
    EventType.ROUND_COMPLETED: N_("a round is over"),
    EventType.MODEL_PROMOTED: N_("a model was put to use"),
    EventType.PROJECT_STOPPED: N_("a project has ended, by a stopping rule or because nothing is left"),
}


@dataclass(frozen=True, kw_only=True)
class Lead:
    """Who may see to some webhooks: those of the projects ``within``; None: all, and those of all projects."""

    user: User
    who: Principal

    @property
    def within(self) -> Within:
        return reach(self.who, Permission.MANAGE)

    @property
    def actor(self) -> str:
        return self.who.actor


def _lead(user: ManagesSomewhere, who: SignedInAs) -> Lead:
    return Lead(user=user, who=who)


LeadOf = Annotated[Lead, Depends(_lead)]


@router.get("/webhooks")
def webhooks_page(request: Request, parts: PartsOf, lead: LeadOf) -> Response:
    return _list(request, parts, lead)


@router.post("/webhooks")
def make(request: Request, parts: PartsOf, lead: LeadOf, typed: dict[str, str] = FormOf) -> Response:
    """Answers with the new one's page, which shows the secret this once."""
    try:
        project = _project(typed)
        if project is None and lead.within is not None:
            raise Invalid(_("choose a project"))
        require(lead.who, Permission.MANAGE, project)
        url, description = _texts(typed)
        endpoint, secret = parts.system.webhooks.add(
            project, url=url, types=_types(typed), description=description, actor=lead.actor
        )
    except (Invalid, Conflict, NotFound) as error:
        return _list(request, parts, lead, typed=typed, error=str(error))
    return _one(request, parts, lead, endpoint.id, secret=secret)


@router.get("/webhooks/{webhook_id}")
def webhook_page(request: Request, webhook_id: WebhookPath, parts: PartsOf, lead: LeadOf) -> Response:
    return _one(request, parts, lead, webhook_id)


@router.post("/webhooks/{webhook_id}")
def change(
    request: Request,
    webhook_id: WebhookPath,
    parts: PartsOf,
    lead: LeadOf,
    typed: dict[str, str] = FormOf,
) -> Response:
    try:
        url, description = _texts(typed)
        wanted = Change(url=url, types=_types(typed), description=description, enabled="enabled" in typed)
        parts.system.webhooks.change(webhook_id, wanted, within=lead.within, actor=lead.actor)
    except Invalid as error:
        return _one(request, parts, lead, webhook_id, typed=typed, error=str(error))
    return RedirectResponse(f"/webhooks/{webhook_id}?done=saved", 303)


@router.post("/webhooks/{webhook_id}/rotate")
def rotate(request: Request, webhook_id: WebhookPath, parts: PartsOf, lead: LeadOf) -> Response:
    """Answers with the page, which shows the new secret this once."""
    _endpoint, secret = parts.system.webhooks.rotate(webhook_id, keep_s=KEEP_S, within=lead.within, actor=lead.actor)
    return _one(request, parts, lead, webhook_id, secret=secret)


@router.post("/webhooks/{webhook_id}/delete")
def delete(webhook_id: WebhookPath, parts: PartsOf, lead: LeadOf, typed: dict[str, str] = FormOf) -> Response:
    if "confirmed" not in typed:
        raise Invalid(_("say that you mean it: the box beside the button"))
    parts.system.webhooks.delete(webhook_id, within=lead.within, actor=lead.actor)
    return RedirectResponse("/webhooks?done=deleted", 303)


@router.post("/webhooks/{webhook_id}/ping")
def ping(webhook_id: WebhookPath, parts: PartsOf, lead: LeadOf) -> Response:
    parts.system.webhooks.ping(webhook_id, within=lead.within, actor=lead.actor)
    return RedirectResponse(f"/webhooks/{webhook_id}?done=sent", 303)


@router.get("/webhooks/{webhook_id}/deliveries/{delivery_id}")
def delivery_page(
    request: Request,
    webhook_id: WebhookPath,
    delivery_id: DeliveryPath,
    parts: PartsOf,
    lead: LeadOf,
) -> Response:
    endpoint = parts.system.webhooks.get(webhook_id, within=lead.within)
    message, log = parts.system.webhooks.message(webhook_id, delivery_id, within=lead.within)
    context = {
        "user": lead.user,
        "here": "webhooks",
        "endpoint": endpoint,
        "message": message,
        "log": log,
        "data": json.dumps(dict(message.data), indent=2, ensure_ascii=False),
        "done": _done(request),
    }
    return parts.templates.TemplateResponse(request, "delivery.html", context)


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver")
def redeliver(webhook_id: WebhookPath, delivery_id: DeliveryPath, parts: PartsOf, lead: LeadOf) -> Response:
    parts.system.webhooks.redeliver(webhook_id, delivery_id, within=lead.within, actor=lead.actor)
    return RedirectResponse(f"/webhooks/{webhook_id}/deliveries/{delivery_id}?done=again", 303)


def _project(typed: Mapping[str, str]) -> ProjectId | None:
    """Raises ``Invalid`` for what is no project's id."""
    text = typed.get("project", "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid(_("choose a project"))
    return ProjectId(int(text))


def _texts(typed: Mapping[str, str]) -> tuple[str, str]:
    """The URL and the description. Raises ``Invalid`` for one that is too long."""
    url, description = typed.get("url", "").strip(), typed.get("description", "").strip()
    if len(url) > LONGEST_URL or len(description) > LONGEST_DESCRIPTION:
        raise Invalid(
            _("an URL has %s characters at most, a description %s") % (f"{LONGEST_URL:,}", LONGEST_DESCRIPTION)
        )
    return url, description


def _types(typed: Mapping[str, str]) -> list[EventType]:
    return [one for one in EventType if f"type.{one.value}" in typed]


def _list(
    request: Request, parts: Parts, lead: Lead, *, typed: Mapping[str, str] | None = None, error: str = ""
) -> Response:
    within = lead.within
    found = parts.system.webhooks.page(limit=MOST, within=within)
    with parts.system.database.transaction() as tx:
        choices = projects.page(tx, after=0, limit=500, only=within)
    context = {
        "user": lead.user,
        "here": "webhooks",
        "endpoints": found,
        "projects": {project.id: project.name for project in choices},
        "meanings": MEANINGS,
        "all": within is None,
        "typed": defaultdict(str, typed or {}),
        "error": error,
        "done": _done(request),
    }
    return parts.templates.TemplateResponse(request, "webhooks.html", context, status_code=422 if error else 200)


def _one(
    request: Request,
    parts: Parts,
    lead: Lead,
    webhook_id: int,
    *,
    secret: str = "",
    typed: Mapping[str, str] | None = None,
    error: str = "",
) -> Response:
    endpoint = parts.system.webhooks.get(webhook_id, within=lead.within)
    before = request.query_params.get("before", "")
    place = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else _NEWEST
    found = parts.system.webhooks.messages(webhook_id, before=place, limit=PAGE + 1)
    context = {
        "user": lead.user,
        "here": "webhooks",
        "endpoint": endpoint,
        "project": _name(parts, endpoint),
        "messages": found[:PAGE],
        "older": found[PAGE - 1].id if len(found) > PAGE else None,
        "newest": place != _NEWEST,
        "meanings": MEANINGS,
        "typed": defaultdict(str, typed or _typed(endpoint)),
        "secret": secret,
        "keep_h": int(KEEP_S / 3600),
        "error": error,
        "done": _done(request),
    }
    return parts.templates.TemplateResponse(request, "webhook.html", context, status_code=422 if error else 200)


def _typed(endpoint: Endpoint) -> dict[str, str]:
    """The form as it is without anybody having typed."""
    form = {"url": endpoint.url, "description": endpoint.description}
    form.update({f"type.{one}": "1" for one in endpoint.types})
    return {**form, "enabled": "1"} if endpoint.enabled else form


def _name(parts: Parts, endpoint: Endpoint) -> str | None:
    """What its project is called; None: it is told of all."""
    if endpoint.project_id is None:
        return None
    with parts.system.database.transaction() as tx:
        return projects.get(tx, endpoint.project_id).name


def _done(request: Request) -> str:
    return {
        "saved": _("Saved."),
        "deleted": _("The webhook is deleted, with its deliveries."),
        "sent": _("The test message is on its way. Look again in a moment to see what came of it."),
        "again": _("It is delivered again, in a moment."),
    }.get(request.query_params.get("done", ""), "")
