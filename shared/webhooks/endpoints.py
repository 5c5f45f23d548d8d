"""Endpoints: who is told of what. What people and programs do with them, whichever door they come through."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.db import events, projects, webhooks
from shared.db.pool import Database, Tx
from shared.db.webhooks import PING, Attempt, Endpoint, EventType, Message, MessageState, Within
from shared.domain import ProjectId
from shared.errors import Conflict, Invalid
from shared.webhooks.addresses import Guard

MOST = 200
"""Endpoints of a system: each is looked at whenever something happens."""
KEEP_S = 24 * 3600.0
LONGEST_KEEP_S = 7 * 24 * 3600.0
DISABLED_BY_HAND = "somebody disabled it"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be different; None: it stays as it is."""

    url: str | None = None
    types: Sequence[EventType] | None = None
    description: str | None = None
    enabled: bool | None = None


def new_secret() -> str:
    """256 random bits in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Webhooks:
    """``within`` are the projects whose endpoints the caller may know of (None: all): of the others, and of those of
    all projects, none exists (``NotFound``). ``actor`` is who does it, for the audit log. Thread-safe."""

    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._guard = guard

    def add(
        self,
        project_id: ProjectId | None,
        *,
        url: str,
        types: Sequence[EventType],
        description: str = "",
        actor: str,
    ) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is shown this once. ``project_id`` None: of every project.

        Raises ``Invalid`` for an URL that webhooks may not go to, ``NotFound`` for a project that isn't there,
        ``Conflict`` if there are ``MOST`` endpoints already.
        """
        self._guard.look(url)
        secret = new_secret()
        with self._database.transaction() as tx:
            if project_id is not None:
                projects.get(tx, project_id)
            if webhooks.count(tx) >= MOST:
                raise Conflict(f"there are {MOST} webhooks already: delete one that is not needed any more")
            endpoint = webhooks.add(
                tx,
                project_id,
                url=url,
                types=_named(types),
                description=description,
                secret=secret,
                created_by=actor,
            )
            _record(tx, endpoint, actor, "webhook.created", url=url, types=list(endpoint.types))
        return endpoint, secret

    def page(self, *, after: int = 0, limit: int, within: Within = None) -> list[Endpoint]:
        """In order of id."""
        with self._database.transaction() as tx:
            return webhooks.page(tx, after=after, limit=limit, within=within)

    def get(self, endpoint_id: int, *, within: Within = None) -> Endpoint:
        with self._database.transaction() as tx:
            return webhooks.get(tx, endpoint_id, within=within)

    def change(self, endpoint_id: int, wanted: Change, *, within: Within = None, actor: str) -> Endpoint:
        """Raises ``Invalid`` for an URL that webhooks may not go to. What waits goes to the new URL."""
        if wanted.url is not None:
            self._guard.look(wanted.url)
        with self._database.transaction() as tx:
            old = webhooks.get(tx, endpoint_id, within=within, lock=True)
            webhooks.change(
                tx,
                endpoint_id,
                url=old.url if wanted.url is None else wanted.url,
                types=old.types if wanted.types is None else _named(wanted.types),
                description=old.description if wanted.description is None else wanted.description,
            )
            if wanted.enabled is True:
                webhooks.enable(tx, endpoint_id)
            elif wanted.enabled is False:
                webhooks.disable(tx, endpoint_id, DISABLED_BY_HAND)
            new = webhooks.get(tx, endpoint_id)
            shown = ("url", "types", "description", "enabled")
            said = {name: getattr(new, name) for name in shown if getattr(new, name) != getattr(old, name)}
            if said:
                _record(tx, new, actor, "webhook.changed", **said)
        return new

    def rotate(
        self, endpoint_id: int, *, keep_s: float = KEEP_S, within: Within = None, actor: str
    ) -> tuple[Endpoint, str]:
        """A new secret, shown this once. For ``keep_s`` seconds requests are signed with the old one as well."""
        if not 0 <= keep_s <= LONGEST_KEEP_S:
            raise Invalid(f"the old secret is good for {LONGEST_KEEP_S:.0f} seconds more at most")
        secret = new_secret()
        with self._database.transaction() as tx:
            endpoint = webhooks.get(tx, endpoint_id, within=within, lock=True)
            webhooks.rotate(tx, endpoint_id, secret, keep_s=keep_s)
            _record(tx, endpoint, actor, "webhook.rotated", keep_s=keep_s)
        return endpoint, secret

    def delete(self, endpoint_id: int, *, within: Within = None, actor: str) -> None:
        """With its messages and their log."""
        with self._database.transaction() as tx:
            endpoint = webhooks.get(tx, endpoint_id, within=within, lock=True)
            webhooks.delete(tx, endpoint_id)
            _record(tx, endpoint, actor, "webhook.deleted", url=endpoint.url)

    def messages(
        self,
        endpoint_id: int,
        *,
        state: MessageState | None = None,
        before: int | None = None,
        limit: int,
        within: Within = None,
    ) -> list[Message]:
        """Those with an id below ``before``, the newest first."""
        place = {} if before is None else {"before": before}
        with self._database.transaction() as tx:
            webhooks.get(tx, endpoint_id, within=within)
            return webhooks.messages(tx, endpoint_id, state=state, limit=limit, **place)

    def message(self, endpoint_id: int, message_id: int, *, within: Within = None) -> tuple[Message, list[Attempt]]:
        """A message and every attempt at it."""
        with self._database.transaction() as tx:
            webhooks.get(tx, endpoint_id, within=within)
            return webhooks.message(tx, endpoint_id, message_id), webhooks.attempts(tx, message_id)

    def ping(self, endpoint_id: int, *, within: Within = None, actor: str) -> Message:
        """Send a test message, once, to a disabled endpoint as well. The log says what came of it."""
        with self._database.transaction() as tx:
            endpoint = webhooks.get(tx, endpoint_id, within=within)
            message = webhooks.add_message(tx, endpoint_id, PING, {"webhook_id": endpoint_id})
            _record(tx, endpoint, actor, "webhook.pinged")
        return message

    def redeliver(self, endpoint_id: int, message_id: int, *, within: Within = None, actor: str) -> Message:
        """Try a message again from the beginning, with the same id.

        Raises ``Conflict`` while it is under way, and while the endpoint is disabled.
        """
        with self._database.transaction() as tx:
            endpoint = webhooks.get(tx, endpoint_id, within=within, lock=True)
            message = webhooks.message(tx, endpoint_id, message_id)
            if not endpoint.enabled and message.type != PING:
                raise Conflict(f"webhook {endpoint_id} is disabled: enable it first")
            webhooks.redeliver(tx, endpoint_id, message_id)
            _record(tx, endpoint, actor, "webhook.redelivered", delivery=message_id)
            return webhooks.message(tx, endpoint_id, message_id)


def _named(types: Sequence[EventType]) -> list[str]:
    """Each once, in the order of the list of all. Raises ``Invalid`` for none."""
    if not types:
        raise Invalid("name at least one type of event")
    return [one.value for one in EventType if one in types]


def _record(tx: Tx, endpoint: Endpoint, actor: str, kind: str, **data: Any) -> None:
    events.record(tx, endpoint.project_id, actor, kind, {"webhook": endpoint.id, **data})
