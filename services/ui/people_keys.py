"""API keys: those of a project for its managers, all of them for admins. A key is shown once, when it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Administers, Staffs
from services.ui.words import N_, _
from shared.credentials import NewKey
from shared.db import events, keys, projects, users
from shared.db.pool import Tx
from shared.domain import ApiKey, Project, ProjectId, Scope, User, UserId, UserKind
from shared.errors import Conflict, Invalid, NotFound, WinnowError

router = APIRouter(include_in_schema=False)
PrefixPath = Annotated[str, Path(alias="prefix", max_length=40, pattern=r"^wnw_[0-9a-f]+$")]
Days = Annotated[str, Form(max_length=10)]
Name = Annotated[str, Form(max_length=200)]
Scopes = Annotated[list[Scope] | None, Form()]
SCOPES = {
    Scope.READ: N_("look at everything, export"),
    Scope.INGEST: N_("upload images"),
    Scope.LABEL: N_("bring in known labels"),
    Scope.MANAGE: N_("everything, settings and batches too"),
}
LONGEST_DAYS = 3650


@router.get("/projects/{project_id}/keys")
def keys_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Staffs) -> Response:
    return _page(request, parts, user, ProjectId(project_id))


@router.post("/projects/{project_id}/keys")
def make_key(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Staffs,
    name: Name = "",
    scopes: Scopes = None,
    days: Days = "",
) -> Response:
    """For this project alone."""
    project = ProjectId(project_id)

    def make(tx: Tx) -> tuple[NewKey, ApiKey]:
        if Scope.BATCH in (scopes or ()):
            raise Invalid(_("a vendor's key is made by an admin"))
        return keys.make(
            tx, name=name.strip(), scopes=scopes or (), project_id=project, expires_at=_end(days), created_by=user.id
        )

    return _made(request, parts, user, project, make)


@router.post("/projects/{project_id}/keys/{prefix}/rotate")
def rotate_key(request: Request, project_id: ProjectPath, prefix: PrefixPath, parts: PartsOf, user: Staffs) -> Response:
    project = ProjectId(project_id)
    return _made(
        request, parts, user, project, lambda tx: keys.rotate(tx, prefix, project_id=project, created_by=user.id)
    )


@router.post("/projects/{project_id}/keys/{prefix}/revoke")
def revoke_key(project_id: ProjectPath, prefix: PrefixPath, parts: PartsOf, user: Staffs) -> Response:
    _revoke(parts, user, prefix, ProjectId(project_id))
    return RedirectResponse(f"/projects/{project_id}/keys?done=revoked", 303)


@router.get("/keys")
def every_key_page(request: Request, parts: PartsOf, user: Administers) -> Response:
    return _page(request, parts, user, None)


@router.post("/keys")
def make_any_key(
    request: Request,
    parts: PartsOf,
    user: Administers,
    name: Name = "",
    scopes: Scopes = None,
    days: Days = "",
    project: Annotated[str, Form(max_length=20)] = "",
    vendor: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """For every project or one. With a vendor: one that works in its batches, and may do nothing else."""

    def make(tx: Tx) -> tuple[NewKey, ApiKey]:
        owner = _vendor(tx, vendor)
        wanted: Sequence[Scope] = [Scope.BATCH] if owner is not None else (scopes or [])
        limit = projects.get(tx, ProjectId(int(project))).id if project.isdecimal() else None
        return keys.make(
            tx,
            name=name.strip(),
            scopes=wanted,
            project_id=limit,
            expires_at=_end(days),
            user_id=owner,
            created_by=user.id,
        )

    return _made(request, parts, user, None, make)


@router.post("/keys/{prefix}/rotate")
def rotate_any_key(request: Request, prefix: PrefixPath, parts: PartsOf, user: Administers) -> Response:
    return _made(request, parts, user, None, lambda tx: keys.rotate(tx, prefix, created_by=user.id))


@router.post("/keys/{prefix}/revoke")
def revoke_any_key(prefix: PrefixPath, parts: PartsOf, user: Administers) -> Response:
    _revoke(parts, user, prefix, None)
    return RedirectResponse("/keys?done=revoked", 303)


def _made(
    request: Request,
    parts: Parts,
    user: User,
    project: ProjectId | None,
    make: Callable[[Tx], tuple[NewKey, ApiKey]],
) -> Response:
    """The page with the new key on it, this once, or with what was wrong."""
    try:
        with parts.system.database.transaction() as tx:
            new, key = make(tx)
            data = {"prefix": key.prefix, "name": key.name, "scopes": ",".join(sorted(key.scopes))}
            if key.user_id is not None:
                data["acts_as"] = str(key.user_id)
            events.record(tx, key.project_id, f"user:{user.id}", "key.created", data)
    except (Invalid, Conflict, NotFound) as error:
        return _page(request, parts, user, project, trouble=error)
    return _page(request, parts, user, project, new=new)


def _revoke(parts: Parts, user: User, prefix: str, project: ProjectId | None) -> None:
    with parts.system.database.transaction() as tx:
        key = keys.live(tx, prefix, project_id=project)
        users.revoke_key(tx, key.prefix)
        events.record(tx, key.project_id, f"user:{user.id}", "key.revoked", {"prefix": key.prefix, "name": key.name})


def _vendor(tx: Tx, given: str) -> UserId | None:
    if not given:
        return None
    known = {str(one.id): one.id for one in users.everybody(tx, kind=UserKind.VENDOR)}
    if given not in known:
        raise Invalid(_("there is no such vendor"))
    return known[given]


def _end(days: str) -> datetime | None:
    """Raises ``Invalid``. Nothing: it never ends."""
    if not days.strip():
        return None
    if not days.strip().isdecimal() or not 1 <= int(days) <= LONGEST_DAYS:
        raise Invalid(_("a key lives for 1 to %s days, or for ever") % LONGEST_DAYS)
    return datetime.now(UTC) + timedelta(days=int(days))


def _page(
    request: Request,
    parts: Parts,
    user: User,
    project_id: ProjectId | None,
    *,
    trouble: WinnowError | None = None,
    new: NewKey | None = None,
) -> Response:
    with parts.system.database.transaction() as tx:
        project: Project | None = None if project_id is None else projects.get(tx, project_id)
        context = {
            "user": user,
            "here": None if project else "keys",
            "project": project,
            "base": f"/projects/{project.id}/keys" if project else "/keys",
            "keys": keys.listed(tx, project_id),
            "projects": [] if project else projects.page(tx, limit=500),
            "vendors": [] if project else users.everybody(tx, kind=UserKind.VENDOR),
            "scopes": SCOPES,
            "now": datetime.now(UTC),
            "trouble": trouble,
            "new": new,
            "done": _("The key is revoked.") if request.query_params.get("done") == "revoked" else None,
        }
    status = 422 if trouble else 200
    return parts.templates.TemplateResponse(request, "keys.html", context, status_code=status)
