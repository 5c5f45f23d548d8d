"""Who is signed in: the session's cookie, and the user behind it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import PartsOf
from shared.credentials import digest
from shared.db import users
from shared.domain import User
from shared.errors import Unauthorized
from shared.web import Problem, problem_response

COOKIE = "winnow_session"
HOME = "/"


class NotSignedIn(Unauthorized):
    """Nobody is signed in, or the session has ended (HTTP 401; pages lead to the sign-in)."""


def signed_in(request: Request, parts: PartsOf) -> User:
    """The user of this request. Raises ``NotSignedIn``, also for a user who was disabled meanwhile."""
    token = request.cookies.get(COOKIE)
    if token:
        with parts.system.database.looking() as tx:
            user = users.user_of_session(tx, digest(token))
        if user is not None:
            return user
    raise NotSignedIn("sign in first: your session has ended or there was none")


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
