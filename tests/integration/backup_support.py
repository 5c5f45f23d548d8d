"""A project with its objects, and the hands that back it up and bring it back."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from shared.db import contents, copying, images
from shared.domain import CheckpointId, ShardId
from shared.store.base import Store, image_key, pixels_key, scores_prefix
from shared.store.disk import DiskStore
from tests.servers.postgres import PostgresServer
from tests.waiting import wait_for
from tests.world import World, build, new_images, open_system
from winnow.backup import Report, back_up
from winnow.places import Place
from winnow.restore import Restored, restore

ODD = "a \"quoted\", comma,\nnew line, \\N, \\., \t, '' and ünïcode"


@contextmanager
def stored_world(database_url: str, folder: Path) -> Iterator[World]:
    """A project with its first answers and its objects, and with a name that CSV could stumble over."""
    with open_system(database_url, folder) as system:
        world = build(system, pool=0, name=ODD, initial=4, batch_size=4)
        bodies = [uuid.uuid4().bytes * 20 for _ in range(20)]
        rows = [
            replace(row, sha256=add_image(world, body))
            for row, body in zip(new_images(len(bodies)), bodies, strict=True)
        ]
        with system.ledger.transaction() as tx:
            images.add(tx, world.id, rows)
        world.start()
        world.do_embed()
        with system.ledger.transaction() as tx:
            (shard,) = contents.packs(tx, world.id)
        system.store.put_bytes(pixels_key(world.id, shard, world.project.settings.pixels_variant), b"pixels" * 1000)
        world.do_select()
        world.answer(8)
        yield world


@contextmanager
def empty_place(postgres: PostgresServer, folder: Path) -> Iterator[Place]:
    """An empty database, and an empty folder for a store."""
    url = postgres.create_database()
    yield Place(database_url=url, store=DiskStore(folder))
    postgres.drop_database(url)


def add_image(world: World, body: bytes) -> str:
    sha256 = hashlib.sha256(body).hexdigest()
    world.system.store.put_bytes(image_key(world.id, sha256), body)
    return sha256


def backed_up(at: Place, folder: Path, *, keep: int | None = None) -> Report:
    return back_up(at, folder, keep=keep, say=lambda line: None)


def restored(at: Place, folder: Path, name: str | None = None, *, replace: bool = False) -> Restored:
    return restore(at, folder, name, replace=replace, say=lambda line: None)


class Text:
    def __init__(self) -> None:
        self.body = b""

    def write(self, data: bytes) -> int:
        self.body += data
        return len(data)


def tables(url: str) -> dict[str, bytes]:
    """All that is in the database, but for what was noted about backups."""
    found = {}
    with copying.snapshot(url) as session:
        for table in session.tables():
            text = Text()
            session.copy_out(table, session.columns(table), text)
            found[table] = b"\n".join(line for line in text.body.split(b"\n") if b"backup." not in line)
    return found


def objects(store: Store) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list("")}


def score_key(world: World, shard: int) -> str:
    return scores_prefix(world.id, CheckpointId(1), ShardId(shard)) + "probabilities.npy"


def objects_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("objects/??/*") if path.is_file()]


def world_images(world: World) -> list[str]:
    with world.system.ledger.transaction() as tx:
        return list(contents.images(tx, world.id))


def environment(at: Place, store: Path) -> dict[str, str]:
    place = {"WINNOW_DATABASE_URL": at.database_url, "WINNOW_STORE_KIND": "disk", "WINNOW_STORE_PATH": str(store)}
    return {**os.environ, **place}


def many_scores(at: Place, world: World, count: int) -> None:
    for shard in range(count):
        at.store.put_bytes(score_key(world, shard), os.urandom(99))


def killed_when(condition: Callable[[], bool], env: dict[str, str], *arguments: str) -> None:
    child = subprocess.Popen([sys.executable, "-m", "winnow.cli", *arguments], env=env)
    wait_for(condition, "the first objects")
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was done before it could be killed"


def winnow(*arguments: str) -> str:
    """What the command prints, in a process of its own: that is who a Postgres started for it belongs to."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WINNOW_")}
    command = [sys.executable, "-m", "winnow.cli", *arguments]
    return subprocess.run(command, env={**env, "COLUMNS": "200"}, check=True, capture_output=True, text=True).stdout
