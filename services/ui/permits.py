"""What who is signed in may do: the dependencies by which each route declares the permission that it needs.

A route takes ``user: Labels`` or another of these and never asks ``SignedIn`` where a permission exists. What may be
done is decided in ``shared.access``; what one may not know of answers 404, what one may not do 403. Templates ask
``may("manage", project.id)``, or ``may_anywhere("audit")``.

They read nothing, so they are ``async``: FastAPI would call a plain function in another thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from services.ui.form_tokens import FIELD, token_of
from services.ui.parts import ProjectPath
from services.ui.sessions import SignedInAs, session_token
from shared.access import Permission, Principal, permits, reach, require
from shared.domain import ProjectId, User
from shared.errors import Forbidden


@dataclass(frozen=True)
class InProject:
    """The user, if they may in the project of the path."""

    permission: Permission

    async def __call__(self, project_id: ProjectPath, who: SignedInAs) -> User:
        require(who, self.permission, ProjectId(project_id))
        return _user(who)


@dataclass(frozen=True)
class Anywhere:
    """The user, if they may everywhere, or where no project is concerned."""

    permission: Permission

    async def __call__(self, who: SignedInAs) -> User:
        require(who, self.permission)
        return _user(who)


@dataclass(frozen=True)
class Somewhere:
    """The user, if they may in some project. The page shows only what ``shared.access.reach`` says."""

    permission: Permission

    async def __call__(self, who: SignedInAs) -> User:
        if reach(who, self.permission) == frozenset():
            raise Forbidden("you may not see this; ask an admin")
        return _user(who)


Sees = Annotated[User, Depends(InProject(Permission.SEE))]
Labels = Annotated[User, Depends(InProject(Permission.LABEL))]
Browses = Annotated[User, Depends(InProject(Permission.BROWSE))]
Watches = Annotated[User, Depends(InProject(Permission.WATCH))]
Reviews = Annotated[User, Depends(InProject(Permission.REVIEW))]
Manages = Annotated[User, Depends(InProject(Permission.MANAGE))]
ManagesSomewhere = Annotated[User, Depends(Somewhere(Permission.MANAGE))]
Uploads = Annotated[User, Depends(InProject(Permission.INGEST))]
Exports = Annotated[User, Depends(InProject(Permission.EXPORT))]
Audits = Annotated[User, Depends(InProject(Permission.AUDIT))]
AuditsSomewhere = Annotated[User, Depends(Somewhere(Permission.AUDIT))]
Staffs = Annotated[User, Depends(InProject(Permission.STAFF))]
ManagesBatches = Annotated[User, Depends(InProject(Permission.BATCH_MANAGE))]
Creates = Annotated[User, Depends(Anywhere(Permission.CREATE))]
Operates = Annotated[User, Depends(Anywhere(Permission.OPERATE))]
Administers = Annotated[User, Depends(Anywhere(Permission.ADMINISTER))]


def for_templates(request: Request) -> dict[str, Any]:
    """What templates ask. To who isn't signed in, nothing is allowed."""
    who: Principal = getattr(request.state, "principal", None) or Principal()

    def may(permission: str, project_id: int | None = None) -> bool:
        return permits(who, Permission(permission), None if project_id is None else ProjectId(project_id))

    def may_anywhere(permission: str) -> bool:
        return reach(who, Permission(permission)) != frozenset()

    token = session_token(request, request.app.state.parts.settings)
    return {"may": may, "may_anywhere": may_anywhere, f"{FIELD}_token": token_of(token)}


def _user(who: Principal) -> User:
    assert who.user is not None  # a session is somebody's
    return who.user
