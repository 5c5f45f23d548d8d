"""What both stores promise, on a real folder and a real S3 server."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from shared.domain import ProjectId, ShardId
from shared.errors import Invalid, NotFound, Retryable
from shared.store.base import Store, checkpoint_prefix, features_key, image_key, pixels_key, view_key
from shared.store.disk import DiskStore
from shared.store.s3 import S3Store
from tests.servers.s3 import S3Server

MB = 1 << 20


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, unique: str, tmp_path: Path) -> Store:
    if request.param == "disk":
        return DiskStore(tmp_path / "store")
    s3: S3Server = request.getfixturevalue("s3")
    return S3Store(
        endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, region=s3.region, bucket=unique
    )


def test_what_was_put_is_got(store: Store) -> None:
    store.put_bytes("a/b.bin", b"\x00hello\xff")
    assert store.get("a/b.bin") == b"\x00hello\xff"


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put_bytes("empty", b"")
    assert store.exists("empty")
    assert store.get("empty") == b""


def test_a_second_put_replaces_the_first(store: Store) -> None:
    store.put_bytes("a", b"first, and longer")
    store.put_bytes("a", b"second")
    assert store.get("a") == b"second"


def test_only_so_many_bytes_are_taken_from_a_body_as_were_announced(store: Store) -> None:
    body = io.BytesIO(b"hello world")
    store.put("a", body, 5)
    assert store.get("a") == b"hello"
    assert body.read() == b" world"


@pytest.mark.parametrize("length", [100, 20 * MB])
def test_a_body_that_ends_early_is_refused_and_leaves_nothing(store: Store, length: int) -> None:
    with pytest.raises(Invalid, match=f"ended after {length - 1} of {length}"):
        store.put("a", io.BytesIO(bytes(length - 1)), length)
    assert not store.exists("a")
    assert list(store.list("")) == []


def test_a_body_that_ends_early_leaves_what_was_there(store: Store) -> None:
    store.put_bytes("a", b"first")
    with pytest.raises(Invalid):
        store.put("a", io.BytesIO(b"second"), 7)
    assert store.get("a") == b"first"


def test_a_large_object_streams_in_and_out_unchanged(store: Store) -> None:
    body = np.random.default_rng(0).bytes(20 * MB + 17)
    store.put("large", io.BytesIO(body), len(body))
    digest, largest = hashlib.sha256(), 0
    with store.open("large") as chunks:
        for chunk in chunks:
            digest.update(chunk)
            largest = max(largest, len(chunk))
    assert digest.digest() == hashlib.sha256(body).digest()
    assert largest <= MB


def test_a_stream_may_be_left_before_its_end(store: Store) -> None:
    store.put_bytes("large", bytes(5 * MB))
    for _ in range(3):
        with store.open("large") as chunks:
            next(chunks)
    assert len(store.get("large")) == 5 * MB


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 3, b"012"), (4, 3, b"456"), (8, 5, b"89"), (10, 5, b""), (99, 1, b""), (3, 0, b""), (0, 10, b"0123456789")],
)
def test_a_range_is_a_part_of_the_object(store: Store, start: int, length: int, expected: bytes) -> None:
    store.put_bytes("digits", b"0123456789")
    assert store.get_range("digits", start, length) == expected


def test_a_range_of_an_empty_object_is_empty(store: Store) -> None:
    store.put_bytes("empty", b"")
    assert store.get_range("empty", 0, 5) == b""


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, -1)])
def test_a_range_that_is_none_is_refused(store: Store, start: int, length: int) -> None:
    with pytest.raises(Invalid):
        store.get_range("digits", start, length)


def test_what_is_not_there_is_not_found(store: Store) -> None:
    store.put_bytes("a/b", b"x")
    for key in ("missing", "a", "a/c", "a/b/c"):
        assert not store.exists(key)
        with pytest.raises(NotFound, match=key):
            store.get(key)
        with pytest.raises(NotFound, match=key):
            store.get_range(key, 0, 1)
        with pytest.raises(NotFound, match=key):
            store.get_range(key, 0, 0)
        with pytest.raises(NotFound, match=key), store.open(key):
            pass


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put_bytes("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/there")
    assert not store.exists("a/b")


def test_keys_are_listed_in_the_order_of_their_bytes(store: Store) -> None:
    keys = ["a-b", "a.b", "a/b", "a/b0", "a0", "a=b", "aB", "a_b", "ab/c/d", "b", "B"]
    for key in keys:
        store.put_bytes(key, b"x")
    assert list(store.list("")) == sorted(keys)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("p/1/", ["p/1/a", "p/1/b/c"]),
        ("p/1", ["p/1/a", "p/1/b/c", "p/10/a"]),
        ("p/1/b", ["p/1/b/c"]),
        ("p/3/", []),
        ("q", []),
        ("p/1/a/", []),
    ],
)
def test_a_listing_begins_with_the_prefix(store: Store, prefix: str, expected: list[str]) -> None:
    for key in ("p/1/a", "p/1/b/c", "p/10/a", "p/2/a"):
        store.put_bytes(key, b"x")
    assert list(store.list(prefix)) == expected


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".hidden", "a/.hidden"),
        *("a\\b", "a b", "a\x00b", "a\nb", "a\n", "é", "a" * 256, "a/" * 600 + "a"),
    ],
)
def test_a_key_that_is_none_is_refused(store: Store, key: str) -> None:
    for use in (
        store.get,
        store.exists,
        store.delete,
        lambda k: store.put_bytes(k, b"x"),
        lambda k: store.open(k).__enter__(),
    ):
        with pytest.raises(Invalid, match="not a key"):
            use(key)


@pytest.mark.parametrize("prefix", ["/", "..", "../", "a/../", "a//", "a/.."])
def test_a_prefix_that_is_none_is_refused_at_once(store: Store, prefix: str) -> None:
    with pytest.raises(Invalid, match="no key"):
        store.list(prefix)


def test_the_keys_of_the_layout_are_keys(store: Store) -> None:
    project, digest = ProjectId(1), "0" * 64
    keys = [
        image_key(project, digest),
        view_key(project, digest),
        pixels_key(project, ShardId(2), "32x32x3"),
        features_key(project, ShardId(2), "resnet18-224"),
        checkpoint_prefix(project, "5-1") + "model.safetensors",
    ]
    for key in keys:
        store.put_bytes(key, b"x")
    assert list(store.list("projects/1/")) == sorted(keys)


def test_a_listing_tells_size_and_time_of_each_object(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # a store may know times to the second only
    store.put_bytes("a/b", b"12345")
    store.put_bytes("a/c/d", b"")
    store.put_bytes("b", b"1")
    found = list(store.entries("a/"))
    assert [(entry.key, entry.size) for entry in found] == [("a/b", 5), ("a/c/d", 0)]
    assert all(before <= entry.modified <= datetime.now(UTC) + timedelta(seconds=2) for entry in found)


def test_a_listing_is_in_the_order_of_bytes(store: Store) -> None:
    keys = ["p/1/x", "p/10/x", "p/2/x", "p/1-a", "p/1.b", "p/1_c", "p/1A"]
    for key in keys:
        store.put_bytes(key, b"x")
    assert [entry.key for entry in store.entries("p/")] == sorted(keys)


def test_many_writers_of_one_key_leave_one_whole_object(store: Store) -> None:
    bodies = [bytes([number]) * 200_000 for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda body: store.put_bytes("contested", body), bodies * 3))
    assert store.get("contested") in bodies


def test_many_threads_may_put_and_get_at_once(store: Store) -> None:
    def there_and_back(number: int) -> bool:
        body = str(number).encode() * 1000
        store.put_bytes(f"many/{number}", body)
        return store.get(f"many/{number}") == body

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(there_and_back, range(100)))


def test_a_store_that_works_passes_its_check_and_keeps_nothing_of_it(store: Store) -> None:
    store.check()
    assert list(store.list("")) == []


class Breaking(io.BytesIO):
    """A body whose connection is lost after the first piece."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise ConnectionResetError("the peer is gone")
        return super().read(3)


def test_a_body_that_breaks_is_told_from_a_store_that_does(store: Store) -> None:
    store.put_bytes("a", b"old")
    with pytest.raises(Retryable, match=r"the body could not be read after 3 of 6 bytes: the peer is gone"):
        store.put("a", Breaking(b"abcdef"), 6)
    assert store.get("a") == b"old"
