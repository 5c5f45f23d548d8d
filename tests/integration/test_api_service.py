"""The API as a process of its own, spoken to over a socket as clients on a network do."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.types import ASGIApp, Message

from shared.domain import Scope
from shared.intake import gate, receiving
from tests.integration.api_support import Api, add_key, open_api, picture
from tests.servers.process import free_port
from tests.waiting import wait_for
from tests.world import open_system

HEAD = b'--frontier\r\nContent-Disposition: form-data; name="f"; filename="%d.bmp"\r\n\r\n'
END = b"--frontier--\r\n"
FORM = "multipart/form-data; boundary=frontier"
MIB = 1 << 20


@dataclass
class Service:
    """A running API and a key to it."""

    process: subprocess.Popen[bytes]
    port: int
    key: str

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON."""
        connection = self.connect()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, text
        return json.loads(text)

    def new_project(self) -> int:
        return int(self.ask("POST", "/v1/projects", {"name": "birds", "classes": ["heron", "swan"]})["id"])

    def send(self, project: int, body: Iterable[bytes], query: str = "") -> Any:
        """Upload a body whose length isn't known beforehand."""
        connection = self.connect()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": FORM, "Transfer-Encoding": "chunked"}
        connection.request("POST", f"/v1/projects/{project}/images{query}", body, headers, encode_chunked=True)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def peak_memory(self) -> int:
        """The most memory that the process ever had, in bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@pytest.fixture
def service(migrated_database_url: str, tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    environment = {
        **os.environ,
        "WINNOW_DATABASE_URL": migrated_database_url,
        "WINNOW_STORE_PATH": str(tmp_path / "store"),
        "WINNOW_API_PORT": str(port),
    }
    with open_system(migrated_database_url, tmp_path / "store") as system:
        key = add_key(system, Scope.MANAGE)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "services.api"], env=environment, stdout=log, stderr=log)
    running = Service(process, port, key)
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), "the API to listen")
        yield running
    finally:
        process.kill()
        process.wait()
        log.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def bitmap(number: int, side: int = 1320) -> Iterator[bytes]:
    """A BMP file like no other number's, in pieces; of 5 MB unless told otherwise."""
    rows = np.random.default_rng(number).integers(0, 256, (8, side * 3), dtype=np.uint8).tobytes()
    size = side * side * 3
    yield b"BM" + struct.pack("<IHHI", 54 + size, 0, 0, 54)
    yield struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, size, 2835, 2835, 0, 0)
    for _ in range(side // 8):
        yield rows


def form(files: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    for number, file in enumerate(files):
        yield HEAD % number
        yield from file
        yield b"\r\n"
    yield END


def test_300_mb_in_one_request_and_out_again_take_a_fraction_of_that_in_memory(service: Service) -> None:
    project = service.new_project()
    before = service.peak_memory()
    answer = service.send(project, form(bitmap(number) for number in range(60)), "?class=heron")
    assert (answer["stored"], answer["rejected"]) == (60, 0)
    uploaded = service.peak_memory() - before
    assert uploaded < 120 * MIB, f"grew by {uploaded / MIB:.0f} MiB"

    connection = service.connect()
    connection.request("GET", f"/v1/projects/{project}/export.zip", headers={"Authorization": f"Bearer {service.key}"})
    archive, size = connection.getresponse(), 0
    while piece := archive.read(MIB):
        size += len(piece)
    connection.close()
    assert size > 60 * 5 * 1000 * 1000
    grown = service.peak_memory() - before
    print(f"peak memory grew by {uploaded / MIB:.0f} MiB uploading, {grown / MIB:.0f} MiB in all")
    assert grown < 120 * MIB, f"grew by {grown / MIB:.0f} MiB"


def test_what_was_whole_when_the_client_went_away_is_stored(service: Service) -> None:
    project = service.new_project()
    body = b"".join(form(bitmap(number, side=64) for number in range(3)))
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(
            f"POST /v1/projects/{project}/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
            f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body[: len(body) * 5 // 6]
        )
        path = f"/v1/projects/{project}"
        wait_for(lambda: service.ask("GET", f"{path}/state")["images"]["total"] == 2, "two files to be stored")
    wait_for(lambda: len(service.ask("GET", f"{path}/events")["items"]) == 2, "the upload to be noted")
    newest = service.ask("GET", f"{path}/events")["items"][0]
    assert (newest["kind"], newest["data"]["stored"]) == ("images.uploaded", 2)
    assert service.ask("GET", f"{path}/state")["images"]["total"] == 2


def test_it_ends_when_it_is_told_to(service: Service) -> None:
    service.new_project()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=30) == 0


def test_it_ends_although_a_client_never_finishes_and_tells_it_what_was_stored(
    service: Service, migrated_database_url: str, tmp_path: Path
) -> None:
    project = service.new_project()
    body = b"".join(form([bitmap(1, side=64), bitmap(2, side=64)]))
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(
            f"POST /v1/projects/{project}/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
            f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body[: len(body) * 3 // 4]
        )
        path = f"/v1/projects/{project}/state"
        wait_for(lambda: service.ask("GET", path)["images"]["total"] == 1, "the first file to be stored")
        service.process.send_signal(signal.SIGTERM)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        told = json.loads(answer.read())
        assert (answer.status, [result["status"] for result in told["results"]]) == (503, ["stored"])
        assert service.process.wait(timeout=30) == 0
    with open_system(migrated_database_url, tmp_path / "store") as system, system.database.transaction() as tx:
        event = tx.one("SELECT data FROM events WHERE kind = 'images.uploaded'")
    assert event is not None and event["data"]["stored"] == 1


# Many at once, and some that dawdle


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path / "store") as opened:
        yield opened


def test_the_same_files_sent_by_many_at_once_are_stored_once(api: Api) -> None:
    project = api.new_project(shard_size=3)
    files = [(f"{n}.png", picture(n)) for n in range(12)]
    together = threading.Barrier(6)

    def send(shift: int) -> dict[str, Any]:
        together.wait(timeout=30)
        answer = api.upload(project, files[shift:] + files[:shift])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(0, 12, 2)))
    assert sum(answer["stored"] for answer in answers) == 12
    assert sum(answer["duplicates"] for answer in answers) == 60
    ids = {r["sha256"]: set[int]() for answer in answers for r in answer["results"]}
    for answer in answers:
        for result in answer["results"]:
            ids[result["sha256"]].add(result["image_id"])
    assert all(len(found) == 1 for found in ids.values())
    state = api.client.get(f"/v1/projects/{project}/state").json()
    assert (state["images"]["total"], state["shards_waiting"]) == (12, 4)


async def post(app: ASGIApp, path: str, key: str, pieces: list[bytes]) -> tuple[int, dict[str, Any]]:
    """Send these pieces of a body, and then nothing more while staying connected."""
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

    async def receive() -> Message:
        return waiting.pop(0) if waiting else await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode()), (b"content-type", FORM.encode())]
    await app(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": headers,
            "query_string": b"",
            "root_path": "",
        },
        receive,
        send,
    )
    return sent[0]["status"], json.loads(b"".join(m.get("body", b"") for m in sent[1:]))


def test_a_client_that_falls_silent_is_told_what_was_taken(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SILENCE_S", 0.2)
    project = api.new_project()
    whole = [HEAD % 0, picture(1), b"\r\n", HEAD % 1, b"only the beginning"]
    key = add_key(api.system, Scope.INGEST)
    status, answer = asyncio.run(post(api.client.app, f"/v1/projects/{project}/images", key, whole))
    assert (status, answer["type"]) == (408, "urn:winnow:problem:request-timeout")
    assert [result["status"] for result in answer["results"]] == ["stored"]


def test_more_uploads_than_can_be_read_at_once_are_asked_to_come_back(
    migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "RECEIVING", 1)
    monkeypatch.setattr(gate, "PATIENCE_S", 0.2)
    with open_api(migrated_database_url, tmp_path / "store") as api:
        path = f"/v1/projects/{api.new_project()}/images"
        key = add_key(api.system, Scope.INGEST)

        async def both() -> tuple[int, dict[str, Any]]:
            """Two that begin and never end; the answer that comes first."""
            dawdlers = {asyncio.create_task(post(api.client.app, path, key, [HEAD % 0])) for _ in range(2)}
            answered, waiting = await asyncio.wait(dawdlers, return_when=asyncio.FIRST_COMPLETED)
            for dawdler in waiting:
                dawdler.cancel()
            return answered.pop().result()

        status, answer = asyncio.run(both())
    assert (status, answer["type"]) == (503, "urn:winnow:problem:unavailable")
