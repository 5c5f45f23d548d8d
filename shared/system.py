"""Puts the parts of one process together. Called once, by a service's composition root."""

from __future__ import annotations

from dataclasses import dataclass

from shared import metrics, telemetry
from shared.bus.base import Bus
from shared.bus.factory import open_bus
from shared.db.migrate import migrations
from shared.db.pool import Database
from shared.jobs import Ledger
from shared.labelling import Labelling
from shared.rounds import Rounds
from shared.settings import BusSettings, DatabaseSettings, StoreSettings, TelemetrySettings
from shared.store.base import Store
from shared.store.factory import open_store


@dataclass(frozen=True, kw_only=True)
class System:
    """What a service works with."""

    database: Database
    bus: Bus
    store: Store
    ledger: Ledger
    rounds: Rounds
    labelling: Labelling

    def check(self) -> None:
        """Raise ``Retryable`` unless database, bus and store can be reached now."""
        self.database.check()
        self.bus.check()
        self.store.check()

    def close(self) -> None:
        self.bus.close()
        self.database.close()


def assemble(database: DatabaseSettings, bus: BusSettings, store: StoreSettings) -> System:
    """A system from settings given."""
    pool = Database(database)
    wires = open_bus(bus, database.url.get_secret_value())
    ledger = Ledger(pool, wires)
    rounds = Rounds(ledger)
    return System(
        database=pool,
        bus=wires,
        store=open_store(store),
        ledger=ledger,
        rounds=rounds,
        labelling=Labelling(ledger, rounds),
    )


def from_environment(service: str) -> System:
    """A system from ``WINNOW_*`` settings, with logging configured for ``service``."""
    telemetry.configure(service, TelemetrySettings())
    metrics.describe_build(schema=migrations()[-1].number)
    return assemble(DatabaseSettings(), BusSettings(), StoreSettings())
