"""Backups: what comes back is what was there, and what is damaged is never taken for whole."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from shared.db import copying, users
from shared.db.migrate import migrate
from shared.domain import ShardId
from shared.errors import Conflict, Invalid, Permanent
from shared.store.base import Store, image_key, pixels_key
from shared.store.disk import DiskStore
from shared.store.s3 import S3Store
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server
from tests.waiting import wait_for
from tests.world import World, build, open_system
from winnow.backup import Backups

ODD = 'a "quoted", comma,\nnew line, \\N, \t and ünïcode'


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    """A project that has come through its first round, with a name that CSV could stumble over."""
    with open_system(migrated_database_url, tmp_path / "live") as system:
        world = build(system, pool=20, holdout=4, name=ODD, initial=4, batch_size=4)
        world.start()
        world.do_embed()
        world.do_select()
        world.answer(8)
        yield world


@pytest.fixture
def store(world: World) -> Store:
    """The live store, with an image and what is derived from it."""
    live = world.system.store
    add_image(world, live, b"picture")
    live.put_bytes(pixels_key(world.id, ShardId(1), "32x3"), b"pixels" * 1000)
    return live


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


def add_image(world: World, store: Store, body: bytes) -> str:
    digest = hashlib.sha256(body).hexdigest()
    key = image_key(world.id, digest)
    store.put_bytes(key, body)
    return key


def digests(url: str) -> dict[str, str]:
    """Of every table, row by row."""
    with copying.snapshot(url) as database:
        found = {}
        for table in copying.TABLES:
            out = io.BytesIO()
            database.dump(table, out)
            found[table] = hashlib.sha256(out.getvalue()).hexdigest()
        return found


def contents(store: Store) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list("")}


def test_every_table_is_backed_up_or_left_out_on_purpose(migrated_database_url: str) -> None:
    with psycopg2.connect(migrated_database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = {str(row[0]) for row in cursor.fetchall()}
    assert tables == {*copying.TABLES, *copying.LEFT_OUT}


def test_a_restore_brings_back_every_row_and_every_object(
    world: World, store: Store, migrated_database_url: str, empty_database: str, tmp_path: Path
) -> None:
    backups = Backups(tmp_path / "backup")
    manifest = backups.create(migrated_database_url, store)
    elsewhere = DiskStore(tmp_path / "elsewhere")
    backups.restore(manifest, empty_database, elsewhere)
    assert digests(empty_database) == digests(migrated_database_url)
    assert contents(elsewhere) == contents(store)
    assert manifest.rows["annotations"] == 8


def test_new_rows_get_new_numbers_after_a_restore(
    world: World, store: Store, migrated_database_url: str, empty_database: str, tmp_path: Path
) -> None:
    backups = Backups(tmp_path / "backup")
    backups.restore(backups.create(migrated_database_url, store), empty_database, DiskStore(tmp_path / "elsewhere"))
    with open_system(empty_database, tmp_path / "elsewhere") as system, system.ledger.transaction() as tx:
        assert users.add(tx, "newcomer", "New", "-").id > world.user().id


def test_a_backup_from_s3_restores_into_a_folder(
    world: World, migrated_database_url: str, empty_database: str, tmp_path: Path, s3: S3Server, unique: str
) -> None:
    cloud = S3Store(
        endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, region=s3.region, bucket=unique
    )
    for number in range(30):
        add_image(world, cloud, f"picture {number}".encode())
    backups = Backups(tmp_path / "backup")
    folder = DiskStore(tmp_path / "elsewhere")
    backups.restore(backups.create(migrated_database_url, cloud), empty_database, folder)
    assert contents(folder) == contents(cloud)


def test_a_second_backup_fetches_only_what_is_new(
    world: World, store: Store, migrated_database_url: str, tmp_path: Path
) -> None:
    backups = Backups(tmp_path / "backup")
    first = backups.create(migrated_database_url, store)
    add_image(world, store, b"another picture")
    second = backups.create(migrated_database_url, store)
    assert (first.fetched, second.fetched, second.objects) == (first.objects, 1, first.objects + 1)


def test_an_image_that_was_damaged_in_the_store_is_named(
    world: World, store: Store, migrated_database_url: str, tmp_path: Path
) -> None:
    key = add_image(world, store, b"soon to rot")
    store.put_bytes(key, b"rotten")
    with pytest.raises(Permanent, match=key):
        Backups(tmp_path / "backup").create(migrated_database_url, store)


@pytest.mark.parametrize("victim", ["objects/projects/*/images/*", "snapshots/*/tables/labels.csv.gz"])
def test_a_damaged_backup_is_refused_before_anything_is_restored(
    world: World, store: Store, migrated_database_url: str, empty_database: str, tmp_path: Path, victim: str
) -> None:
    backups = Backups(tmp_path / "backup")
    manifest = backups.create(migrated_database_url, store)
    path = next((tmp_path / "backup").glob(victim))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Invalid, match="damaged"):
        backups.restore(manifest, empty_database, DiskStore(tmp_path / "elsewhere"))
    assert migrate(empty_database), "the database was not touched"


def test_a_database_that_is_not_empty_is_left_alone(
    world: World, store: Store, migrated_database_url: str, tmp_path: Path
) -> None:
    backups = Backups(tmp_path / "backup")
    before = digests(migrated_database_url)
    with pytest.raises(Conflict, match="not empty"):
        backups.restore(backups.create(migrated_database_url, store), migrated_database_url, store)
    assert digests(migrated_database_url) == before


def test_a_backup_that_was_killed_is_no_snapshot_and_the_next_goes_on(
    world: World, migrated_database_url: str, tmp_path: Path
) -> None:
    for number in range(3000):
        add_image(world, world.system.store, os.urandom(2000) + str(number).encode())
    folder = tmp_path / "backup"
    env = {**os.environ, "WINNOW_DATABASE_URL": migrated_database_url, "WINNOW_STORE_PATH": str(tmp_path / "live")}
    child = subprocess.Popen([sys.executable, "-m", "winnow.cli", "backup", str(folder)], env=env)
    wait_for(lambda: len(list(folder.glob("objects/projects/*/images/*"))) > 100, "the first objects")
    child.send_signal(signal.SIGKILL)
    child.wait()
    backups = Backups(folder)
    assert backups.all() == []
    manifest = backups.create(migrated_database_url, world.system.store)
    assert manifest.fetched < manifest.objects
    assert list(backups.damage(manifest)) == []


def test_only_the_newest_are_kept_with_what_they_need(
    world: World, store: Store, migrated_database_url: str, tmp_path: Path
) -> None:
    backups = Backups(tmp_path / "backup")
    gone = add_image(world, store, b"soon gone")
    backups.create(migrated_database_url, store)
    store.delete(gone)
    newest = backups.create(migrated_database_url, store)
    assert backups.keep(1) == (1, 1)
    assert [manifest.name for manifest in backups.all()] == [newest.name]
    assert list(backups.damage(newest)) == []
