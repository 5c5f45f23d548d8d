"""Who may do what: the one place where it is decided. Whatever is not in the tables below is refused.

A **principal** is a person, by the role they have in a project; or an API key, by its scopes; or a key that acts as
somebody, which may do what its scopes *and* that somebody may. Both services turn each request into a principal and ask
``require`` before anything else; a test walks every route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from shared.domain import ApiKey, Membership, ProjectId, Role, Scope, User, UserKind
from shared.errors import Forbidden, NotFound


class Permission(StrEnum):
    """What can be allowed. The last three concern no project."""

    SEE = "see"
    """Know that a project is there. To whom this is refused, it does not exist."""
    LABEL = "label"
    """Be asked, and answer; see what one holds or answered, the guidelines and their examples."""
    BROWSE = "browse"
    """Look at every image, its labels, and who gave them."""
    WATCH = "watch"
    """See how a project stands: its rounds, models, quality and costs."""
    REVIEW = "review"
    """See to flags, correct labels, decide where people differ."""
    MANAGE = "manage"
    """Change settings, start and pause, put models to use, remove images."""
    INGEST = "ingest"
    """Upload images."""
    IMPORT = "import"
    """Bring in labels that are known already."""
    EXPORT = "export"
    """Take labels and images along."""
    AUDIT = "audit"
    """Read who did what in a project."""
    STAFF = "staff"
    """Say who works in a project, invite people, make and revoke its API keys."""
    BATCH_MANAGE = "batch_manage"
    """Make batches for vendors, accept and reject what they did."""
    BATCH_WORK = "batch_work"
    """Work in the batches that are one's own."""
    CREATE = "create"
    """Make projects."""
    OPERATE = "operate"
    """See and mend the system: its queues and jobs, and who did what anywhere."""
    ADMINISTER = "administer"
    """Say who is a user and who is an admin, make vendors, make keys for every project."""


P = Permission
_ANNOTATOR = frozenset({P.SEE, P.LABEL})
_REVIEWER = _ANNOTATOR | {P.BROWSE, P.WATCH, P.REVIEW}
_MANAGER = _REVIEWER | {P.MANAGE, P.INGEST, P.IMPORT, P.EXPORT, P.AUDIT, P.STAFF, P.BATCH_MANAGE}
_READ = frozenset({P.SEE, P.BROWSE, P.WATCH, P.EXPORT, P.AUDIT})

ROLES: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {Role.ANNOTATOR: _ANNOTATOR, Role.REVIEWER: _REVIEWER, Role.MANAGER: _MANAGER}
)
SCOPES: Mapping[Scope, frozenset[Permission]] = MappingProxyType(
    {
        Scope.READ: _READ,
        Scope.INGEST: frozenset({P.SEE, P.INGEST}),
        Scope.LABEL: frozenset({P.SEE, P.IMPORT}),
        Scope.MANAGE: _READ | {P.INGEST, P.IMPORT, P.REVIEW, P.MANAGE, P.BATCH_MANAGE, P.CREATE, P.OPERATE},
        Scope.BATCH: frozenset({P.BATCH_WORK}),
    }
)
OF_NO_PROJECT = frozenset({P.CREATE, P.OPERATE, P.ADMINISTER})
_VENDOR = frozenset({P.BATCH_WORK})


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who asks. ``memberships`` are the user's, by project. Without a user and without a key it may do nothing."""

    user: User | None = None
    memberships: Mapping[ProjectId, Membership] = field(default_factory=dict)
    key: ApiKey | None = None

    @property
    def actor(self) -> str:
        """Names who asks in the audit log: ``key:wnw_1a2b3c4d`` or ``user:3``."""
        if self.key is not None:
            return f"key:{self.key.prefix}"
        return f"user:{self.user.id}" if self.user is not None else "nobody"

    def paused(self, project_id: ProjectId) -> str | None:
        """Why nothing more is asked of this person in the project; None: they may be asked."""
        membership = self.memberships.get(project_id)
        return None if membership is None else membership.pause_reason


def permits(principal: Principal, permission: Permission, project_id: ProjectId | None = None) -> bool:
    """Whether ``principal`` may, in the project; without one: in no project, or in all of them."""
    if principal.user is None and principal.key is None:
        return False
    by_key = principal.key is None or _key_may(principal.key, permission, project_id)
    by_user = principal.user is None or _user_may(principal, principal.user, permission, project_id)
    return by_key and by_user


def require(principal: Principal, permission: Permission, project_id: ProjectId | None = None) -> None:
    """Raises ``NotFound`` for a project that the principal may not know of, ``Forbidden`` for what it may not do."""
    if permits(principal, permission, project_id):
        return
    if project_id is not None and not permits(principal, Permission.SEE, project_id):
        raise NotFound(f"there is no project {project_id}")
    raise Forbidden(_refusal(principal, permission))


def reach(principal: Principal, permission: Permission) -> frozenset[ProjectId] | None:
    """The projects where ``principal`` may; None: in every one. What lists are limited to."""
    if permits(principal, permission):
        return None
    known = set(principal.memberships)
    if principal.key is not None and principal.key.project_id is not None:
        known.add(principal.key.project_id)
    return frozenset(one for one in known if permits(principal, permission, one))


_REFUSALS = {
    Permission.CREATE: "only an admin may make projects",
    Permission.OPERATE: "only an admin may look after the system",
    Permission.ADMINISTER: "only an admin may do this",
}


def _refusal(principal: Principal, permission: Permission) -> str:
    key = principal.key
    if key is not None and not in_scopes(key, permission):
        fitting = " or ".join(f"'{scope.value}'" for scope in Scope if permission in SCOPES[scope])
        return f"this needs a key with the scope {fitting}" if fitting else "no API key may do this"
    if key is not None and principal.user is None:
        return "this key is limited to one project"
    return _REFUSALS.get(permission, "you may not do this; a manager of the project or an admin may")


def in_scopes(key: ApiKey, permission: Permission) -> bool:
    """Whether any of the key's scopes has the permission; where it may is another question."""
    return any(permission in SCOPES[scope] for scope in key.scopes)


def _key_may(key: ApiKey, permission: Permission, project_id: ProjectId | None) -> bool:
    return in_scopes(key, permission) and (key.project_id is None or key.project_id == project_id)


def _user_may(principal: Principal, user: User, permission: Permission, project_id: ProjectId | None) -> bool:
    if user.disabled:
        return False
    if user.kind is not UserKind.PERSON:
        return user.kind is UserKind.VENDOR and permission in _VENDOR
    if user.is_admin:
        return True
    membership = None if project_id is None else principal.memberships.get(project_id)
    return membership is not None and permission not in OF_NO_PROJECT and permission in ROLES[membership.role]
