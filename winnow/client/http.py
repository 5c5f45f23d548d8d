"""A connection that tries again, and the errors that answers mean."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from shared.errors import Conflict, Forbidden, Invalid, NotFound, Retryable, Unauthorized, WinnowError

_BY_STATUS: Mapping[int, type[WinnowError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    422: Invalid,
    429: Retryable,
    502: Retryable,  # a proxy's word for a service that is away
    503: Retryable,
    504: Retryable,
}
TRIES = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
IN_FLIGHT = "urn:winnow:problem:idempotency-in-flight"
KEY = "Idempotency-Key"


def checked(response: httpx.Response) -> httpx.Response:
    """The response, or the error of ours that its problem+json means."""
    if response.is_success:
        return response
    try:
        problem = response.json()
        message = str(problem.get("detail") or problem.get("title") or problem)
    except ValueError:
        message = response.text[:500] or f"{response.status_code} {response.reason_phrase}"
    raise _BY_STATUS.get(response.status_code, WinnowError)(message)


class Http:
    """A connection; errors of the network become ``Retryable``.

    Parameters
    ----------
    tries : how often a request is sent that may be sent twice, before its failure is raised: with pauses that double,
        vary by chance, and are never shorter than a ``Retry-After``. A POST without files has an idempotency key.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        *,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)
        self._tries = tries
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A successful response. Raises what its failure means, after the last try."""
        headers = dict(options.pop("headers", None) or {})
        if method == "POST" and options.get("files") is None:
            headers.setdefault(KEY, str(uuid.uuid4()))
        tries = self._tries if method in ("GET", "HEAD") or KEY in headers else 1
        for attempt in range(1, tries + 1):
            last = attempt == tries
            try:
                response = self._client.request(method, path, headers=headers, **options)
            except httpx.TransportError as error:
                if last:
                    raise Retryable(f"{self._client.base_url} can't be reached: {error}") from error
                self._sleep(pause_s(attempt))
                continue
            if last or not _passing(response):
                return checked(response)
            self._sleep(max(pause_s(attempt), _asked_s(response)))
        raise AssertionError("the last try returns or raises")

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, page after page."""
        cursor: str | None = None
        while True:
            query = {"limit": 100, **params} | ({"cursor": cursor} if cursor else {})
            page = self.call("GET", path, params=query).json()
            yield from page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return


def _passing(response: httpx.Response) -> bool:
    """Whether the same request may succeed later."""
    if response.status_code == 409:
        try:
            return bool(response.json().get("type") == IN_FLIGHT)
        except ValueError:
            return False
    return response.status_code in (429, 502, 503, 504)


def pause_s(attempt: int) -> float:
    """Half of it by chance, so that clients that failed together don't come back together."""
    longest: float = min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)


def _asked_s(response: httpx.Response) -> float:
    """What the service asks for; dates are not used by it."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE_S) if asked.isdecimal() else 0.0
