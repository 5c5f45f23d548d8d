"""Restores: what comes back is what was there, and nothing else is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from services.ui.passwords import verify_password
from shared.credentials import digest, new_token
from shared.db import copying, events, projects, rounds, users
from shared.db.copying import clear
from shared.db.migrate import migrate, migrations
from shared.domain import JobKind
from shared.errors import Conflict, Permanent
from shared.store.disk import DiskStore
from shared.store.s3 import S3Store
from tests.integration.backup_support import (
    ODD,
    backed_up,
    empty_place,
    environment,
    killed_when,
    many_scores,
    objects,
    restored,
    score_key,
    stored_world,
    tables,
    winnow,
)
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server
from tests.world import World, open_system
from winnow.local import read_stack, start_postgres
from winnow.places import Place
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


def test_a_cleared_database_can_be_migrated_again(migrated_database_url: str) -> None:
    clear(migrated_database_url)
    assert migrate(migrated_database_url) == [m.name for m in migrations()]


def test_a_restore_brings_back_every_row_and_every_object(live: Place, elsewhere: Place, tmp_path: Path) -> None:
    before = tables(live.database_url)
    backed_up(live, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    assert tables(elsewhere.database_url) == before
    assert objects(elsewhere.store) == objects(live.store)


def test_the_loop_goes_on_after_a_restore(live: Place, elsewhere: Place, world: World, tmp_path: Path) -> None:
    backed_up(live, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    with open_system(elsewhere.database_url, tmp_path / "elsewhere") as system:
        again = replace(world, system=system)
        system.rounds.nudge(world.id)
        assert again.queued() == [JobKind.TRAIN]
        again.do_train(accuracy=0.5)
        again.do_score()
        assert again.do_select()
        with system.ledger.transaction() as tx:
            assert users.add(tx, "newcomer", "New", "-").id > world.user().id
            assert len(rounds.curve(tx, world.id)) == 1


def test_who_was_signed_in_signs_in_again(live: Place, elsewhere: Place, world: World, tmp_path: Path) -> None:
    token = new_token()
    with world.system.ledger.transaction() as tx:
        users.open_session(tx, world.user().id, digest(token), hours=1)
    backed_up(live, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    with open_system(elsewhere.database_url, tmp_path / "elsewhere") as system, system.ledger.transaction() as tx:
        assert users.user_of_session(tx, digest(token)) is None
        assert users.credentials(tx, "ann") is not None


def test_a_database_as_winnow_migrate_leaves_it_is_empty_enough(live: Place, elsewhere: Place, tmp_path: Path) -> None:
    migrate(elsewhere.database_url)
    with open_system(elsewhere.database_url, tmp_path / "elsewhere") as system, system.ledger.transaction() as tx:
        users.add(tx, "admin", "Admin", "-")
        events.record(tx, None, "system", "user.added")
    before = tables(live.database_url)
    backed_up(live, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    assert tables(elsewhere.database_url) == before


def test_a_database_with_projects_is_left_alone(live: Place, tmp_path: Path) -> None:
    backed_up(live, tmp_path / "backup")
    before = tables(live.database_url), objects(live.store)
    with pytest.raises(Conflict, match="not empty"):
        restored(live, tmp_path / "backup")
    assert (tables(live.database_url), objects(live.store)) == before


def test_a_database_that_services_use_is_left_alone(live: Place, elsewhere: Place, tmp_path: Path) -> None:
    backed_up(live, tmp_path / "backup")
    migrate(elsewhere.database_url)
    with open_system(elsewhere.database_url, tmp_path / "elsewhere") as system:
        system.database.check()
        with pytest.raises(Conflict, match="stop them first"):
            restored(elsewhere, tmp_path / "backup")


def test_a_database_that_holds_something_else_is_left_alone(live: Place, elsewhere: Place, tmp_path: Path) -> None:
    backed_up(live, tmp_path / "backup")
    with psycopg2.connect(elsewhere.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE invoices (id int)")
    with pytest.raises(Conflict, match="invoices"):
        restored(elsewhere, tmp_path / "backup")


def test_a_snapshot_of_a_newer_version_is_refused(live: Place, elsewhere: Place, tmp_path: Path) -> None:
    made = backed_up(live, tmp_path / "backup").manifest
    path = tmp_path / "backup" / "snapshots" / made.name / "manifest.json"
    path.write_text(path.read_text().replace(f'"migration": {made.migration}', '"migration": 9999'))
    with pytest.raises(Conflict, match="upgrade"):
        restored(elsewhere, tmp_path / "backup")


def test_a_backup_from_s3_restores_into_a_folder_and_back(
    live: Place, elsewhere: Place, tmp_path: Path, s3: S3Server, unique: str
) -> None:
    def bucket(name: str) -> S3Store:
        return S3Store(
            endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, region=s3.region, bucket=name
        )

    cloud = Place(database_url=live.database_url, store=bucket(unique))
    for key, body in objects(live.store).items():
        cloud.store.put_bytes(key, body)
    backed_up(cloud, tmp_path / "backup")
    assert backed_up(cloud, tmp_path / "backup").fetched == 0
    restored(elsewhere, tmp_path / "backup")
    assert objects(elsewhere.store) == objects(live.store)
    clear(elsewhere.database_url)
    again = Place(database_url=elsewhere.database_url, store=bucket(f"{unique}-2"))
    restored(again, tmp_path / "backup")
    assert objects(again.store) == objects(live.store)


@pytest.mark.parametrize(
    "victim", ["objects/??/????????*", "snapshots/*/tables/labels.csv.gz", "snapshots/*/objects.jsonl.gz"]
)
@pytest.mark.parametrize("how", ["changed", "cut off", "gone"])
def test_a_damaged_backup_is_found_and_refused(
    live: Place, elsewhere: Place, tmp_path: Path, victim: str, how: str
) -> None:
    backed_up(live, tmp_path / "backup")
    assert list(damages(tmp_path / "backup", None)) == []
    path = next((tmp_path / "backup").glob(victim))
    body = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(body[:-1] if how == "cut off" else body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])
    assert list(damages(tmp_path / "backup", None))
    with pytest.raises(Permanent):
        restored(elsewhere, tmp_path / "backup")
    assert migrate(elsewhere.database_url), "the database was not touched"


def test_a_restore_that_was_killed_left_no_rows_and_the_next_goes_on(
    live: Place, elsewhere: Place, world: World, tmp_path: Path
) -> None:
    many_scores(live, world, 3000)
    before = tables(live.database_url)
    backed_up(live, tmp_path / "backup")
    env = environment(elsewhere, tmp_path / "elsewhere")
    killed_when(lambda: len(objects(elsewhere.store)) > 200, env, "restore", str(tmp_path / "backup"))
    with copying.snapshot(elsewhere.database_url) as session:
        assert session.tables() == []
    done = restored(elsewhere, tmp_path / "backup")
    assert 0 < done.written < done.manifest.objects - 100
    assert tables(elsewhere.database_url) == before
    assert objects(elsewhere.store) == objects(live.store)


def test_what_is_left_of_another_history_is_not_mistaken_for_the_snapshots(
    live: Place, elsewhere: Place, world: World, tmp_path: Path
) -> None:
    key = score_key(world, 1)
    backed_up(live, tmp_path / "backup")
    elsewhere.store.put_bytes(key, b"scores of a model that is no more")
    with pytest.raises(Conflict, match=key):
        restored(elsewhere, tmp_path / "backup")
    assert elsewhere.store.exists(key)
    assert restored(elsewhere, tmp_path / "backup", replace=True).deleted == 1
    assert objects(elsewhere.store) == objects(live.store)


def test_a_local_stack_that_does_not_run_moves_to_another_folder(live: Place, tmp_path: Path) -> None:
    before, first, second = objects(live.store), str(tmp_path / "first"), str(tmp_path / "second")
    backed_up(live, tmp_path / "first")
    winnow("restore", first, "--data", str(tmp_path / "one"))
    winnow("backup", second, "--data", str(tmp_path / "one"))
    winnow("restore", second, "--data", str(tmp_path / "two"))
    assert "the snapshot is whole" in winnow("verify", second)
    assert "sound" in winnow("backups", second)
    assert objects(DiskStore(tmp_path / "two" / "objects")) == before
    server = start_postgres(tmp_path / "two" / "postgres")
    try:
        with open_system(server.get_uri(), tmp_path / "two" / "objects") as system, system.ledger.transaction() as tx:
            assert projects.page(tx)[0].name == ODD
            admin = users.credentials(tx, "admin")
        password = read_stack(tmp_path / "two").password
        assert admin is not None and verify_password(admin.password_hash, password)
    finally:
        server.stop()
