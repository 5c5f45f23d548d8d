"""One request to one address that was looked at before: signed, without redirects, within a time and a size.

httpcore is the engine of httpx. It is used by itself because it lets the connection be made here, to an address that is
given, while the URL, the ``Host`` header and TLS go on to name the host; and because time can be measured over the
whole attempt, so that a receiver that answers a byte at a time gains nothing.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import httpcore
from standardwebhooks import Webhook

from shared.db.webhooks import Claimed
from shared.settings import WebhookSettings
from shared.webhooks.addresses import Target

READ_BYTES = 64 * 1024
"""How much of an answer's body is read."""
EXCERPT = 1000
"""How many characters of it are kept."""
_LONGEST_WAIT_S = 24 * 3600.0
_AGENT = f"Winnow/{version('winnow')}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a receiver said. ``retry_after_s``: how long it asked to be left alone, a day at most."""

    status: int
    excerpt: str
    retry_after_s: float | None


def body_of(claimed: Claimed) -> bytes:
    """The message as it is sent, the same for every attempt."""
    said = {
        "type": claimed.type,
        "timestamp": claimed.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": dict(claimed.data),
    }
    return json.dumps(said, separators=(",", ":")).encode()


def headers_of(claimed: Claimed, body: bytes, secrets: Sequence[str], at: datetime) -> dict[str, str]:
    """Those of Standard Webhooks: the id that stays over attempts, the moment, and a signature for each secret."""
    name = f"msg_{claimed.uid.hex}"
    signed = [Webhook(secret).sign(name, at.astimezone(UTC), body.decode()) for secret in secrets]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signed),
        "content-type": "application/json",
        "user-agent": _AGENT,
        "accept-encoding": "identity",
        "connection": "close",
    }


class Sender:
    """Thread-safe: every request has a connection of its own."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._timeout_s = settings.timeout_s
        self._tls = ssl.create_default_context()
        if settings.ca_file is not None:
            self._tls.load_verify_locations(settings.ca_file)

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, to one of the target's addresses. Raises ``httpcore``'s errors, and ``OSError``."""
        deadline = time.monotonic() + self._timeout_s
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=_Pinned(target, deadline)) as pool,
            pool.stream("POST", target.url, headers=[*headers.items()], content=body) as response,
        ):
            said = {name.lower(): value for name, value in response.headers}
            text = _beginning(response.iter_stream()).decode("utf-8", "replace").replace("\0", "")
            return Answer(
                status=response.status,
                excerpt=text[:EXCERPT],
                retry_after_s=_retry_after(said.get(b"retry-after", b"").decode("latin-1")),
            )


def _beginning(stream: Iterable[bytes]) -> bytes:
    read = b""
    for chunk in stream:
        read += chunk
        if len(read) >= READ_BYTES:
            break
    return read[:READ_BYTES]


def _retry_after(text: str) -> float | None:
    """Seconds, from a number of them or a date. None for anything else."""
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((aware - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT_S)


class _Pinned(httpcore.NetworkBackend):
    """Connects to the addresses of its target, whatever it is asked for."""

    def __init__(self, target: Target, deadline: float) -> None:
        self._target = target
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if (host.strip("[]").lower(), port) != (self._target.host, self._target.port):
            raise httpcore.ConnectError(f"{host}:{port} is not what was looked at")
        trouble: Exception = httpcore.ConnectError("no address")
        for address in self._target.addresses:
            try:
                stream = self._sockets.connect_tcp(address, port, _left(self._deadline), None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
            else:
                return _Hurried(stream, self._deadline)
        raise trouble


class _Hurried(httpcore.NetworkStream):
    """A stream all of which must be over by a moment."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Hurried(self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the receiver took too long")
    return left
