"""How many requests an API key may make: a bucket of tokens that fills again at an even rate.

Told with every answer as draft-ietf-httpapi-ratelimit-headers-10 says: ``RateLimit-Policy`` the quota ``q`` of a window
of ``w`` seconds, ``RateLimit`` what remains of it (``r``) and after how many seconds it is whole again (``t``). Buckets
are in this process's memory: of two api processes each gives the quota, and one that is started anew begins with full
ones. Requests without a key are counted by the address that they come from.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.web import Problem, problem_response

MOST_BUCKETS = 10_000
"""Callers that are remembered; the one that was silent longest is forgotten, and begins anew."""
_FREE = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``remaining`` tokens; the bucket is full again in ``reset_s``, and has a token in ``wait_s``."""

    allowed: bool
    remaining: int
    reset_s: int
    wait_s: int


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """``quota`` tokens per caller, filled anew within ``window_s``. Thread-safe."""

    def __init__(self, quota: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota = quota
        self._rate = quota / window_s
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> Verdict:
        """Take a token, if there is one."""
        now = self._clock()
        with self._lock:
            bucket = self._buckets.setdefault(caller, _Bucket(self._quota, now))
            self._buckets.move_to_end(caller)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
            bucket.tokens = min(bucket.tokens + (now - bucket.at) * self._rate, self._quota)
            bucket.at = now
            allowed = bucket.tokens >= 1
            bucket.tokens -= allowed
            left = bucket.tokens
        return Verdict(
            allowed=allowed,
            remaining=int(left),
            reset_s=math.ceil((self._quota - left) / self._rate),
            wait_s=max(math.ceil((1 - left) / self._rate), 1),
        )


class RateLimit:
    """ASGI middleware, within that which names requests."""

    def __init__(self, app: ASGIApp, *, quota: int, window_s: int) -> None:
        self._app = app
        self._buckets = Buckets(quota, window_s)
        self._policy = f'"default";q={quota};w={window_s}'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self._app(scope, receive, send)
            return
        verdict = self._buckets.take(_caller(scope))
        told = [
            (b"ratelimit-policy", self._policy.encode()),
            (b"ratelimit", f'"default";r={verdict.remaining};t={verdict.reset_s}'.encode()),
        ]

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *told]}
            await send(message)

        if verdict.allowed:
            await self._app(scope, receive, send_told)
            return
        problem = Problem(
            status=429,
            kind="too-many-requests",
            title="Too many requests",
            detail=f"this key has used its requests up ({self._policy}); go on after {verdict.wait_s} seconds",
            headers={"Retry-After": str(verdict.wait_s)},
        )
        await problem_response(Request(scope), problem)(scope, receive, send_told)


def _caller(scope: Scope) -> str:
    """No secret is kept: of a key its digest."""
    given = Headers(scope=scope).get("authorization")
    if given:
        return hashlib.sha256(given.encode()).hexdigest()
    client = scope.get("client")
    return f"address:{client[0]}" if client else "address:unknown"
