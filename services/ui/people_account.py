"""My account: another password, and the sessions that are mine, with their end."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import Parts, PartsOf
from services.ui.passwords import hash_password, verify_password
from services.ui.sessions import SignedIn, session_token
from services.ui.words import N_, _
from shared.credentials import digest
from shared.db import events, members, projects, sessions, users
from shared.domain import User
from shared.errors import Invalid

router = APIRouter(prefix="/account", include_in_schema=False)
SessionPath = Annotated[int, Path(alias="session_id", ge=1, le=2**63 - 1)]
DONE = {
    "password": N_("Your password is changed. Everywhere else you are signed out."),
    "linked": N_("Your account is linked. From now on you may sign in either way."),
    "unlinked": N_("The link is gone. You sign in with your password, and are signed out everywhere else."),
    "ended": N_("That session is ended."),
    "ended-others": N_("You are signed out everywhere else."),
}


@router.get("")
def accountpage(request: Request, parts: PartsOf, user: SignedIn) -> Response:
    return page(request, parts, user)


@router.post("/password")
def change_password(
    request: Request,
    parts: PartsOf,
    user: SignedIn,
    current: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """Ends every other session: whoever knew the old password is out."""
    trouble = wrong_password(request, parts, user, current)
    if trouble:
        return page(request, parts, user, trouble)
    if password != again:
        return page(request, parts, user, _("The two passwords differ."))
    try:
        hashed = hash_password(password)
    except Invalid as error:
        return page(request, parts, user, str(error))
    with parts.system.database.transaction() as tx:
        users.set_password(tx, user.username, hashed)
        sessions.end_all_of(tx, user.id, but=mine(request, parts))
        events.record(tx, None, f"user:{user.id}", "user.password_changed", {"username": user.username})
    return RedirectResponse("/account?done=password", 303)


@router.post("/sessions/{session_id}/end")
def end(session_id: SessionPath, parts: PartsOf, user: SignedIn) -> Response:
    with parts.system.database.transaction() as tx:
        sessions.end(tx, user.id, session_id)
    return RedirectResponse("/account?done=ended", 303)


@router.post("/sessions/end-others")
def end_others(request: Request, parts: PartsOf, user: SignedIn) -> Response:
    with parts.system.database.transaction() as tx:
        sessions.end_all_of(tx, user.id, but=mine(request, parts))
    return RedirectResponse("/account?done=ended-others", 303)


def wrong_password(request: Request, parts: Parts, user: User, current: str) -> str:
    """Why ``current`` doesn't show that it is they who ask; empty if it does."""
    with parts.system.database.transaction() as tx:
        known = users.credentials(tx, user.username)
    if known is None or not known.has_password:
        return _("You have no password here. An admin can give you one.")
    address = request.client.host if request.client else ""
    if parts.throttle.wait_s(user.username, address) > 0:
        return _("Too many wrong passwords. Wait some minutes and try again.")
    if not verify_password(known.password_hash, current):
        parts.throttle.failed(user.username, address)
        return _("That is not your present password.")
    return ""


def mine(request: Request, parts: Parts) -> bytes:
    """What this session is known by."""
    return digest(session_token(request, parts.settings) or "")


def page(request: Request, parts: Parts, user: User, trouble: str = "") -> Response:
    """The account's page, with what went wrong."""
    idle = parts.settings.idle_minutes
    with parts.system.database.transaction() as tx:
        roles, known = members.of_user(tx, user.id), users.credentials(tx, user.username)
        context = {
            "user": user,
            "here": "account",
            "sessions": sessions.of_user(tx, user.id, current=mine(request, parts), idle_minutes=idle),
            "memberships": list(roles.values()),
            "names": projects.names(tx, roles),
            "provider": parts.provider.settings.name if parts.provider is not None else "",
            "linked": known is not None and known.subject is not None,
            "has_password": known is not None and known.has_password,
            "trouble": trouble,
            "done": DONE.get(request.query_params.get("done", "")),
        }
    return parts.templates.TemplateResponse(request, "account.html", context, status_code=422 if trouble else 200)
