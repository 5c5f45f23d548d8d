"""Everybody, for admins: who is a user, who is an admin, who is disabled, which vendors there are, who is invited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import people_invitations
from services.ui.parts import Parts, PartsOf
from services.ui.people import InvitationPath, UserPath
from services.ui.permits import Administers
from services.ui.words import N_, _
from shared.db import batches, events, invitations, sessions, users
from shared.domain import User, UserId, UserKind
from shared.errors import Conflict, Invalid, WinnowError

router = APIRouter(prefix="/people", include_in_schema=False)
DONE = {
    "admin": N_("They are an admin now."),
    "not-admin": N_("They are no admin any more."),
    "disabled": N_("They can't sign in any more; their sessions and keys are refused from now on."),
    "enabled": N_("They can sign in again."),
    "signed-out": N_("They are signed out everywhere."),
    "vendor": N_("The vendor is there. Make it a key with the scope batch."),
    "revoked": N_("The invitation is revoked."),
}


@router.get("")
def everybody_page(request: Request, parts: PartsOf, user: Administers) -> Response:
    return _page(request, parts, user)


@router.post("/{user_id}/admin")
def set_admin(
    request: Request, user_id: UserPath, parts: PartsOf, user: Administers, admin: Annotated[bool, Form()] = False
) -> Response:
    try:
        with parts.system.database.transaction() as tx:
            one = users.get(tx, UserId(user_id))
            if one.kind is not UserKind.PERSON:
                raise Conflict(_("a vendor can't be an admin"))
            users.set_admin(tx, one.id, admin)
            kind = "user.made_admin" if admin else "user.unmade_admin"
            events.record(tx, None, f"user:{user.id}", kind, {"user": one.id, "username": one.username})
    except Conflict as error:
        return _page(request, parts, user, trouble=error)
    return _back("admin" if admin else "not-admin")


@router.post("/{user_id}/disabled")
def set_disabled(
    request: Request, user_id: UserPath, parts: PartsOf, user: Administers, disabled: Annotated[bool, Form()] = False
) -> Response:
    try:
        with parts.system.database.transaction() as tx:
            one = users.get(tx, UserId(user_id))
            if one.id == user.id:
                raise Conflict(_("you can't disable yourself: another admin can"))
            users.set_disabled(tx, one.id, disabled)
            if disabled:
                sessions.end_all_of(tx, one.id)
            kind = "user.disabled" if disabled else "user.enabled"
            events.record(tx, None, f"user:{user.id}", kind, {"user": one.id, "username": one.username})
    except Conflict as error:
        return _page(request, parts, user, trouble=error)
    return _back("disabled" if disabled else "enabled")


@router.post("/{user_id}/sign-out")
def sign_out_everywhere(user_id: UserPath, parts: PartsOf, user: Administers) -> Response:
    with parts.system.database.transaction() as tx:
        one = users.get(tx, UserId(user_id))
        sessions.end_all_of(tx, one.id)
        events.record(tx, None, f"user:{user.id}", "user.signed_out", {"user": one.id, "username": one.username})
    return _back("signed-out")


@router.post("/vendors")
def add_vendor(
    request: Request,
    parts: PartsOf,
    user: Administers,
    username: Annotated[str, Form(max_length=100)] = "",
    display_name: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """A firm whose people work in batches, through the api alone."""
    username = username.strip().lower()
    try:
        with parts.system.database.transaction() as tx:
            made = users.add_vendor(tx, username, display_name.strip() or username)
            data = {"user": made.id, "username": username, "vendor": True}
            events.record(tx, None, f"user:{user.id}", "user.added", data)
    except Conflict:
        return _page(request, parts, user, trouble=Conflict(_("that name is taken")))
    except Invalid:
        return _page(request, parts, user, trouble=Invalid(_("A short name is made of a-z, 0-9 and . _ @ + -")))
    return _back("vendor")


@router.post("/invitations")
def invite(
    request: Request,
    parts: PartsOf,
    user: Administers,
    admin: Annotated[bool, Form()] = False,
    days: Annotated[int, Form(ge=1, le=people_invitations.LONGEST_DAYS)] = 7,
    note: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Into no project: as an admin, or to be let into projects later."""
    wanted = people_invitations.Wanted(is_admin=admin, days=days, note=note)
    return _page(request, parts, user, link=people_invitations.invite(request, parts, user, wanted))


@router.post("/invitations/{invitation_id}/revoke")
def revoke(invitation_id: InvitationPath, parts: PartsOf, user: Administers) -> Response:
    with parts.system.database.transaction() as tx:
        invitations.revoke(tx, None, invitation_id)
        events.record(tx, None, f"user:{user.id}", "invitation.revoked", {"invitation": invitation_id})
    return _back("revoked")


def _back(done: str) -> Response:
    return RedirectResponse(f"/people?done={done}", 303)


def _page(
    request: Request, parts: Parts, user: User, *, trouble: WinnowError | None = None, link: str | None = None
) -> Response:
    with parts.system.database.transaction() as tx:
        everybody = users.everybody(tx)
        context = {
            "user": user,
            "here": "people",
            "people": [one for one in everybody if one.kind is UserKind.PERSON],
            "vendors": [one for one in everybody if one.kind is UserKind.VENDOR],
            "vendor_places": batches.places_of_vendors(tx),
            "invitations": invitations.of_project(tx, None),
            "trouble": trouble,
            "link": link,
            "done": DONE.get(request.query_params.get("done", "")),
            **people_invitations.for_page(),
        }
    status = 422 if trouble else 200
    return parts.templates.TemplateResponse(request, "people_system.html", context, status_code=status)
