"""Exports as work: asked for, made once whatever dies, offered whole or not at all, and deleted in the end."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.api import making
from services.api.making import ExportHandler
from shared import exports
from shared.db import events, jobs
from shared.db import exports as rows
from shared.db.events import Wanted
from shared.db.exports import Export, ExportForm, ExportState
from shared.domain import JobKind, JobState
from shared.errors import Conflict, NotFound
from shared.exporting import Exporter
from shared.retention import Retention
from shared.settings import RetentionSettings, WorkerSettings
from shared.store.base import exports_of, image_key
from shared.store.pieces import read
from shared.system import System
from shared.webhooks import EventType
from shared.worker import Worker
from tests.exporting import ask, handler, look, made, make, with_contents
from tests.integration.api_support import Api, open_api
from tests.integration.webhooks_support import Post
from tests.receiver import receiver
from tests.waiting import wait_for
from tests.world import World, build, open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


def labelled(system: System, **settings: Any) -> World:
    """Six images with contents, of which people have labelled four."""
    world = with_contents(build(system, pool=6, initial=4, batch_size=2, shard_size=6, **settings))
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(4)
    return world


@pytest.fixture
def world(system: System) -> World:
    return labelled(system)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PIECE", 300)


def body_of(world: World, one: Export) -> bytes:
    assert one.contents is not None
    held = one.contents
    return b"".join(read(world.system.store, held.key, held.piece_bytes, 0, held.bytes))


def test_an_export_holds_what_the_stream_holds_and_says_so(world: World) -> None:
    one = made(world)
    assert one.state is ExportState.READY and one.contents is not None
    body = body_of(world, one)
    assert (one.contents.images, one.contents.labels) == (6, 4)
    assert one.contents.sha256 == hashlib.sha256(body).hexdigest()
    archive = zipfile.ZipFile(io.BytesIO(body))
    streamed = zipfile.ZipFile(io.BytesIO(b"".join(Exporter(world.system.database, world.system.store).zip(world.id))))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        name: streamed.read(name) for name in streamed.namelist()
    }
    assert len(list(world.system.store.list(one.contents.key))) > 3, "it lies in pieces"


def test_an_export_is_of_one_moment_whatever_comes_after(world: World) -> None:
    one = made(world, ExportForm.CSV)
    assert one.contents is not None
    with world.system.database.transaction() as tx:
        tx.run("UPDATE labels SET class_id = %(id)s", {"id": world.classes[1].id})
    before = body_of(world, one)
    assert before.count(b",a,human,") == 4
    again = body_of(world, made(world, ExportForm.CSV))
    assert again.count(b",b,human,") == 4
    with world.system.database.transaction() as tx:
        row = tx.one("SELECT max(created_at) AS last FROM labels")
    assert row is not None and one.contents.moment > row["last"]


def test_what_changes_while_the_rows_are_read_is_not_in_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows come one by one: the others are changed and committed after the first."""
    from shared import exporting

    def change(read: int) -> None:
        with world.system.database.transaction() as tx:
            tx.run("UPDATE images SET filename = 'changed.png'")
            tx.run("UPDATE classes SET name = 'z' WHERE position = 0")

    monkeypatch.setattr(exporting, "BATCH", 1)
    exporter = Exporter(world.system.database, world.system.store)
    body = b"".join(exporter.take(world.id, ExportForm.CSV, watch=change).body)
    assert b"changed.png" not in body and body.count(b",a,human,") == 4


def test_asking_twice_before_it_was_begun_is_asking_once(world: World) -> None:
    first = ask(world)
    assert ask(world).id == first.id
    assert ask(world, ExportForm.CSV).id != first.id
    assert ask(world, actor="user:2").id != first.id
    make(world)
    assert ask(world).id != first.id, "it may be of an earlier moment than what is asked for now"


def test_a_project_has_only_so_many_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "MOST_KEPT", 2)
    first = made(world)
    made(world)
    with pytest.raises(Conflict, match="delete one"):
        ask(world)
    delete(world, first)
    assert ask(world).state is ExportState.QUEUED


def delete(world: World, one: Export) -> None:
    with world.system.ledger.transaction() as tx:
        exports.delete(tx, world.system.ledger, world.id, one.id, "user:1")


def kinds(world: World) -> list[str]:
    with world.system.database.transaction() as tx:
        found = events.search(tx, Wanted(project_id=world.id))
    return [one.kind for one in found if one.kind.startswith("export.")]


def test_what_was_done_is_on_record(world: World) -> None:
    delete(world, made(world))
    assert kinds(world) == ["export.deleted", "export.ready", "export.asked"]


def test_who_wants_to_know_is_told_once_it_is_ready(world: World) -> None:
    with receiver() as there:
        post = Post.of(world.system, world.id)
        endpoint, _ = post.endpoint(there.url(), EventType.EXPORT_READY)
        ask(world)
        assert post.messages(endpoint) == []
        make(world)
        message = post.message(endpoint)
    with world.system.database.transaction() as tx:
        (one,) = rows.page(tx, world.id)
    assert message.data == {"project_id": world.id, **exports.told(one)}
    assert message.data["file"] == f"/v1/projects/{world.id}/exports/{one.id}/file"


# What may go wrong


def test_an_image_that_is_lost_fails_the_export_for_good_and_names_it(world: World) -> None:
    lost = image_key(world.id, world.images[0].sha256)
    world.system.store.delete(lost)
    one = made(world)
    assert one.state is ExportState.FAILED and one.error is not None and lost in one.error
    assert one.contents is None
    with world.system.database.transaction() as tx, pytest.raises(Conflict, match="failed"):
        exports.downloadable(tx, world.id, one.id)


class Dies(Exception):
    """Stands for kill -9: nothing is recorded, nothing is given back."""


def test_a_worker_that_dies_half_way_leaves_the_export_to_another_and_no_half_file(world: World) -> None:
    one = ask(world)
    job = world.next_job(JobKind.EXPORT)
    dying = handler(world)

    class Context:
        calls = 0

        def check(self) -> None:
            self.calls += 1
            if self.calls > 8:
                raise Dies

        def report(self, progress: float, **detail: Any) -> None:
            pass

    with pytest.raises(Dies):
        dying.run(job, Context())  # type: ignore[arg-type]
    halves = list(world.system.store.list(exports_of(world.id)))
    assert halves, "it had begun to write"
    with world.system.database.transaction() as tx:
        tx.run("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = %(id)s", {"id": job.id})
        with pytest.raises(Conflict, match="still being prepared"):
            exports.downloadable(tx, world.id, one.id)
    with world.system.ledger.transaction() as tx:
        world.system.ledger.sweep(tx)
    make(world)
    ready = look(world, one)
    assert ready.state is ExportState.READY and ready.contents is not None
    assert zipfile.ZipFile(io.BytesIO(body_of(world, ready))).testzip() is None
    assert not set(halves) & set(world.system.store.list(ready.contents.key))
    prune(world)
    assert set(world.system.store.list(exports_of(world.id))) == set(world.system.store.list(ready.contents.key))
    assert body_of(world, ready)


def test_a_worker_that_lost_its_lease_publishes_nothing(world: World) -> None:
    with receiver() as there:
        post = Post.of(world.system, world.id)
        endpoint, _ = post.endpoint(there.url(), EventType.EXPORT_READY)
        one = ask(world)
        slow = world.next_job(JobKind.EXPORT)
        with world.system.database.transaction() as tx:
            tx.run("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = %(id)s", {"id": slow.id})
        quick = world.system.ledger.claim(slow.id, worker="another", lease_s=60)
        assert quick is not None
        worker = Worker(world.system.ledger, world.system.bus, [handler(world)], WorkerSettings())
        worker.work(quick)
        worker.work(slow)
        ready = look(world, one)
        assert ready.contents is not None and f"{slow.id}-{quick.fence}/" in ready.contents.key
        assert len(post.messages(endpoint)) == 1
    assert kinds(world).count("export.ready") == 1


def test_one_that_is_deleted_while_it_is_made_never_is(world: World) -> None:
    one = ask(world)
    begun, go_on = threading.Event(), threading.Event()

    class Waits(ExportHandler):
        def run(self, job: Any, context: Any) -> Any:
            publish = super().run(job, context)
            begun.set()
            go_on.wait(20)
            return publish

    job = world.next_job(JobKind.EXPORT)
    waiting = Waits(world.system.database, world.system.store, keep_s=60)
    worker = Worker(world.system.ledger, world.system.bus, [waiting], WorkerSettings(lease_s=60))
    thread = threading.Thread(target=worker.work, args=(job,))
    thread.start()
    assert begun.wait(20)
    delete(world, one)
    go_on.set()
    thread.join(20)
    assert look(world, one).state is ExportState.DELETED
    assert kinds(world) == ["export.deleted", "export.asked"]
    with world.system.database.transaction() as tx:
        assert jobs.get(tx, job.id).state is JobState.CANCELLED, "no failure that somebody has to see to"
    prune(world)
    assert list(world.system.store.list(exports_of(world.id))) == []


def test_a_service_that_stops_gives_the_export_back_at_once(world: World) -> None:
    one = ask(world)
    entered = threading.Event()

    class Endless(ExportHandler):
        def run(self, job: Any, context: Any) -> Any:
            entered.set()
            while True:
                context.check()

    endless = Endless(world.system.database, world.system.store, keep_s=60)
    worker = Worker(world.system.ledger, world.system.bus, [endless], WorkerSettings())
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert entered.wait(20)
    worker.stop()
    thread.join(20)
    assert look(world, one).state is ExportState.QUEUED
    make(world)
    assert look(world, one).state is ExportState.READY


# How it ends


def prune(world: World, **settings: Any) -> None:
    list(Retention(world.system.database, world.system.store, RetentionSettings(**settings)).prune())


def test_a_file_goes_when_its_time_is_over_and_what_it_held_stays_on_record(world: World) -> None:
    old, fresh = made(world), made(world)
    with world.system.database.transaction() as tx:
        tx.run("UPDATE exports SET expires_at = now() - interval '1 s' WHERE id = %(id)s", {"id": old.id})
    assert look(world, old).state is ExportState.DELETED, "at once, whenever somebody sweeps"
    prune(world)
    assert fresh.contents is not None and old.contents is not None
    assert {key.rpartition("/")[0] + "/" for key in world.system.store.list(exports_of(world.id))} == {
        fresh.contents.key
    }
    assert look(world, old).contents == old.contents
    with world.system.database.transaction() as tx, pytest.raises(NotFound, match="deleted"):
        exports.downloadable(tx, world.id, old.id)


def test_what_would_go_is_told_before_it_goes(world: World) -> None:
    old = made(world)
    with world.system.database.transaction() as tx:
        tx.run("UPDATE exports SET expires_at = now() - interval '1 s'")
    assert old.contents is not None
    told = list(Retention(world.system.database, world.system.store, RetentionSettings()).surplus())
    assert [(one.what, one.size) for one in told] == [("files of exports", old.contents.bytes)]


def test_one_that_failed_long_ago_is_no_trouble_any_more(world: World) -> None:
    world.system.store.delete(image_key(world.id, world.images[0].sha256))
    failed = made(world)
    with world.system.database.transaction() as tx:
        tx.run("UPDATE jobs SET finished_at = now() - interval '2 hours' WHERE kind = 'export'")
    prune(world, exports_s=7200 + 600)
    assert look(world, failed).state is ExportState.FAILED
    prune(world, exports_s=3600)
    assert look(world, failed).state is ExportState.DELETED
    assert world.system.ledger.requeue(project_id=world.id) == []


# Over HTTP


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


@pytest.fixture
def there(api: Api) -> World:
    return labelled(api.system)


def test_an_export_is_asked_for_watched_and_downloaded(api: Api, there: World) -> None:
    base = f"/v1/projects/{there.id}/exports"
    asked = api.client.post(base, json={"format": "zip"})
    assert asked.status_code == 202
    place = asked.headers["location"]
    assert api.client.get(place).json()["state"] == "running"
    file = f"{base}/{asked.json()['id']}/file"
    assert api.client.get(file).status_code == 409
    make(there)
    operation = api.client.get(place).json()
    assert (operation["state"], operation["kind"]) == ("done", "export")
    found = api.client.get(operation["resource"]).json()
    assert operation["result"] == {name: found[name] for name in ("images", "labels", "bytes")}
    assert found["file"] == file and found["state"] == "ready"
    answer = api.client.get(file)
    assert hashlib.sha256(answer.content).hexdigest() == found["sha256"]
    assert int(answer.headers["content-length"]) == found["bytes"] == len(answer.content)
    assert answer.headers["content-disposition"].endswith('.zip"')
    assert kinds(there)[0] == "export.downloaded"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=350-", 350, None), ("bytes=-5", -5, None), ("bytes=3-99999999", 3, None)],
)
def test_a_download_that_broke_off_goes_on_where_it_was(
    api: Api, there: World, asked: str, start: int, stop: int | None
) -> None:
    file = f"/v1/projects/{there.id}/exports/{made(there).id}/file"
    whole = api.client.get(file)
    etag, size = whole.headers["etag"], len(whole.content)
    rest = api.client.get(file, headers={"Range": asked, "If-Range": etag})
    assert rest.status_code == 206 and rest.content == whole.content[start:stop]
    first = start % size
    assert rest.headers["content-range"] == f"bytes {first}-{first + len(rest.content) - 1}/{size}"
    other = api.client.get(file, headers={"Range": asked, "If-Range": '"another"'})
    assert other.status_code == 200 and other.content == whole.content


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=1-2,5-6", "lines=1-2", "bytes=-", "bytes=a-"])
def test_what_is_no_range_is_passed_over(api: Api, there: World, asked: str) -> None:
    file = f"/v1/projects/{there.id}/exports/{made(there, ExportForm.CSV).id}/file"
    assert api.client.get(file, headers={"Range": asked}).status_code == 200


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(api: Api, there: World, asked: str) -> None:
    one = made(there, ExportForm.CSV)
    answer = api.client.get(f"/v1/projects/{there.id}/exports/{one.id}/file", headers={"Range": asked})
    assert answer.status_code == 416 and one.contents is not None
    assert answer.headers["content-range"] == f"bytes */{one.contents.bytes}"


def test_a_file_that_the_store_lost_is_not_found_before_the_answer_begins(api: Api, there: World) -> None:
    one = made(there)
    for key in api.system.store.list(exports_of(there.id)):
        api.system.store.delete(key)
    assert api.client.get(f"/v1/projects/{there.id}/exports/{one.id}/file").status_code == 404


def test_a_request_sent_twice_makes_one_export(api: Api, there: World) -> None:
    base, key = f"/v1/projects/{there.id}/exports", {"Idempotency-Key": "nightly"}
    first = api.client.post(base, json={"format": "csv"}, headers=key)
    make(there)
    again = api.client.post(base, json={"format": "csv"}, headers=key)
    assert again.status_code == 202 and again.headers["location"] == first.headers["location"]
    assert len(api.client.get(base).json()["items"]) == 1


def test_a_deleted_one_is_listed_and_can_not_be_downloaded(api: Api, there: World) -> None:
    base = f"/v1/projects/{there.id}/exports"
    made(there), made(there)
    second, first = api.client.get(base).json()["items"]
    assert api.client.delete(f"{base}/{first['id']}").status_code == 204
    assert api.client.delete(f"{base}/{first['id']}").status_code == 404
    assert api.client.get(f"{base}/{first['id']}").status_code == 404
    assert api.client.get(f"{base}/{first['id']}/file").status_code == 404
    page = api.client.get(base, params={"limit": 1}).json()
    assert [one["id"] for one in page["items"]] == [second["id"]]
    rest = api.client.get(base, params={"cursor": page["next_cursor"]}).json()["items"]
    assert [(one["state"], one["sha256"], one["file"]) for one in rest] == [("deleted", first["sha256"], None)]


@pytest.mark.parametrize("body", [{}, {"format": "coco"}, {"format": "zip", "more": 1}])
def test_what_makes_no_sense_is_refused(api: Api, there: World, body: dict[str, Any]) -> None:
    assert api.client.post(f"/v1/projects/{there.id}/exports", json=body).status_code == 422
    assert api.client.post("/v1/projects/99/exports", json={"format": "csv"}).status_code == 404


def test_the_service_makes_exports_by_itself(world: World) -> None:
    """With the worker that an api runs, woken by the bus."""
    worker = Worker(world.system.ledger, world.system.bus, [handler(world)], WorkerSettings())
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        one = ask(world)
        wait_for(lambda: look(world, one).state is ExportState.READY, "the export", 20)
    finally:
        worker.stop()
        thread.join(20)
