"""The way to the identity provider and back: what the browser that began it remembers of it, for ten minutes."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response

from services.ui.oidc_provider import Provider
from services.ui.parts import Parts
from services.ui.sessions import HOME
from services.ui.words import _
from shared.errors import NotFound

COOKIE = "winnow_oidc"
_MINUTES = 10
_SECRETS = {"state": 32, "nonce": 32, "verifier": 48}
_MORE = {"next": HOME, "invitation": "", "link": ""}


def provider_of(parts: Parts) -> Provider:
    """Raises ``NotFound`` where there is none."""
    if parts.provider is None:
        raise NotFound(_("this Winnow has no identity provider"))
    return parts.provider


def new(**more: str) -> dict[str, str]:
    """The secrets of a flow that begins: ``state``, ``nonce`` and ``verifier``; and what it is for.

    ``next``: where to go in the end. ``invitation``: to take up. ``link``: see ``services.ui.linking``.
    """
    return {**{name: secrets.token_urlsafe(length) for name, length in _SECRETS.items()}, **_MORE, **more}


def way_out(request: Request, provider: Provider, flow: Mapping[str, str]) -> str:
    """The address at the provider."""
    return provider.begin(way_back(request), state=flow["state"], nonce=flow["nonce"], verifier=flow["verifier"])


def way_back(request: Request) -> str:
    """The address here that the provider leads back to."""
    return f"{str(request.base_url).rstrip('/')}/oidc/callback"


def remember(response: Response, parts: Parts, flow: Mapping[str, str]) -> None:
    response.set_cookie(
        _cookie(parts),
        base64.urlsafe_b64encode(json.dumps(dict(flow)).encode()).decode(),
        max_age=_MINUTES * 60,
        httponly=True,
        samesite="lax",  # the provider leads back from another site
        secure=parts.settings.secure_cookies,
    )


def remembered(request: Request, parts: Parts) -> dict[str, str]:
    """What was begun in this browser; empty if nothing was."""
    try:
        found = json.loads(base64.urlsafe_b64decode(request.cookies.get(_cookie(parts), "")))
        secret = {name: str(found[name]) for name in _SECRETS}
        return {**secret, **{name: str(found.get(name, otherwise)) for name, otherwise in _MORE.items()}}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def forget(response: Response, parts: Parts) -> None:
    response.delete_cookie(_cookie(parts), httponly=True, samesite="lax", secure=parts.settings.secure_cookies)


def _cookie(parts: Parts) -> str:
    return f"__Host-{COOKIE}" if parts.settings.secure_cookies else COOKIE
