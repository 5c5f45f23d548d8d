"""Backups: everything is in them, once, and what is damaged is never taken for whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from typer.testing import CliRunner

from shared.db import copying, locks
from shared.db.copying import deletion_held_off
from shared.db.migrate import migrate, migrations
from shared.errors import Conflict, NotFound, Permanent
from shared.gauges import DatabaseGauges
from shared.store.base import image_key
from tests.integration.backup_support import (
    Text,
    add_image,
    backed_up,
    empty_place,
    environment,
    killed_when,
    many_scores,
    objects,
    objects_in,
    restored,
    score_key,
    stored_world,
    world_images,
)
from tests.servers.postgres import PostgresServer
from tests.world import World
from winnow.cli import app
from winnow.places import Place
from winnow.snapshots import Folder
from winnow.verifying import damages


@pytest.fixture
def world(migrated_database_url: str, tmp_path: Path) -> Iterator[World]:
    with stored_world(migrated_database_url, tmp_path / "live") as world:
        yield world


@pytest.fixture
def live(world: World, migrated_database_url: str) -> Place:
    return Place(database_url=migrated_database_url, store=world.system.store)


@pytest.fixture
def elsewhere(postgres: PostgresServer, tmp_path: Path) -> Iterator[Place]:
    with empty_place(postgres, tmp_path / "elsewhere") as place:
        yield place


def test_every_table_is_backed_up_or_left_out_on_purpose(migrated_database_url: str) -> None:
    with psycopg2.connect(migrated_database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        assert {str(row[0]) for row in cursor.fetchall()} == {*copying.TABLES, *copying.LEFT_OUT}


def test_a_table_comes_after_those_that_it_refers_to(migrated_database_url: str) -> None:
    with psycopg2.connect(migrated_database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
        )
        for table, refers_to in cursor.fetchall():
            if table in copying.TABLES:
                assert copying.TABLES.index(refers_to) <= copying.TABLES.index(table)  # a COPY checks itself at its end


def test_what_is_written_after_the_moment_of_the_backup_is_not_in_it(
    live: Place, elsewhere: Place, world: World, tmp_path: Path
) -> None:
    with copying.snapshot(live.database_url) as session:
        assert session.migration() == migrations()[-1].number  # the first look is the moment
        world.answer(1, world.user("late"))
        text = Text()
        session.copy_out("users", session.columns("users"), text)
    assert b"ann" in text.body and b"late" not in text.body


def test_a_database_of_an_older_schema_is_migrated_before_it_is_backed_up(elsewhere: Place, tmp_path: Path) -> None:
    migrate(elsewhere.database_url, upto=1)
    with pytest.raises(Conflict, match="winnow migrate"):
        backed_up(elsewhere, tmp_path / "backup")


def test_a_second_backup_fetches_only_what_is_new(live: Place, world: World, tmp_path: Path) -> None:
    first = backed_up(live, tmp_path / "backup")
    add_image(world, b"another picture")
    second = backed_up(live, tmp_path / "backup")
    third = backed_up(live, tmp_path / "backup")
    assert first.fetched == first.manifest.objects
    assert (second.fetched, second.manifest.objects) == (1, first.manifest.objects + 1)
    assert (third.fetched, third.manifest.objects) == (0, second.manifest.objects)


def test_two_histories_in_one_folder_keep_their_own_bytes_under_one_key(
    live: Place, elsewhere: Place, world: World, tmp_path: Path
) -> None:
    """After a restore ids are given anew: the same key, and the same size, then hold another model's scores."""
    key = score_key(world, 1)
    before = backed_up(live, tmp_path / "backup").manifest
    live.store.put_bytes(key, b"one history")
    first = backed_up(live, tmp_path / "backup").manifest
    restored(elsewhere, tmp_path / "backup", before.name)
    elsewhere.store.put_bytes(key, b"the another")
    second = backed_up(elsewhere, tmp_path / "backup").manifest
    folder = Folder(tmp_path / "backup")
    for manifest, body in ((first, b"one history"), (second, b"the another")):
        (kept,) = [kept for kept in folder.index(manifest) if kept.key == key]
        assert b"".join(folder.vault.read(kept.sha256)) == body


@pytest.mark.parametrize("body", [b"rotten", b"x" * 320])
def test_an_image_damaged_in_the_store_is_named_and_the_rest_is_backed_up(
    live: Place, world: World, tmp_path: Path, body: bytes
) -> None:
    sha256 = world_images(world)[0]
    live.store.put_bytes(image_key(world.id, sha256), body)
    made = backed_up(live, tmp_path / "backup").manifest
    assert (made.problem_count, made.objects) == (1, len(objects(live.store)) - 1)
    assert image_key(world.id, sha256) in made.problems[0]
    env = {"WINNOW_STORE_PATH": str(tmp_path / "live"), "WINNOW_STORE_KIND": "disk"}
    command = ["backup", str(tmp_path / "other"), "--database", live.database_url]
    assert isinstance(CliRunner().invoke(app, command, env=env).exception, Permanent)


def test_what_the_store_has_lost_is_named_and_kept_from_the_backup_before(
    live: Place, elsewhere: Place, world: World, tmp_path: Path
) -> None:
    before = objects(live.store)
    backed_up(live, tmp_path / "backup")
    lost, rotten = world_images(world)[:2]
    live.store.delete(image_key(world.id, lost))
    live.store.put_bytes(image_key(world.id, rotten), b"rotten")
    made = backed_up(live, tmp_path / "backup").manifest
    assert sorted(lost in problem or rotten in problem for problem in made.problems) == [True, True]
    restored(elsewhere, tmp_path / "backup")
    assert objects(elsewhere.store) == before


def test_a_missing_pixel_pack_is_a_problem(live: Place, world: World, tmp_path: Path) -> None:
    (pack,) = [key for key in live.store.list("") if "/shards/" in key]
    live.store.delete(pack)
    assert pack in backed_up(live, tmp_path / "backup").manifest.problems[0]


def test_only_a_sound_backup_counts_as_one(live: Place, world: World, tmp_path: Path) -> None:
    def last() -> float | None:
        for metric in DatabaseGauges(world.system.database).collect():
            if metric.name == "winnow_backup_last_timestamp_seconds" and metric.samples:
                return metric.samples[0].value
        return None

    lost = image_key(world.id, world_images(world)[0])
    body = live.store.get(lost)
    live.store.delete(lost)
    backed_up(live, tmp_path / "backup")
    assert last() is None
    live.store.put_bytes(lost, body)
    backed_up(live, tmp_path / "backup")
    assert last() is not None


def test_a_damaged_file_that_was_deleted_is_fetched_anew(live: Place, tmp_path: Path) -> None:
    backed_up(live, tmp_path / "backup")
    objects_in(tmp_path / "backup")[0].unlink()
    assert backed_up(live, tmp_path / "backup").fetched == 1
    assert list(damages(tmp_path / "backup", None)) == []


def test_a_backup_that_was_killed_is_no_snapshot_and_the_next_goes_on(
    live: Place, world: World, tmp_path: Path
) -> None:
    many_scores(live, world, 3000)
    folder = tmp_path / "backup"
    env = environment(live, tmp_path / "live")
    killed_when(lambda: len(objects_in(folder)) > 300, env, "backup", str(folder))
    assert Folder(folder).names() == []
    report = backed_up(live, folder)
    assert report.fetched < report.manifest.objects - 200
    assert list(damages(folder, None)) == []
    assert sorted(path.name for path in (folder / "snapshots").iterdir()) == [report.manifest.name]


def test_two_commands_do_not_write_to_one_folder(live: Place, tmp_path: Path) -> None:
    with Folder(tmp_path / "backup").writing(), pytest.raises(Conflict, match="another command"):
        backed_up(live, tmp_path / "backup")


def test_only_the_newest_are_kept_with_what_they_need(live: Place, world: World, tmp_path: Path) -> None:
    gone = add_image(world, b"soon gone")
    first = backed_up(live, tmp_path / "backup").manifest
    live.store.delete(image_key(world.id, gone))
    second = backed_up(live, tmp_path / "backup", keep=2).manifest
    assert [m.name for m in Folder(tmp_path / "backup").manifests()] == [first.name, second.name]
    third = backed_up(live, tmp_path / "backup", keep=1).manifest
    assert Folder(tmp_path / "backup").names() == [third.name]
    assert gone not in [path.name for path in objects_in(tmp_path / "backup")]
    assert list(damages(tmp_path / "backup", None)) == []


def test_a_backup_with_problems_removes_none_before_it(live: Place, world: World, tmp_path: Path) -> None:
    sound = backed_up(live, tmp_path / "backup").manifest
    live.store.delete(next(key for key in live.store.list("") if "/shards/" in key))
    backed_up(live, tmp_path / "backup", keep=1)
    assert sound.name in Folder(tmp_path / "backup").names()


def test_deletion_waits_until_the_last_object_is_copied(live: Place, world: World) -> None:
    with deletion_held_off(live.database_url), world.system.ledger.transaction() as tx:
        assert not locks.may_delete(tx)
    with world.system.ledger.transaction() as tx:
        assert locks.may_delete(tx)


def test_a_folder_without_backups_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no backups"):
        Folder(tmp_path).manifest()
