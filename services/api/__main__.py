"""``python -m services.api``: the API as a process, with a sweeper and the delivery of webhooks beside it."""

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
from shared.settings import ApiSettings, WebhookSettings, WorkerSettings
from shared.sweeper import Sweeper
from shared.system import from_environment
from shared.webhooks.delivering import Deliverer

DRAIN_S = 6
"""How long requests under way may go on after SIGTERM."""
LAST_CALL_S = 9.0
"""After this the process ends whatever still runs; by design that loses nothing that was confirmed."""


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
    every_s = WorkerSettings().sweep_every_s
    sweeper = Sweeper(system.ledger, system.rounds, every_s=every_s, retention=system.retention)
    deliverer = Deliverer(system.database, WebhookSettings())
    app = create_app(system, settings)
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
        app.state.receiver.gate.close()
        app.state.predict_gate.close()

    server = _Server(config, close_gates)
    # Once it has shut down, uvicorn raises the signal that it caught again; left alone that would skip what follows.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sweeper.start()
    deliverer.start()
    try:
        with suppress(KeyboardInterrupt):
            server.run()
    finally:
        deliverer.stop()
        sweeper.stop()
        system.close()


if __name__ == "__main__":
    main()
