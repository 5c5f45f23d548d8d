"""Signing in and out."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.form_tokens import token_of
from services.ui.parts import Parts, PartsOf
from services.ui.passwords import hash_password, is_outdated, verify_password
from services.ui.sessions import HOME, NotSignedIn, SignedIn, cookie_name, local_path, session_token, signed_in_as
from shared.credentials import digest, new_token
from shared.db import events, users
from shared.domain import User
from shared.telemetry import logger

log = logger(__name__)
router = APIRouter(include_in_schema=False)
WRONG = "That user name and password don't belong together."


@router.get("/sign-in")
def sign_inshow(request: Request, parts: PartsOf, next: str = HOME) -> Response:
    try:
        signed_in_as(request, parts)
    except NotSignedIn:
        with parts.system.database.transaction() as tx:
            if not users.any_exists(tx):
                return RedirectResponse("/welcome", status_code=303)
        return show(request, parts, next=local_path(next))
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
    wait_s = parts.throttle.wait_s(username, address)
    if wait_s > 0:
        log.warning("session.throttled", username=username[:100], address=address)
        minutes = math.ceil(wait_s / 60)
        error = f"Too many failed tries. Wait {minutes} minute{'s' if minutes > 1 else ''} and try again."
        headers = {"Retry-After": str(math.ceil(wait_s))}
        return show(request, parts, status=429, headers=headers, error=error, username=username, next=target)
    user = _check(parts, username, password)
    if user is None:
        parts.throttle.failed(username, address)
        log.warning("session.refused", username=username[:100], address=address)
        return show(request, parts, status=401, error=WRONG, username=username, next=target)
    parts.throttle.succeeded(username, address)
    return open_session(request, parts, user, target)


@router.post("/sign-out")
def sign_out(request: Request, parts: PartsOf) -> Response:
    token = session_token(request, parts.settings)
    if token:
        with parts.system.database.transaction() as tx:
            users.close_session(tx, digest(token))
    response = RedirectResponse("/sign-in", status_code=303)
    secure = parts.settings.secure_cookies
    response.delete_cookie(cookie_name(parts.settings), httponly=True, samesite="lax", secure=secure)
    return response


@router.get("/form-token")
def form_token(request: Request, parts: PartsOf, user: SignedIn) -> dict[str, str]:
    """For a page that was left open while its reader signed in anew."""
    return {"token": token_of(session_token(request, parts.settings))}


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


def open_session(request: Request, parts: Parts, user: User, target: str) -> Response:
    """Sign somebody in who has shown who they are, and lead on.

    Always under a new token: one that was in the browser before, which somebody else may have put there, is worth
    nothing afterwards.
    """
    token, hours, before = new_token(), parts.settings.session_hours, session_token(request, parts.settings)
    address = request.client.host if request.client else None
    with parts.system.database.transaction() as tx:
        if before:
            users.close_session(tx, digest(before))
        agent = request.headers.get("user-agent")
        users.open_session(tx, user.id, digest(token), hours=hours, address=address, agent=agent)
        events.record(tx, None, f"user:{user.id}", "user.signed_in")
    log.info("session.opened", user_id=user.id)
    response = RedirectResponse(target, status_code=303)
    response.set_cookie(
        cookie_name(parts.settings),
        token,
        max_age=hours * 3600,
        httponly=True,
        samesite="lax",
        secure=parts.settings.secure_cookies,
    )
    return response


def show(
    request: Request, parts: Parts, *, status: int = 200, headers: dict[str, str] | None = None, **context: str
) -> Response:
    """The page to sign in on."""
    named = parts.provider.settings.name if parts.provider is not None else ""
    whole = {"next": HOME, "provider": named, **context}
    return parts.templates.TemplateResponse(request, "sign_in.html", whole, status_code=status, headers=headers)
