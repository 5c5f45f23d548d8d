"""What every store refuses, so that what works on one works on all."""

from __future__ import annotations

import re
from typing import BinaryIO

from shared.errors import Invalid, Retryable

MAX_KEY = 1024
MAX_SEGMENT = 255

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*")
_PREFIX_END = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._=-]*)?")


def check_key(key: str) -> None:
    """Raise ``Invalid`` unless ``key`` is segments of letters, digits and ``._=-`` joined by slashes.

    No segment begins with a dot, so no key can leave the store's folder or meet the store's own files.
    """
    segments = key.split("/")
    if len(key) > MAX_KEY or not all(_SEGMENT.fullmatch(part) and len(part) <= MAX_SEGMENT for part in segments):
        raise Invalid(f"not a key of the store: {key[:200]!r}")


def check_prefix(prefix: str) -> None:
    """Raise ``Invalid`` unless ``prefix`` can be the beginning of a key. It may be empty or end anywhere."""
    *whole, last = prefix.split("/")
    if len(prefix) > MAX_KEY or not all(map(_SEGMENT.fullmatch, whole)) or not _PREFIX_END.fullmatch(last):
        raise Invalid(f"no key of the store can begin with {prefix[:200]!r}")


def check_range(start: int, length: int) -> None:
    if start < 0 or length < 0:
        raise Invalid(f"a range begins at 0 or later and has no negative length, not {start} and {length}")


class ExactBody:
    """``length`` bytes of ``body`` and no more.

    Reading raises ``Invalid`` if the body ends before and ``Retryable`` if it breaks, so that a body that fails is not
    taken for a store that does.
    """

    def __init__(self, body: BinaryIO, length: int) -> None:
        if length < 0:
            raise Invalid(f"an object can't have {length} bytes")
        self._body = body
        self._length = length
        self._left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        if wanted == 0:
            return b""
        try:
            chunk = self._body.read(wanted)
        except OSError as error:
            raise Retryable(
                f"the body could not be read after {self._done} of {self._length} bytes: {error}"
            ) from error
        if not chunk:
            raise Invalid(f"the body ended after {self._done} of {self._length} bytes")
        self._left -= len(chunk)
        return chunk

    @property
    def _done(self) -> int:
        return self._length - self._left
