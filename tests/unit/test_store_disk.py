"""What only the store in a folder can do, or get wrong. What all stores promise is tested with the S3 server's."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from shared.errors import Invalid, Permanent, Retryable
from shared.settings import StoreSettings
from shared.store.disk import ABANDONED_S, INCOMING, DiskStore
from shared.store.factory import open_store


class Breaking(io.BytesIO):
    """A body whose connection is lost after the first piece."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise ConnectionResetError("the peer is gone")
        return super().read(3)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_object_lies_at_its_key(tmp_path: Path) -> None:
    DiskStore(tmp_path).put_bytes("projects/1/images/ab", b"x")
    assert (tmp_path / "projects/1/images/ab").read_bytes() == b"x"


def test_a_store_opened_again_has_what_it_had(tmp_path: Path) -> None:
    DiskStore(tmp_path).put_bytes("a", b"x")
    assert DiskStore(tmp_path).get("a") == b"x"


def test_a_body_that_breaks_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="the peer is gone"):
        DiskStore(tmp_path).put("a", Breaking(b"abcdef"), 6)
    assert files(tmp_path) == []


def test_a_put_that_is_interrupted_leaves_the_old_object_whole(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.put_bytes("a", b"old")
    with pytest.raises(Retryable, match="the peer is gone"):
        store.put("a", Breaking(b"abcdef"), 6)
    assert store.get("a") == b"old"


def test_what_a_dead_process_left_incoming_is_cleared_and_what_is_fresh_is_not(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.put_bytes("a", b"x")
    for name, age in (("dead", ABANDONED_S + 60), ("fresh", 0.0)):
        path = tmp_path / INCOMING / name
        path.write_bytes(b"half")
        written = path.stat().st_mtime - age
        os.utime(path, (written, written))
    DiskStore(tmp_path)
    assert files(tmp_path) == [f"{INCOMING}/fresh", "a"]


def test_incoming_files_are_no_objects(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    (tmp_path / INCOMING / "half").write_bytes(b"half")
    assert list(store.list("")) == []


def test_a_key_on_the_path_of_another_is_refused_and_harms_neither(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.put_bytes("a", b"file")
    store.put_bytes("b/c", b"below")
    with pytest.raises(Invalid, match="part of its path"):
        store.put_bytes("a/b", b"x")
    with pytest.raises(Invalid, match="part of its path"):
        store.put_bytes("b", b"x")
    assert files(tmp_path) == ["a", "b/c"]


def test_no_signed_links(tmp_path: Path) -> None:
    assert DiskStore(tmp_path).presigned_get("a", 60) is None


def test_a_folder_that_can_not_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Permanent, match="file"):
        DiskStore(tmp_path / "file" / "store")


def test_the_settings_choose_this_store(tmp_path: Path) -> None:
    open_store(StoreSettings(kind="disk", path=tmp_path / "store")).check()
    assert (tmp_path / "store").is_dir()
