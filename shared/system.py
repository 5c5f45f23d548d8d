"""Puts the parts of one process together. Called once, by a service's composition root."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shared import metrics, telemetry
from shared.adjudication import Adjudication
from shared.bus.base import Bus
from shared.bus.factory import open_bus
from shared.curation import Curation
from shared.db.migrate import migrations, require_schema
from shared.db.pool import Database
from shared.errors import Retryable
from shared.jobs import Ledger
from shared.labelling import Labelling
from shared.retention import Retention
from shared.reviewing import Reviewing
from shared.rounds import Rounds
from shared.settings import (
    BusSettings,
    DatabaseSettings,
    RetentionSettings,
    StoreSettings,
    TelemetrySettings,
    WebhookSettings,
)
from shared.store.base import Store
from shared.store.factory import open_store
from shared.telemetry import logger
from shared.vendors import Vendors
from shared.webhooks.addresses import Guard
from shared.webhooks.endpoints import Webhooks

log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class System:
    """What a service works with."""

    database: Database
    bus: Bus
    store: Store
    ledger: Ledger
    rounds: Rounds
    labelling: Labelling
    vendors: Vendors
    curation: Curation
    reviewing: Reviewing
    adjudication: Adjudication
    retention: Retention
    webhooks: Webhooks

    def check(self) -> None:
        """Raise ``Retryable`` unless database, bus and store can be reached now, and the schema is not too old."""
        with self.database.transaction() as tx:
            require_schema(tx)
        self.bus.check()
        self.store.check()

    def close(self) -> None:
        self.bus.close()
        self.database.close()


def await_schema(database: Database, *, look_every_s: float = 3.0, stopping: threading.Event | None = None) -> None:
    """Return once the schema is not too old for this version, or ``stopping`` is set.

    A worker that is started, or upgraded, before the database was migrated waits: its jobs would fail and end as dead.
    """
    stopping = stopping or threading.Event()
    while not stopping.is_set():
        try:
            with database.transaction() as tx:
                require_schema(tx)
            return
        except Retryable as error:
            log.warning("schema.waiting", reason=str(error))
            stopping.wait(look_every_s)


def joined(
    database: Database,
    settings: DatabaseSettings,
    bus: BusSettings,
    store: Store,
    retention: RetentionSettings | None = None,
    webhooks: WebhookSettings | None = None,
) -> System:
    """A system from a database and a store that are open."""
    wires = open_bus(bus, settings.url.get_secret_value())
    ledger = Ledger(database, wires)
    rounds = Rounds(ledger)
    labelling = Labelling(ledger, rounds)
    return System(
        database=database,
        bus=wires,
        store=store,
        ledger=ledger,
        rounds=rounds,
        labelling=labelling,
        vendors=Vendors(ledger, labelling),
        curation=Curation(ledger, rounds),
        reviewing=Reviewing(ledger, rounds),
        adjudication=Adjudication(ledger, rounds),
        retention=Retention(database, store, retention or RetentionSettings()),
        webhooks=Webhooks(database, Guard(webhooks or WebhookSettings())),
    )


def assemble(database: DatabaseSettings, bus: BusSettings, store: StoreSettings) -> System:
    """A system from settings given."""
    return joined(Database(database), database, bus, open_store(store))


def from_environment(service: str) -> System:
    """A system from ``WINNOW_*`` settings, with logging configured for ``service``."""
    telemetry.configure(service, TelemetrySettings())
    metrics.describe_build(schema=migrations()[-1].number)
    return assemble(DatabaseSettings(), BusSettings(), StoreSettings())
