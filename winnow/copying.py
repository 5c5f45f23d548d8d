"""Getting objects from the store into a folder of backups: which are there already, and what is wrong with others."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from shared.errors import NotFound, Retryable
from shared.store.base import Entry, Store
from winnow.snapshots import Kept
from winnow.vault import Vault

TRIES = 4
"""How often an object is asked for when the store fails, with pauses of 1, 2 and 4 seconds."""
_IMAGE = re.compile(r"projects/\d+/images/([0-9a-f]{64})")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Need:
    """An object that the database's rows need. ``sha256`` None: they don't say what is in it."""

    key: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Work:
    """One key: what the store's listing, the rows and earlier backups say of it."""

    key: str
    entry: Entry | None
    need: Need | None
    known: Sequence[Kept]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of it. ``kept`` None: the snapshot is without it."""

    kept: Kept | None
    problem: str | None = None
    fetched: int | None = None
    """Bytes read from the store; None if that wasn't needed."""


def merged(entries: Iterator[Entry], needs: Iterator[Need], known: Sequence[Iterator[Kept]]) -> Iterator[Work]:
    """Every key that is listed or needed, in order. All that comes in must be in order of key."""
    need, previous = next(needs, None), [_Peekable(each) for each in known]
    for entry in entries:
        while need is not None and need.key < entry.key:
            yield Work(key=need.key, entry=None, need=need, known=_at(previous, need.key))
            need = next(needs, None)
        here = need if need is not None and need.key == entry.key else None
        yield Work(key=entry.key, entry=entry, need=here, known=_at(previous, entry.key))
        if here is not None:
            need = next(needs, None)
    while need is not None:
        yield Work(key=need.key, entry=None, need=need, known=_at(previous, need.key))
        need = next(needs, None)


class Copier:
    """Thread-safe."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def copy(self, work: Work) -> Done:
        """Raises ``Retryable`` if the store fails time and again, ``Permanent`` if it refuses us."""
        match = _IMAGE.fullmatch(work.key)
        content = match[1] if match else None  # only of images does the key say what is in them
        done = self._missing(work, content) if work.entry is None else self._present(work, work.entry, content)
        need, kept = work.need, done.kept
        if need and need.sha256 and kept and done.problem is None and kept.sha256 != need.sha256:
            problem = f"{work.key} is damaged in the store: it doesn't have the digest that the database has"
            return replace(done, problem=problem)
        return done

    def _missing(self, work: Work, content: str | None) -> Done:
        problem = f"{work.key} is missing in the store: the database refers to it"
        size = self._vault.size(content) if content else None
        if content is None or size is None:
            return Done(kept=None, problem=problem)
        modified = work.known[0].modified if work.known else ""
        return Done(
            kept=Kept(key=work.key, size=size, sha256=content, modified=modified),
            problem=f"{problem}; the backup has it from before",
        )

    def _present(self, work: Work, entry: Entry, content: str | None) -> Done:
        modified = entry.modified.isoformat()
        if content is not None and self._vault.size(content) == entry.size:
            return Done(kept=Kept(key=work.key, size=entry.size, sha256=content, modified=modified))
        for known in work.known:
            unchanged = (known.size, known.modified) == (entry.size, modified)
            if content is None and unchanged and self._vault.size(known.sha256) == entry.size:
                return Done(kept=known)

        def refuse(sha256: str, size: int) -> str | None:
            if size != entry.size:
                return f"{size} bytes came, the listing says {entry.size}"
            if content is not None and sha256 != content:
                return f"its bytes have the digest {sha256}"
            return None

        try:
            sha256, size = self._fetched(work.key, refuse)
        except NotFound:
            return self._missing(work, content) if work.need else Done(kept=None)  # gone since it was listed
        except ValueError as reason:
            return self._damaged(work, content, f"{work.key} is damaged in the store: {reason}")
        return Done(kept=Kept(key=work.key, size=size, sha256=sha256, modified=modified), fetched=size)

    def _damaged(self, work: Work, content: str | None, problem: str) -> Done:
        """An image that an earlier backup has whole is taken from there."""
        size = self._vault.size(content) if content else None
        if content is None or size is None or self._vault.damage(content, size):
            return Done(kept=None, problem=problem)
        kept = Kept(key=work.key, size=size, sha256=content, modified="")
        return Done(kept=kept, problem=f"{problem}; the backup has it whole from before")

    def _fetched(self, key: str, refuse: Callable[[str, int], str | None]) -> tuple[str, int]:
        for attempt in range(TRIES):
            try:
                with self._store.open(key) as chunks:
                    return self._vault.add(chunks, refuse)
            except Retryable:
                if attempt == TRIES - 1:
                    raise
                time.sleep(2**attempt)
        raise AssertionError  # the last try returns or raises


def in_order(work: Callable[[T], R], items: Iterator[T], threads: int) -> Iterator[R]:
    """As ``map``, with so many threads and a bounded number of items under way."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 8 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Peekable:
    def __init__(self, items: Iterator[Kept]) -> None:
        self._items = items
        self._next = next(items, None)

    def at(self, key: str) -> Kept | None:
        """What has this key. Keys must be asked for in order."""
        while self._next is not None and self._next.key < key:
            self._next = next(self._items, None)
        return self._next if self._next is not None and self._next.key == key else None


def _at(previous: Sequence[_Peekable], key: str) -> list[Kept]:
    return [found for each in previous if (found := each.at(key)) is not None]
