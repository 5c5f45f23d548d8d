"""Invitations: making one, and the page where whoever follows its link chooses a name and a password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import Parts, PartsOf
from services.ui.passwords import hash_password
from services.ui.sessions import NotSignedIn, SignedInAs, signed_in_as
from services.ui.sign_in import open_session
from services.ui.words import _
from shared.credentials import digest, new_token
from shared.db import events, invitations, users
from shared.db.invitations import Invitation
from shared.db.pool import Tx
from shared.domain import ProjectId, Role, User
from shared.errors import Conflict, Invalid
from shared.telemetry import logger

log = logger(__name__)
router = APIRouter(include_in_schema=False)
TokenPath = Annotated[str, Path(alias="token", min_length=20, max_length=100)]
LONGEST_DAYS = 90


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What whoever takes the invitation becomes."""

    project_id: ProjectId | None = None
    role: Role | None = None
    is_admin: bool = False
    days: int = 7
    note: str = ""


def invite(request: Request, parts: Parts, user: User, wanted: Wanted) -> str:
    """A new invitation's link, which is known to nobody else. The caller has asked what ``user`` may."""
    token = new_token()
    with parts.system.database.transaction() as tx:
        made = invitations.add(
            tx,
            token_sha256=digest(token),
            note=wanted.note.strip(),
            project_id=wanted.project_id,
            role=wanted.role,
            is_admin=wanted.is_admin,
            created_by=user.id,
            expires_at=datetime.now(UTC) + timedelta(days=wanted.days),
        )
        data = {"invitation": made.id, "note": made.note, "role": wanted.role, "admin": wanted.is_admin}
        events.record(tx, wanted.project_id, f"user:{user.id}", "invitation.made", data)
    return f"{str(request.base_url).rstrip('/')}/invitations/{token}"


def state_of(invitation: Invitation) -> str:
    """``open``, ``used``, ``revoked`` or ``expired``."""
    if invitation.used_at is not None:
        return "used"
    if invitation.revoked_at is not None:
        return "revoked"
    return "open" if invitation.expires_at > datetime.now(UTC) else "expired"


def for_page() -> dict[str, Any]:
    """What a page that lists invitations needs."""
    return {"state_of": state_of, "longest_days": LONGEST_DAYS}


@router.get("/invitations/{token}")
def invitation_page(request: Request, token: TokenPath, parts: PartsOf) -> Response:
    with parts.system.database.transaction() as tx:
        invitation = invitations.live(tx, digest(token))
    return _page(request, parts, token, invitation)


@router.post("/invitations/{token}")
def accept(
    request: Request,
    token: TokenPath,
    parts: PartsOf,
    username: Annotated[str, Form(max_length=100)] = "",
    display_name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """Works once. Raises ``NotFound`` for an invitation that isn't good any more."""
    username = username.strip().lower()
    typed = {"username": username, "display_name": display_name}
    with parts.system.database.transaction() as tx:
        invitation = invitations.live(tx, digest(token))
    try:
        if password != again:
            raise Invalid(_("The two passwords differ."))
        hashed = hash_password(password)
        with parts.system.database.transaction() as tx:
            invitation = invitations.live(tx, digest(token))
            user = _join(tx, invitation, username, display_name, hashed)
    except (Invalid, Conflict) as error:
        return _page(request, parts, token, invitation, _said(error), typed)
    log.info("invitation.used", invitation=invitation.id, user_id=user.id)
    return open_session(request, parts, user, landing(invitation))


@router.post("/account/invitations/{token}")
def accept_as_myself(token: TokenPath, parts: PartsOf, who: SignedInAs) -> Response:
    """For somebody who has an account already."""
    assert who.user is not None  # a session is somebody's
    with parts.system.database.transaction() as tx:
        invitation = invitations.live(tx, digest(token))
        joined(tx, invitation, who.user)
    return RedirectResponse(landing(invitation), 303)


def _join(tx: Tx, invitation: Invitation, username: str, display_name: str, hashed: str) -> User:
    name = display_name.strip() or username
    user = users.add(tx, username, name, hashed, admin=invitation.is_admin)
    data = {"user": user.id, "username": username, "admin": invitation.is_admin, "invitation": invitation.id}
    events.record(tx, None, f"user:{user.id}", "user.added", data)
    joined(tx, invitation, user)
    return user


def joined(tx: Tx, invitation: Invitation, user: User) -> None:
    """``user`` takes what the invitation gives, on the record. The caller holds it by ``invitations.live``."""
    invitations.use(tx, invitation, user)
    if invitation.is_admin and not user.is_admin:
        users.set_admin(tx, user.id, True)
        made = {"user": user.id, "username": user.username, "invitation": invitation.id}
        events.record(tx, None, f"user:{user.id}", "user.made_admin", made)
    if invitation.project_id is not None and invitation.role is not None:
        data = {"user": user.id, "role": invitation.role.value, "invitation": invitation.id}
        events.record(tx, invitation.project_id, f"user:{user.id}", "member.added", data)


def landing(invitation: Invitation) -> str:
    """Where whoever has taken it goes."""
    return "/" if invitation.project_id is None else f"/projects/{invitation.project_id}"


def _said(error: Exception) -> str:
    if isinstance(error, Conflict):
        return _("That user name is taken: choose another, or sign in and follow the link again.")
    said = str(error)
    return said if "password" in said else _("A user name is made of a-z, 0-9 and . _ @ + -")


def _page(
    request: Request,
    parts: Parts,
    token: str,
    invitation: Invitation,
    error: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response:
    context = {
        "invitation": invitation,
        "token": token,
        "error": error,
        "typed": typed or {},
        "provider": parts.provider.settings.name if parts.provider is not None else "",
        "known": _signed_in(request, parts),
    }
    return parts.templates.TemplateResponse(request, "invitation.html", context, status_code=422 if error else 200)


def _signed_in(request: Request, parts: Parts) -> User | None:
    try:
        return signed_in_as(request, parts).user
    except NotSignedIn:
        return None
