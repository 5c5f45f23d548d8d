"""``python -m services.ui``: what annotators use, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import uvicorn

from services.ui.app import create_app
from shared.settings import UiSettings
from shared.system import from_environment

_DRAIN_S = 5


def main() -> None:
    system, settings = from_environment("ui"), UiSettings()
    # uvicorn ends the requests under way on SIGTERM, then raises the signal again for us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.run(
                create_app(system, settings),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_DRAIN_S,
            )
    finally:
        system.close()


if __name__ == "__main__":
    main()
