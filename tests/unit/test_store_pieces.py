"""Files in pieces: whatever the sizes, what is read is what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.errors import NotFound
from shared.store.disk import DiskStore
from shared.store.pieces import read, save

PREFIX = "projects/1/exports/7-1/"


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path)


def chunks(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 95, 100])
@pytest.mark.parametrize("chunk", [1, 3, 10, 200])
def test_what_was_written_in_pieces_is_read_as_one(store: DiskStore, length: int, chunk: int) -> None:
    body = np.random.default_rng(length).bytes(length)
    stored = save(store, PREFIX, chunks(body, chunk), piece_bytes=10)
    assert (stored.bytes, stored.sha256) == (length, hashlib.sha256(body).hexdigest())
    assert len(list(store.list(PREFIX))) == -(-length // 10)
    assert b"".join(read(store, PREFIX, 10, 0, length)) == body


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (3, 9), (9, 11), (10, 20), (5, 35), (34, 35), (7, 7)])
def test_any_part_is_read_without_the_rest(store: DiskStore, start: int, stop: int) -> None:
    body = bytes(range(35))
    save(store, PREFIX, [body], piece_bytes=10)
    assert b"".join(read(store, PREFIX, 10, start, stop)) == body[start:stop]


def test_a_piece_that_is_gone_is_not_passed_over(store: DiskStore) -> None:
    save(store, PREFIX, [bytes(35)], piece_bytes=10)
    store.delete(f"{PREFIX}000002")
    with pytest.raises(NotFound):
        list(read(store, PREFIX, 10, 0, 35))


def test_a_file_that_breaks_off_leaves_its_error(store: DiskStore) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(15)
        raise NotFound("an image is gone")

    with pytest.raises(NotFound, match="an image is gone"):
        save(store, PREFIX, broken(), piece_bytes=10)
