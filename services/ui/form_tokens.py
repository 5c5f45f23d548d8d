"""Tokens that show that a form, or a call, was made by a page of this service that this session was given.

They stand behind the check of a request's origin (``services.ui.security``), in case a browser should not tell it.
A token is derived from the session's cookie, so nothing is stored and each session has its own; the cookie can't be
found from it. Every form that posts gets its field by itself (``FormField``), ``http.js`` sends it as a header.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from urllib.parse import parse_qs

from jinja2.ext import Extension
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web import Problem, problem_response

FIELD = "csrf"
HEADER = "x-csrf-token"
WITHOUT_SESSION = ("/sign-in", "/welcome", "/invitations/")
"""What these do is the same for whoever is signed in already."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"
_POSTS = re.compile(r"<form\b[^>]*\bmethod=\"post\"[^>]*>", re.IGNORECASE)


def token_of(session: str | None) -> str:
    """The token of a session's cookie; empty without one."""
    return hashlib.sha256(f"winnow form token {session}".encode()).hexdigest() if session else ""


class FormField(Extension):
    """Puts the hidden field into every form of a template that posts, so that none can be forgotten."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        field = f'<input type="hidden" name="{FIELD}" value="{{{{ {FIELD}_token }}}}">'
        return _POSTS.sub(lambda form: form.group() + field, source)


class FormTokens:
    """Refuses what a browser was made to send without the token of its session.

    Every browser names the origin of what it posts. A request that names none comes from a script with a cookie of its
    own, whom nobody can trick, and needs no token.
    """

    def __init__(self, app: ASGIApp, *, cookie: str) -> None:
        self._app = app
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE or scope["path"].startswith(WITHOUT_SESSION):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = cookie_parser(headers.get("cookie", "")).get(self._cookie)
        if not session or ("origin" not in headers and "sec-fetch-site" not in headers):
            await self._app(scope, receive, send)
            return
        try:
            given, receive = await _given(scope, headers, receive)
        except HTTPException as error:
            title = "Content too large"
            refusal = Problem(status=error.status_code, kind="content-too-large", title=title, detail=error.detail)
        else:
            if secrets.compare_digest(given.encode(), token_of(session).encode()):
                await self._app(scope, receive, send)
                return
            detail = "this page is from another session: reload it"
            refusal = Problem(status=403, kind="form-token", title="Not allowed", detail=detail)
        await problem_response(Request(scope), refusal)(scope, receive, send)


async def _given(scope: Scope, headers: Headers, receive: Receive) -> tuple[str, Receive]:
    """The token that came along, and what gives the body to who comes next: a form must be read to see it."""
    if HEADER in headers:
        return headers[HEADER], receive
    in_address = parse_qs(scope["query_string"].decode("latin-1")).get(FIELD)
    if in_address:  # of a beacon, and of an upload without a script
        return in_address[-1], receive
    if not headers.get("content-type", "").startswith(_FORM):
        return "", receive
    messages: list[Message] = []
    while True:
        messages.append(await receive())
        if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body"):
            break
    body = b"".join(message.get("body", b"") for message in messages)
    left = iter(messages)

    async def again() -> Message:
        message = next(left, None)
        return await receive() if message is None else message

    return (parse_qs(body.decode("latin-1")).get(FIELD) or [""])[-1], again
