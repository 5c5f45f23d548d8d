"""Who calls, and what they may do: API keys sent as ``Authorization: Bearer <key>``.

What a key may is decided in ``shared.access``. Every endpoint declares the permission it needs by the type of its
``caller``; a test fails for one that declares none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api.parts import ProjectPath, SystemPart
from shared.access import Permission, Principal, in_scopes, permits, reach, require
from shared.credentials import digest
from shared.db import members
from shared.domain import ApiKey, Batch, BatchState, ProjectId, UserId
from shared.errors import NotFound, Unauthorized

_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="A key made by `winnow keys create`.")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The holder of a key that is good now."""

    key: ApiKey
    principal: Principal

    @property
    def actor(self) -> str:
        """Names the caller in the audit log."""
        return self.principal.actor

    @property
    def user_id(self) -> UserId | None:
        """The vendor or the person that the key acts as."""
        return self.principal.user.id if self.principal.user is not None else None

    def permits(self, permission: Permission, project_id: int | None = None) -> bool:
        return permits(self.principal, permission, None if project_id is None else ProjectId(project_id))

    def require(self, permission: Permission, project_id: int | None = None) -> None:
        """For what a path does not say, such as the project of a batch. Raises ``NotFound`` or ``Forbidden``."""
        require(self.principal, permission, None if project_id is None else ProjectId(project_id))

    def reach(self, permission: Permission) -> frozenset[ProjectId] | None:
        """The projects where the caller may; None: in every one."""
        return reach(self.principal, permission)

    def owns(self, batch: Batch) -> Batch:
        """The batch, for the vendor that works on it. Raises ``NotFound`` for others, and while it is a draft."""
        mine = batch.vendor_id == self.user_id and batch.state is not BatchState.DRAFT
        if not mine or not self.permits(Permission.BATCH_WORK, batch.project_id):
            raise NotFound(f"there is no batch {batch.id}")
        return batch


def _caller(system: SystemPart, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
    """Raises ``Unauthorized`` unless the request brings a key that is good now."""
    if given is None:
        raise Unauthorized("send an API key: Authorization: Bearer <key>")
    with system.database.transaction() as tx:
        principal = members.principal_of_key(tx, digest(given.credentials))
    if principal is None or principal.key is None:
        raise Unauthorized("this API key is not known, has run out, or was revoked")
    structlog.contextvars.bind_contextvars(api_key=principal.key.prefix)
    return Caller(key=principal.key, principal=principal)


_Caller = Annotated[Caller, Depends(_caller)]


@dataclass(frozen=True)
class InProject:
    """A dependency: the caller, if they may in the project of the path."""

    permission: Permission

    def __call__(self, project_id: ProjectPath, caller: _Caller) -> Caller:
        caller.require(self.permission, project_id)
        return caller


@dataclass(frozen=True)
class Anywhere:
    """A dependency: the caller, if they may in every project, or in no project where it concerns none."""

    permission: Permission

    def __call__(self, caller: _Caller) -> Caller:
        caller.require(self.permission)
        return caller


@dataclass(frozen=True)
class Somewhere:
    """A dependency: the caller, if their key is for it. The endpoint shows only what ``Caller.reach`` says."""

    permission: Permission

    def __call__(self, caller: _Caller) -> Caller:
        if not in_scopes(caller.key, self.permission):
            caller.require(self.permission)
        return caller


AnyReader = Annotated[Caller, Depends(Somewhere(Permission.WATCH))]
AnyManager = Annotated[Caller, Depends(Anywhere(Permission.CREATE))]
AnyBatchManager = Annotated[Caller, Depends(Somewhere(Permission.BATCH_MANAGE))]
SomeManager = Annotated[Caller, Depends(Somewhere(Permission.MANAGE))]
Operator = Annotated[Caller, Depends(Anywhere(Permission.OPERATE))]
AnyWorker = Annotated[Caller, Depends(Somewhere(Permission.BATCH_WORK))]
Reader = Annotated[Caller, Depends(InProject(Permission.WATCH))]
Browser = Annotated[Caller, Depends(InProject(Permission.BROWSE))]
Downloader = Annotated[Caller, Depends(InProject(Permission.EXPORT))]
Auditor = Annotated[Caller, Depends(InProject(Permission.AUDIT))]
Ingester = Annotated[Caller, Depends(InProject(Permission.INGEST))]
Labeller = Annotated[Caller, Depends(InProject(Permission.IMPORT))]
Reviewer = Annotated[Caller, Depends(InProject(Permission.REVIEW))]
Manager = Annotated[Caller, Depends(InProject(Permission.MANAGE))]
BatchManager = Annotated[Caller, Depends(InProject(Permission.BATCH_MANAGE))]
