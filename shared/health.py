"""``/healthz``, ``/readyz`` and ``/metrics`` of a process that serves nothing else over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from shared.errors import Invalid, WinnowError

Check = Callable[[], None]
"""Returns if all is well, else raises a ``WinnowError`` that says what isn't."""
_READ_S = 10
_TEXT = "text/plain; charset=utf-8"


def exposition(collectors: Sequence[Collector] = ()) -> bytes:
    """This process's metrics, and those of ``collectors``, as Prometheus reads them."""
    extra = CollectorRegistry()
    for collector in collectors:
        extra.register(collector)
    return generate_latest(REGISTRY) + generate_latest(extra)


class HealthServer:
    """Answers from threads of its own, so that it can tell when the process's main loop hangs.

    Raises ``Invalid`` if the address can't be listened on.
    """

    def __init__(
        self, host: str, port: int, *, live: Check, ready: Check, collectors: Sequence[Collector] = ()
    ) -> None:
        checks = {"/healthz": live, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            timeout = _READ_S  # a client that connects and says nothing doesn't hold a thread for ever

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if path == "/metrics":
                    self._answer(200, exposition(collectors), CONTENT_TYPE_LATEST)
                elif path in checks:
                    self._answer(*_outcome(checks[path]), _TEXT)
                else:
                    self._answer(404, b"there are /healthz, /readyz and /metrics\n", _TEXT)

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes come every few seconds and are no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise Invalid(f"can't listen on {host}:{port} for metrics and health: {error}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The one that the system chose, where 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _outcome(check: Check) -> tuple[int, bytes]:
    try:
        check()
    except WinnowError as error:
        return 503, f"{error}\n".encode()
    return 200, b"ok\n"
