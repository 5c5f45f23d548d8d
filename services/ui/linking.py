"""Linking one's account to the identity provider, so that one may sign in either way, and undoing it.

Who begins shows that they know the account's password; who comes back must still be signed in, in the same session.
The flow's ``link`` says that both are true of it: a MAC under the password's hash, which no browser ever gets, so that
nobody who merely finds an open session can make themselves a way in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import oidc_flow
from services.ui.oidc_provider import Claims
from services.ui.parts import Parts, PartsOf
from services.ui.people_account import mine, page, wrong_password
from services.ui.sessions import SignedIn, signed_in_as
from services.ui.words import _
from shared.db import events, sessions, users
from shared.domain import User
from shared.errors import Conflict, Forbidden

router = APIRouter(prefix="/account", include_in_schema=False)


@router.post("/link")
def begin(request: Request, parts: PartsOf, user: SignedIn, current: Annotated[str, Form()] = "") -> Response:
    """Leads to the provider by a page of its own: browsers let no form lead to another site here."""
    provider = oidc_flow.provider_of(parts)
    trouble = wrong_password(request, parts, user, current)
    if trouble:
        return page(request, parts, user, trouble)
    with parts.system.database.transaction() as tx:
        known = users.credentials(tx, user.username)
    assert known is not None  # a session is somebody's
    if known.subject is not None:
        return page(request, parts, user, _("Your account is linked already. Unlink it first."))
    flow = oidc_flow.new()
    flow["link"] = _proof(known.password_hash, mine(request, parts), flow["state"])
    context = {"user": user, "provider": provider.settings.name, "url": oidc_flow.way_out(request, provider, flow)}
    response = parts.templates.TemplateResponse(request, "leaving.html", context)
    oidc_flow.remember(response, parts, flow)
    return response


@router.post("/unlink")
def unlink(request: Request, parts: PartsOf, user: SignedIn, current: Annotated[str, Form()] = "") -> Response:
    """From now on only the password signs in. Whoever came in through the provider elsewhere is out."""
    trouble = wrong_password(request, parts, user, current)
    if trouble:
        return page(request, parts, user, trouble)
    with parts.system.database.transaction() as tx:
        users.set_subject(tx, user.id, None)
        sessions.end_all_of(tx, user.id, but=mine(request, parts))
        events.record(tx, None, f"user:{user.id}", "user.unlinked", {"username": user.username})
    return RedirectResponse("/account?done=unlinked", 303)


def finish(request: Request, parts: Parts, claims: Claims, flow: Mapping[str, str]) -> Response:
    """Back from the provider. Raises ``NotSignedIn`` for who isn't signed in any more."""
    user = signed_in_as(request, parts).user
    assert user is not None  # a session is somebody's
    try:
        _link(request, parts, user, claims, flow)
    except (Conflict, Forbidden) as refused:
        return page(request, parts, user, str(refused))
    return RedirectResponse("/account?done=linked", 303)


def _link(request: Request, parts: Parts, user: User, claims: Claims, flow: Mapping[str, str]) -> None:
    with parts.system.database.transaction() as tx:
        known = users.credentials(tx, user.username)
        assert known is not None  # a session is somebody's
        proof = _proof(known.password_hash, mine(request, parts), flow["state"])
        if not hmac.compare_digest(proof.encode(), flow["link"].encode()):
            raise Forbidden(_("That link was not begun in this session. Begin it again."))
        other = users.by_subject(tx, claims.subject)
        if other is not None and other.id != user.id:
            raise Conflict(_("“%s” is linked to another account here already.") % claims.username)
        if known.subject not in (None, claims.subject):
            raise Conflict(_("Your account is linked already. Unlink it first."))
        users.set_subject(tx, user.id, claims.subject)
        data = {"username": user.username, "as": claims.username[:200]}
        events.record(tx, None, f"user:{user.id}", "user.linked", data)


def _proof(password_hash: str, session: bytes, state: str) -> str:
    return hmac.new(password_hash.encode(), b"link " + session + state.encode(), hashlib.sha256).hexdigest()
