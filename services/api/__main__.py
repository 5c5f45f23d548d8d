"""``python -m services.api``: the API as a process, with a sweeper, the delivery of webhooks, and the making of exports
beside it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from services.api.app import create_app
from services.api.making import ExportHandler
from shared.running import WorkerThread
from shared.settings import ApiSettings, RetentionSettings, WebhookSettings, WorkerSettings
from shared.sweeper import Sweeper
from shared.system import from_environment
from shared.webhooks.delivering import Deliverer
from shared.worker import Worker

DRAIN_S = 6
"""How long requests under way may go on after SIGTERM."""
LAST_CALL_S = 9.0
"""After this the process ends whatever still runs; by design that loses nothing that was confirmed."""


GIVE_BACK_S = 2.0
"""How long the export in hand has to be given back; else its lease runs out, and another api takes it."""


class _Server(uvicorn.Server):
    """Lets the application know at once that it is about to end."""

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._closing()
        last_call = threading.Timer(LAST_CALL_S, os._exit, (1,))
        last_call.daemon = True
        last_call.start()
        super().handle_exit(sig, frame)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = ApiSettings()
    system = from_environment("api")
    working = WorkerSettings()
    sweeper = Sweeper(system.ledger, system.rounds, every_s=working.sweep_every_s, retention=system.retention)
    handler = ExportHandler(system.database, system.store, keep_s=RetentionSettings().exports_s)
    making = WorkerThread(Worker(system.ledger, system.bus, [handler], working), system.database, name="exports")
    deliverer = Deliverer(system.database, WebhookSettings())
    app = create_app(system, settings, live=making.check_alive)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # everything goes through the process's own log
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )

    def close_gates() -> None:
        deliverer.close()
        making.stop()
        app.state.receiver.gate.close()
        app.state.predict_gate.close()

    server = _Server(config, close_gates)
    # Once it has shut down, uvicorn raises the signal that it caught again; left alone that would skip what follows.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sweeper.start()
    deliverer.start()
    making.start()
    try:
        with suppress(KeyboardInterrupt):
            server.run()
    finally:
        making.stop()
        making.join(GIVE_BACK_S)
        deliverer.stop()
        sweeper.stop()
        system.close()


if __name__ == "__main__":
    main()
