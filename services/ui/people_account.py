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
    "ended": N_("That session is ended."),
    "ended-others": N_("You are signed out everywhere else."),
}


@router.get("")
def account_page(request: Request, parts: PartsOf, user: SignedIn) -> Response:
    return _page(request, parts, user)


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
    address = request.client.host if request.client else ""
    if parts.throttle.wait_s(user.username, address) > 0:
        return _page(request, parts, user, _("Too many wrong passwords. Wait some minutes and try again."))
    with parts.system.database.transaction() as tx:
        known = users.credentials(tx, user.username)
    if known is None or not verify_password(known.password_hash, current):
        parts.throttle.failed(user.username, address)
        return _page(request, parts, user, _("That is not your present password."))
    if password != again:
        return _page(request, parts, user, _("The two passwords differ."))
    try:
        hashed = hash_password(password)
    except Invalid as error:
        return _page(request, parts, user, str(error))
    with parts.system.database.transaction() as tx:
        users.set_password(tx, user.username, hashed)
        sessions.end_all_of(tx, user.id, but=_mine(request, parts))
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
        sessions.end_all_of(tx, user.id, but=_mine(request, parts))
    return RedirectResponse("/account?done=ended-others", 303)


def _mine(request: Request, parts: Parts) -> bytes:
    return digest(session_token(request, parts.settings) or "")


def _page(request: Request, parts: Parts, user: User, trouble: str = "") -> Response:
    idle = parts.settings.idle_minutes
    with parts.system.database.transaction() as tx:
        mine = members.of_user(tx, user.id)
        context = {
            "user": user,
            "here": "account",
            "sessions": sessions.of_user(tx, user.id, current=_mine(request, parts), idle_minutes=idle),
            "memberships": list(mine.values()),
            "names": projects.names(tx, mine),
            "trouble": trouble,
            "done": DONE.get(request.query_params.get("done", "")),
        }
    return parts.templates.TemplateResponse(request, "account.html", context, status_code=422 if trouble else 200)
