"""What every answer and every request goes through, whichever route it is for: headers, and who may post."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import Forbidden
from shared.web import problem_from, problem_response

# Everything comes from this service. Inline styles are allowed because Plotly sets them; inline scripts are not.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Pages and answers are one person's; what may be kept (images, scripts) says so itself.
    "cache-control": "no-store",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SecurityHeaders:
    """Adds ``HEADERS`` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class SameOrigin:
    """Refuses requests that change something and that another site made a browser send.

    A browser tells where such a request comes from by ``Sec-Fetch-Site`` or ``Origin`` and no page can forge either;
    besides, the session's cookie is ``SameSite=Lax`` and isn't sent along. A request with neither header doesn't
    come from a browser's page but from a script, which has no cookie but its own: there is nobody to trick, so it is
    let through and needs the cookie like any other.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE or is_same_origin(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        refusal = problem_from(Forbidden("this request was made by a page of another site"))
        await problem_response(Request(scope), refusal)(scope, receive, send)


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """By the lower-case headers of a request. A proxy must pass ``Host`` on as it came."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # from every browser over TLS; over plain HTTP there is only the other
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
