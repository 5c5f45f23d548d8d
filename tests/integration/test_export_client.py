"""Taking an export along by program, over connections that break off."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from shared.domain import Scope
from shared.errors import Conflict, NotFound, Retryable
from shared.store.base import image_key
from tests.exporting import made, make, with_contents
from tests.integration.api_support import Api, add_key, open_api
from tests.world import World, build
from winnow.client import Client


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


@pytest.fixture
def world(api: Api) -> World:
    world = with_contents(build(api.system, pool=6, initial=4, batch_size=2, shard_size=6))
    world.start()
    world.do_embed()
    world.do_select()
    world.answer(4)
    return world


class Line(httpx.BaseTransport):
    """A line to the api that is cut after so many bytes of an answer's body, again and again."""

    def __init__(self, app: TestClient, cut_at: int | None) -> None:
        self._app, self._cut_at = app, cut_at
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {**request.headers, "accept-encoding": "identity"}
        answer = self._app.request(
            request.method, str(request.url.raw_path, "ascii"), content=request.read(), headers=headers
        )
        if not request.url.path.endswith("/file"):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        self.asked.append(request.headers.get("range", ""))
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Cut(answer.content, self._cut_at))


class Cut(httpx.SyncByteStream):
    def __init__(self, body: bytes, at: int | None) -> None:
        self._body, self._at = body, at

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: self._at]
        if self._at is not None and len(self._body) > self._at:
            raise httpx.ReadError("the line was cut")


def client(api: Api, cut_at: int | None = None) -> tuple[Client, Line]:
    line = Line(TestClient(api.client.app), cut_at)
    found = Client("http://api", add_key(api.system, Scope.READ))
    found._client = httpx.Client(
        base_url="http://testserver", headers={"Authorization": found._client.headers["authorization"]}, transport=line
    )
    found._sleep = lambda seconds: None
    return found, line


def ready(world: World, who: Client) -> dict[str, Any]:
    asked = who.prepare_export(world.id, "zip")
    make(world)
    return who.await_export(world.id, asked["id"])


def test_a_download_that_breaks_off_again_and_again_is_whole_in_the_end(api: Api, world: World, tmp_path: Path) -> None:
    who, line = client(api, cut_at=200)
    one = ready(world, who)
    size = who.download_export(world.id, one, tmp_path / "images.zip")
    body = (tmp_path / "images.zip").read_bytes()
    assert size == one["bytes"] == len(body) and hashlib.sha256(body).hexdigest() == one["sha256"]
    assert zipfile.ZipFile(io.BytesIO(body)).testzip() is None
    assert line.asked[:3] == ["", "bytes=200-", "bytes=400-"]


def test_a_line_that_gives_nothing_is_given_up_and_leaves_no_file(api: Api, world: World, tmp_path: Path) -> None:
    who, line = client(api, cut_at=0)
    with pytest.raises(Retryable, match="broke off at byte 0"):
        who.download_export(world.id, ready(world, who), tmp_path / "images.zip")
    assert not list(tmp_path.glob("images*")) and len(line.asked) == 5


def test_what_came_damaged_is_not_kept(api: Api, world: World, tmp_path: Path) -> None:
    who, _ = client(api)
    one = ready(world, who)
    with pytest.raises(Retryable, match="damaged"):
        who.download_export(world.id, {**one, "sha256": "00" * 32}, tmp_path / "images.zip")
    assert not list(tmp_path.glob("images*"))


def test_one_that_failed_or_was_deleted_is_not_waited_for(api: Api, world: World) -> None:
    who, _ = client(api)
    gone = made(world)
    api.client.delete(f"/v1/projects/{world.id}/exports/{gone.id}")
    with pytest.raises(NotFound, match="deleted"):
        who.await_export(world.id, gone.id)
    world.system.store.delete(image_key(world.id, world.images[0].sha256))
    with pytest.raises(Conflict, match="failed: Permanent"):
        who.await_export(world.id, made(world).id)
    assert [one["state"] for one in who.exports(world.id)] == ["failed", "deleted"]
    who.prepare_export(world.id, "csv")
    with pytest.raises(Retryable, match="still being prepared"):
        who.await_export(world.id, next(iter(who.exports(world.id)))["id"], patience_s=-1)
