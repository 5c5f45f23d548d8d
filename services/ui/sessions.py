"""Who is signed in: the session's cookie, and the user behind it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import PartsOf
from shared.access import Principal
from shared.credentials import digest
from shared.db import sessions
from shared.domain import User
from shared.errors import Unauthorized
from shared.settings import UiSettings
from shared.web import Problem, problem_response

COOKIE = "winnow_session"
HOME = "/"


def cookie_name(settings: UiSettings) -> str:
    """Over TLS a name that browsers accept from this very host only, for all of its paths, and never without TLS."""
    return f"__Host-{COOKIE}" if settings.secure_cookies else COOKIE


def session_token(request: Request, settings: UiSettings) -> str | None:
    """What the browser sent as its session, which may be good or not."""
    return request.cookies.get(cookie_name(settings))


class NotSignedIn(Unauthorized):
    """Nobody is signed in, or the session has ended (HTTP 401; pages lead to the sign-in)."""


def signed_in_as(request: Request, parts: PartsOf) -> Principal:
    """Who makes this request, and what they are in which project. Raises ``NotSignedIn``, also for a user who was
    disabled meanwhile."""
    token = session_token(request, parts.settings)
    if token:
        with parts.system.database.one_by_one() as tx:
            found = sessions.find(tx, digest(token), idle_minutes=parts.settings.idle_minutes)
        if found is not None:
            if found.touch:
                with parts.system.database.transaction() as tx:
                    sessions.touch(tx, found.id)
            request.state.principal = found.principal  # for templates
            return found.principal
    raise NotSignedIn("sign in first: your session has ended or there was none")


SignedInAs = Annotated[Principal, Depends(signed_in_as)]


async def signed_in(who: SignedInAs) -> User:
    """The user of this request, whatever they may do: for what everybody may who is signed in."""
    assert who.user is not None  # a session is somebody's
    return who.user


SignedIn = Annotated[User, Depends(signed_in)]


def ask_to_sign_in(request: Request, error: Exception) -> Response:
    """What a request gets that nobody is signed in for: a page leads to the sign-in and back, a call is refused."""
    if not request.url.path.startswith("/v1/") and request.method == "GET":
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", status_code=303)
    problem = Problem(status=401, kind="unauthorized", title="Not signed in", detail=str(error))
    return problem_response(request, problem)


def local_path(wanted: str) -> str:
    """``wanted`` if it is a path of this service, else the home page: a sign-in never leads to another site.

    Browsers read ``//host`` and ``/\\host`` as addresses of another site, and drop control characters first.
    """
    plain = all(c > " " and c not in "\\\x7f" for c in wanted)
    return wanted if plain and wanted.startswith("/") and not wanted.startswith("//") else HOME
