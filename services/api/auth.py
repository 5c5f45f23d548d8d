"""Who calls, and what they may do: API keys sent as ``Authorization: Bearer <key>``.

``manage`` includes every other scope but ``batch``, which is for the keys of vendors; ``read``, ``ingest`` and
``label`` include nothing but themselves. To a key that is limited to one project no other project exists (404).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api.parts import ProjectPath, SystemPart
from shared.credentials import digest
from shared.db import users
from shared.domain import ApiKey, Batch, BatchState, ProjectId, Scope, UserId
from shared.errors import Forbidden, NotFound, Unauthorized

_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="A key made by `winnow keys create`.")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The holder of a key that is good now."""

    key: ApiKey

    @property
    def actor(self) -> str:
        """Names the caller in the audit log."""
        return f"key:{self.key.prefix}"

    def needs(self, scope: Scope) -> None:
        """Raises ``Forbidden`` without the scope."""
        if not self.key.scopes & {scope, Scope.MANAGE}:
            raise Forbidden(f"this needs a key with the scope '{scope.value}'")

    def sees(self, project_id: int) -> None:
        """Raises ``NotFound`` for a project outside this key's limit."""
        if self.key.project_id not in (None, project_id):
            raise NotFound(f"there is no project {project_id}")


@dataclass(frozen=True, kw_only=True)
class Vendor(Caller):
    """A vendor, by a key that acts as it."""

    user_id: UserId

    def owns(self, batch: Batch) -> Batch:
        """The batch. Raises ``NotFound`` for another vendor's, for a draft, and for one outside this key's limit."""
        limited = self.key.project_id not in (None, batch.project_id)
        if batch.vendor_id != self.user_id or batch.state is BatchState.DRAFT or limited:
            raise NotFound(f"there is no batch {batch.id}")
        return batch


def _caller(system: SystemPart, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
    """Raises ``Unauthorized`` unless the request brings a key that is good now."""
    if given is None:
        raise Unauthorized("send an API key: Authorization: Bearer <key>")
    with system.database.transaction() as tx:
        key = users.key_by_digest(tx, digest(given.credentials))
    if key is None:
        raise Unauthorized("this API key is not known, has run out, or was revoked")
    structlog.contextvars.bind_contextvars(api_key=key.prefix)
    return Caller(key=key)


def _with_scope(scope: Scope) -> Callable[[Caller], Caller]:
    def check(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        caller.needs(scope)
        return caller

    return check


def _with_scope_in_project(scope: Scope) -> Callable[[int, Caller], Caller]:
    def check(project_id: ProjectPath, caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        caller.sees(ProjectId(project_id))
        caller.needs(scope)
        return caller

    return check


def _vendor(caller: Annotated[Caller, Depends(_caller)]) -> Vendor:
    """Raises ``Forbidden`` for a key that acts as no vendor."""
    if Scope.BATCH not in caller.key.scopes or caller.key.user_id is None:
        raise Forbidden("this needs a vendor's key, with the scope 'batch'")
    return Vendor(key=caller.key, user_id=caller.key.user_id)


AnyCaller = Annotated[Caller, Depends(_caller)]
AsVendor = Annotated[Vendor, Depends(_vendor)]
AnyReader = Annotated[Caller, Depends(_with_scope(Scope.READ))]
AnyManager = Annotated[Caller, Depends(_with_scope(Scope.MANAGE))]
Reader = Annotated[Caller, Depends(_with_scope_in_project(Scope.READ))]
Ingester = Annotated[Caller, Depends(_with_scope_in_project(Scope.INGEST))]
Labeller = Annotated[Caller, Depends(_with_scope_in_project(Scope.LABEL))]
Manager = Annotated[Caller, Depends(_with_scope_in_project(Scope.MANAGE))]
