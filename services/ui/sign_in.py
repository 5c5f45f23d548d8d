"""Signing in and out."""

from __future__ import annotations

import math
import time
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import Parts, PartsOf
from services.ui.passwords import hash_password, is_outdated, verify_password
from services.ui.sessions import COOKIE, HOME, NotSignedIn, local_path, signed_in_as
from shared.credentials import digest, new_token
from shared.db import users
from shared.domain import User
from shared.telemetry import logger

log = logger(__name__)
router = APIRouter(include_in_schema=False)
WRONG = "That user name and password don't belong together."


@router.get("/sign-in")
def sign_in_page(request: Request, parts: PartsOf, next: str = HOME) -> Response:
    try:
        signed_in_as(request, parts)
    except NotSignedIn:
        with parts.system.database.transaction() as tx:
            if not users.any_exists(tx):
                return RedirectResponse("/welcome", status_code=303)
        return _page(request, parts, next=local_path(next))
    return RedirectResponse(local_path(next), status_code=303)


@router.post("/sign-in")
def sign_in(
    request: Request,
    parts: PartsOf,
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = HOME,
) -> Response:
    """303 with the session's cookie; 401 for a wrong password, 429 with ``Retry-After`` after too many."""
    username, target = username.strip().lower(), local_path(next)
    address = request.client.host if request.client else ""
    wait_s = parts.throttle.wait_s(username, address, time.monotonic())
    if wait_s > 0:
        log.warning("session.throttled", username=username[:100], address=address)
        minutes = math.ceil(wait_s / 60)
        error = f"Too many failed tries. Wait {minutes} minute{'s' if minutes > 1 else ''} and try again."
        headers = {"Retry-After": str(math.ceil(wait_s))}
        return _page(request, parts, status=429, headers=headers, error=error, username=username, next=target)
    user = _check(parts, username, password)
    if user is None:
        parts.throttle.failed(username, address, time.monotonic())
        log.warning("session.refused", username=username[:100], address=address)
        return _page(request, parts, status=401, error=WRONG, username=username, next=target)
    parts.throttle.succeeded(username, address)
    return open_session(parts, user, target)


@router.post("/sign-out")
def sign_out(request: Request, parts: PartsOf) -> Response:
    token = request.cookies.get(COOKIE)
    if token:
        with parts.system.database.transaction() as tx:
            users.close_session(tx, digest(token))
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=parts.settings.secure_cookies)
    return response


def _check(parts: Parts, username: str, password: str) -> User | None:
    """The user, if the password is theirs and they may sign in. The same work is done whatever is wrong."""
    with parts.system.database.transaction() as tx:
        found = users.credentials(tx, username)
    if not verify_password(found.password_hash if found else None, password) or found is None or found.user.disabled:
        return None
    if is_outdated(found.password_hash):
        with parts.system.database.transaction() as tx:
            users.set_password(tx, username, hash_password(password))
    return found.user


def open_session(parts: Parts, user: User, target: str) -> Response:
    """Sign somebody in who has shown who they are, and lead on."""
    token, hours = new_token(), parts.settings.session_hours
    with parts.system.database.transaction() as tx:
        users.open_session(tx, user.id, digest(token), hours=hours)
    log.info("session.opened", user_id=user.id)
    response = RedirectResponse(target, status_code=303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=hours * 3600,
        httponly=True,
        samesite="lax",
        secure=parts.settings.secure_cookies,
    )
    return response


def _page(
    request: Request, parts: Parts, *, status: int = 200, headers: dict[str, str] | None = None, **context: str
) -> Response:
    return parts.templates.TemplateResponse(request, "sign_in.html", context, status_code=status, headers=headers)
