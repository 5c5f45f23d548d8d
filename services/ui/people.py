"""The people of a project: who works in it as what, who is paused and why, and who is invited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import people_invitations
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Staffs
from services.ui.words import N_, _
from shared.db import batches, events, invitations, members, projects, users
from shared.db.pool import Tx
from shared.domain import Membership, ProjectId, Role, User, UserId
from shared.errors import Conflict, NotFound, WinnowError

router = APIRouter(prefix="/projects/{project_id}/people", include_in_schema=False)
UserPath = Annotated[int, Path(alias="user_id", ge=1, le=2**63 - 1)]
InvitationPath = Annotated[int, Path(alias="invitation_id", ge=1, le=2**63 - 1)]
ROLES = {
    Role.MANAGER: N_("everything in this project"),
    Role.REVIEWER: N_("labels, looks at everything, corrects and decides"),
    Role.ANNOTATOR: N_("labels, and sees only what that takes"),
}
LONGEST_REASON = 300


@router.get("")
def people_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Staffs) -> Response:
    return _page(request, parts, ProjectId(project_id), user)


@router.post("")
def add(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Staffs,
    username: Annotated[str, Form(max_length=100)] = "",
    role: Annotated[Role, Form()] = Role.ANNOTATOR,
) -> Response:
    """Let somebody in who is a user already."""
    project = ProjectId(project_id)
    try:
        with parts.system.database.transaction() as tx:
            found = users.credentials(tx, username.strip().lower())
            if found is None:
                raise NotFound(_("there is no user “%s”: invite them") % username.strip())
            if found.user.id in {one.user.id for one in members.of_project(tx, project)}:
                raise Conflict(_("%s is in this project already") % found.user.display_name)
            members.put(tx, project, found.user.id, role)
            events.record(tx, project, f"user:{user.id}", "member.added", {"user": found.user.id, "role": role.value})
    except (NotFound, Conflict) as error:
        return _page(request, parts, project, user, trouble=error)
    return _back(project, "added")


@router.post("/{user_id}/role")
def change_role(
    project_id: ProjectPath, user_id: UserPath, parts: PartsOf, user: Staffs, role: Annotated[Role, Form()]
) -> Response:
    project, who = ProjectId(project_id), UserId(user_id)
    with parts.system.database.transaction() as tx:
        before = _member(tx, project, who)
        members.put(tx, project, who, role)
        changed = {"user": who, "role": role.value, "before": before.role.value}
        events.record(tx, project, f"user:{user.id}", "member.role_changed", changed)
    return _back(project, "changed")


@router.post("/{user_id}/pause")
def pause(
    project_id: ProjectPath,
    user_id: UserPath,
    parts: PartsOf,
    user: Staffs,
    reason: Annotated[str, Form(max_length=LONGEST_REASON)] = "",
) -> Response:
    """Ask nothing more of somebody; they are told the reason."""
    project, who = ProjectId(project_id), UserId(user_id)
    told = reason.strip() or _("a manager paused you")
    with parts.system.database.transaction() as tx:
        members.pause(tx, project, who, told)
        events.record(tx, project, f"user:{user.id}", "member.paused", {"user": who, "reason": told})
    return _back(project, "paused")


@router.post("/{user_id}/resume")
def resume(project_id: ProjectPath, user_id: UserPath, parts: PartsOf, user: Staffs) -> Response:
    project, who = ProjectId(project_id), UserId(user_id)
    with parts.system.database.transaction() as tx:
        members.resume(tx, project, who)
        events.record(tx, project, f"user:{user.id}", "member.resumed", {"user": who})
    return _back(project, "resumed")


@router.post("/{user_id}/remove")
def remove(project_id: ProjectPath, user_id: UserPath, parts: PartsOf, user: Staffs) -> Response:
    """Their answers stay, and so does their account."""
    project, who = ProjectId(project_id), UserId(user_id)
    with parts.system.database.transaction() as tx:
        members.remove(tx, project, who)
        events.record(tx, project, f"user:{user.id}", "member.removed", {"user": who})
    return _back(project, "removed") if who != user.id else RedirectResponse("/", 303)


@router.post("/invitations")
def invite(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Staffs,
    role: Annotated[Role, Form()] = Role.ANNOTATOR,
    days: Annotated[int, Form(ge=1, le=people_invitations.LONGEST_DAYS)] = 7,
    note: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """The link is shown now and never again."""
    project = ProjectId(project_id)
    wanted = people_invitations.Wanted(project_id=project, role=role, days=days, note=note)
    link = people_invitations.invite(request, parts, user, wanted)
    return _page(request, parts, project, user, link=link)


@router.post("/invitations/{invitation_id}/revoke")
def revoke(project_id: ProjectPath, invitation_id: InvitationPath, parts: PartsOf, user: Staffs) -> Response:
    project = ProjectId(project_id)
    with parts.system.database.transaction() as tx:
        invitations.revoke(tx, project, invitation_id)
        events.record(tx, project, f"user:{user.id}", "invitation.revoked", {"invitation": invitation_id})
    return _back(project, "revoked")


DONE = {
    "added": N_("They are in this project now."),
    "changed": N_("Their role is changed. It counts at once."),
    "paused": N_("Nothing more is asked of them."),
    "resumed": N_("They are asked again."),
    "removed": N_("They are not in this project any more. Their answers stay."),
    "revoked": N_("The invitation is revoked."),
}


def _member(tx: Tx, project: ProjectId, user_id: UserId) -> Membership:
    membership = members.of_user(tx, user_id).get(project)
    if membership is None:
        raise NotFound(_("user %s is not in this project") % user_id)
    return membership


def _back(project: ProjectId, done: str) -> Response:
    return RedirectResponse(f"/projects/{project}/people?done={done}", 303)


def _page(
    request: Request,
    parts: Parts,
    project_id: ProjectId,
    user: User,
    *,
    trouble: WinnowError | None = None,
    link: str | None = None,
) -> Response:
    with parts.system.database.transaction() as tx:
        context = {
            "user": user,
            "project": projects.get(tx, project_id),
            "members": members.of_project(tx, project_id),
            "invitations": invitations.of_project(tx, project_id),
            "vendors": batches.vendors_of(tx, project_id),
            "roles": ROLES,
            "trouble": trouble,
            "link": link,
            "done": DONE.get(request.query_params.get("done", "")),
            **people_invitations.for_page(),
        }
    status = 422 if trouble else 200
    return parts.templates.TemplateResponse(request, "people.html", context, status_code=status)
