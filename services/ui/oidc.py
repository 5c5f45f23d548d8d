"""Signing in through an identity provider, by OpenID Connect: the authorization code flow with PKCE, state and nonce.

Off unless ``WINNOW_OIDC_ISSUER`` is set. Somebody is found by the provider's subject. Who is new gets in with an
invitation, or, if ``WINNOW_OIDC_SIGN_UP`` says so, without one and into no project. The secrets of a flow under way lie
in a cookie of the browser that began it, for ten minutes, so that no other browser can end it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import linking, oidc_flow
from services.ui.oidc_provider import Claims
from services.ui.parts import Parts, PartsOf
from services.ui.people_invitations import joined, landing
from services.ui.sessions import HOME, NotSignedIn, local_path
from services.ui.sign_in import open_session, show
from services.ui.words import _
from shared.credentials import digest
from shared.db import events, invitations, users
from shared.db.pool import Tx
from shared.domain import User
from shared.errors import Conflict, Forbidden, Invalid, NotFound
from shared.settings import OidcSettings

router = APIRouter(prefix="/oidc", include_in_schema=False)
_NO_PASSWORD = "-"


@router.get("/start")
def start(
    request: Request,
    parts: PartsOf,
    next: Annotated[str, Query(max_length=2000)] = HOME,
    invitation: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Leads to the provider."""
    provider = oidc_flow.provider_of(parts)
    flow = oidc_flow.new(next=local_path(next), invitation=invitation)
    response = RedirectResponse(oidc_flow.way_out(request, provider, flow), 303)
    oidc_flow.remember(response, parts, flow)
    return response


@router.get("/callback")
def callback(
    request: Request,
    parts: PartsOf,
    code: Annotated[str, Query(max_length=4000)] = "",
    state: Annotated[str, Query(max_length=200)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The provider leads back here. Each flow ends once."""
    provider, flow = oidc_flow.provider_of(parts), oidc_flow.remembered(request, parts)
    if not flow or not secrets.compare_digest(flow["state"].encode(), state.encode()):
        response = show(request, parts, status=403, error=_("That sign-in was not begun in this browser, or long ago."))
    elif error or not code:
        response = show(request, parts, status=403, error=_("The identity provider did not let you in."))
    else:
        try:
            claims = provider.end(
                oidc_flow.way_back(request), code=code, nonce=flow["nonce"], verifier=flow["verifier"]
            )
            response = _arrived(request, parts, claims, flow, provider.settings)
        except NotSignedIn:
            response = show(request, parts, status=403, error=_("Your session has ended: sign in, then link again."))
        except (Forbidden, NotFound) as refused:
            response = show(request, parts, status=403, error=str(refused))
    oidc_flow.forget(response, parts)
    return response


def _arrived(
    request: Request, parts: Parts, claims: Claims, flow: Mapping[str, str], settings: OidcSettings
) -> Response:
    """Signed in, or linked where that was begun."""
    if flow["link"]:
        return linking.finish(request, parts, claims, flow)
    with parts.system.database.transaction() as tx:
        user, target = _admitted(tx, claims, flow, settings)
    return open_session(request, parts, user, target)


def _admitted(tx: Tx, claims: Claims, flow: Mapping[str, str], settings: OidcSettings) -> tuple[User, str]:
    """The user that the provider vouches for, and where to go. Raises ``Forbidden`` for who may not come in."""
    user = users.by_subject(tx, claims.subject)
    if user is not None and user.disabled:
        raise Forbidden(_("You can't sign in here: ask an admin."))
    if flow["invitation"]:
        invitation = invitations.live(tx, digest(flow["invitation"]))
        user = user or _new(tx, claims, admin=invitation.is_admin)
        joined(tx, invitation, user)
        return user, landing(invitation)
    if user is None:
        if not settings.sign_up:
            raise Forbidden(_("Nobody here knows you yet: ask for an invitation."))
        user = _new(tx, claims)
    return user, flow["next"]


def _new(tx: Tx, claims: Claims, *, admin: bool = False) -> User:
    """Without a password: they sign in through the provider."""
    plain = re.sub(r"[^a-z0-9._@+-]", "-", claims.username.lower()).lstrip("._@+-")[:90] or "user"
    taken = users.credentials(tx, plain) is not None
    username = f"{plain}-{secrets.token_hex(3)}" if taken else plain
    try:
        user = users.add(tx, username, claims.display_name[:200], _NO_PASSWORD, admin=admin)
    except (Invalid, Conflict) as error:
        raise Forbidden(_("no user could be made of “%s”") % claims.username[:100]) from error
    users.set_subject(tx, user.id, claims.subject)
    data = {"user": user.id, "username": username, "admin": admin, "oidc": True}
    events.record(tx, None, f"user:{user.id}", "user.added", data)
    return user
