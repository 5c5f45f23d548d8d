"""``python -m services.ui``: what annotators use, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from services.ui.app import create_app
from shared.settings import OidcSettings, UiSettings
from shared.system import from_environment

_DRAIN_S = 5


class _Server(uvicorn.Server):
    """Breaks uploads and streams off as soon as it is told to end; their browsers try again."""

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._closing()
        super().handle_exit(sig, frame)


def main() -> None:
    system, settings = from_environment("ui"), UiSettings()
    app = create_app(system, settings, OidcSettings())
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )

    def closing() -> None:
        app.state.parts.receiver.gate.close()
        app.state.parts.telling.interrupt()

    server = _Server(config, closing)
    # uvicorn ends the requests under way on SIGTERM, then raises the signal again for us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with suppress(KeyboardInterrupt):
            server.run()
    finally:
        system.close()


if __name__ == "__main__":
    main()
