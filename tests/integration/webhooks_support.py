"""Endpoints that point at a listener of the test, and hands that deliver to them one attempt at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.db import webhooks
from shared.db.webhooks import Endpoint, EventType, Message
from shared.domain import ProjectId
from shared.settings import WebhookSettings
from shared.system import System
from shared.webhooks import emit
from shared.webhooks.addresses import Guard, Resolve, system_resolver
from shared.webhooks.delivering import Deliverer
from shared.webhooks.endpoints import Webhooks

LOOPBACK = ["127.0.0.0/8"]


def settings(**changed: Any) -> WebhookSettings:
    """Loopback is allowed: that is where the test listens."""
    return WebhookSettings(**{"allow_networks": LOOPBACK, "poll_s": 0.05, "timeout_s": 5, **changed})


@dataclass
class Post:
    """A system with webhooks. ``step`` makes the attempts that are due, in this thread."""

    system: System
    project_id: ProjectId
    deliverer: Deliverer
    webhooks: Webhooks
    settings: WebhookSettings

    @classmethod
    def of(cls, system: System, project_id: ProjectId, *, resolve: Resolve = system_resolver, **changed: Any) -> Post:
        chosen = settings(**changed)
        guard = Guard(chosen, resolve)
        deliverer = Deliverer(system.database, chosen, guard=guard, draw=lambda low, high: 1.0)
        return cls(system, project_id, deliverer, Webhooks(system.database, guard), chosen)

    def endpoint(self, url: str, *types: EventType, project: bool = True) -> tuple[Endpoint, str]:
        """An endpoint of the project, or of all of them, and its secret."""
        of = self.project_id if project else None
        return self.webhooks.add(of, url=url, types=types or (EventType.ROUND_COMPLETED,), actor="test")

    def emit(self, type_: EventType = EventType.ROUND_COMPLETED, **data: Any) -> None:
        with self.system.database.transaction() as tx:
            emit(tx, self.project_id, type_, data)

    def step(self) -> int:
        """How many attempts that were."""
        with self.system.database.transaction() as tx:
            due = webhooks.claim(tx, count=100, per_endpoint=100, busy=[], lease_s=60)
        for one in due:
            self.deliverer.attempt(one)
        return len(due)

    def later(self) -> None:
        """The next attempt of whatever waits is due now."""
        with self.system.database.transaction() as tx:
            tx.run("UPDATE webhook_messages SET next_at = clock_timestamp() WHERE state = 'pending'")

    def messages(self, endpoint: Endpoint) -> Sequence[Message]:
        """The newest first."""
        with self.system.database.transaction() as tx:
            return webhooks.messages(tx, endpoint.id)

    def message(self, endpoint: Endpoint) -> Message:
        (only,) = self.messages(endpoint)
        return only

    def waits_s(self, endpoint: Endpoint) -> float:
        """How long until the next attempt at its only message."""
        with self.system.database.transaction() as tx:
            row = tx.one(
                "SELECT extract(epoch FROM next_at - clock_timestamp())::float AS s FROM webhook_messages "
                "WHERE endpoint_id = %(id)s AND state = 'pending'",
                {"id": endpoint.id},
            )
        assert row is not None
        return float(row["s"])
