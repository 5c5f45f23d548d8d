"""Uploading images: every file has its own result, and what is called stored is stored."""

from __future__ import annotations

import hashlib
import io
import shutil
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydantic import SecretStr

from services.api.app import create_app
from shared.db import images, labels
from shared.domain import ImageState, JobKind, ProjectId, Split
from shared.settings import ApiSettings, StoreSettings
from shared.store.base import image_key, view_key
from shared.store.factory import open_store
from tests.integration.api_support import Api, encoded, open_api, picture

BOUNDARY = "frontier"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path / "store", max_file_bytes=300_000) as opened:
        yield opened


@pytest.fixture
def project(api: Api) -> int:
    return api.new_project()


def statuses(answer: dict[str, Any]) -> list[str]:
    return [result["status"] for result in answer["results"]]


def huge_pixels(width: int = 10_000, height: int = 10_000) -> bytes:
    """A whole and valid PNG of 100 megapixels, in less than 100 KB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + width // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def multipart(*files: tuple[str, bytes], end: bool = True) -> bytes:
    body = b""
    for name, data in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def post_raw(api: Api, project: int, body: bytes, content_type: str | None = None) -> Any:
    headers = {"Content-Type": content_type or f"multipart/form-data; boundary={BOUNDARY}"}
    return api.client.post(f"/v1/projects/{project}/images", content=body, headers=headers)


def test_good_files_are_stored_byte_for_byte_and_described(api: Api, project: int) -> None:
    file = picture(1, 31, 17, "JPEG")
    answer = api.upload(project, [("heron.jpg", file)]).json()
    result = answer["results"][0]
    assert (answer["stored"], answer["duplicates"], answer["rejected"]) == (1, 0, 0)
    assert result["sha256"] == hashlib.sha256(file).hexdigest()
    assert api.system.store.get(image_key(ProjectId(project), result["sha256"])) == file
    image = api.client.get(f"/v1/projects/{project}/images/{result['image_id']}").json()
    assert (image["filename"], image["width"], image["height"], image["bytes"]) == ("heron.jpg", 31, 17, len(file))
    assert (image["format"], image["state"], image["split"], image["label"]) == ("JPEG", "stored", "pool", None)


def test_one_request_may_bring_good_and_bad_and_each_has_its_result_in_order(api: Api, project: int) -> None:
    good = picture(1, 120, 80)
    files = [
        ("first.png", good),
        ("truncated.png", good[: len(good) // 2]),
        ("empty.jpg", b""),
        ("notes.png", b"these are only words"),
        ("drawing.svg", SVG),
        ("bomb.png", huge_pixels()),
        ("again.png", good),
        ("too-long.bmp", picture(2, 400, 300, "BMP")),
        ("last.webp", picture(3, kind="WEBP")),
    ]
    assert len(files[5][1]) < 100_000 and len(files[7][1]) > 300_000
    response = api.upload(project, files)
    answer = response.json()
    assert response.status_code == 200
    assert [result["filename"] for result in answer["results"]] == [name for name, _ in files]
    assert statuses(answer) == ["stored", *["rejected"] * 5, "duplicate", "rejected", "stored"]
    assert (answer["stored"], answer["duplicates"], answer["rejected"]) == (2, 1, 6)
    reasons = [result["reason"] for result in answer["results"]]
    expected = {
        1: "damaged or cut off",
        2: "empty",
        3: "not an image",
        4: "not an image",
        5: "100 megapixels; the limit is 50",
        7: "the limit is 300,000",
    }
    for index, words in expected.items():
        assert words in reasons[index], (files[index][0], reasons[index])
    assert answer["results"][6]["image_id"] == answer["results"][0]["image_id"]
    assert api.client.get(f"/v1/projects/{project}/state").json()["images"]["total"] == 2


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray((np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)), "PNG")


def animated() -> bytes:
    frames = [Image.new("P", (20, 20), colour) for colour in (1, 2, 3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def lying_down() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif)


ODD = {
    "cmyk": (encoded(Image.new("CMYK", (30, 20), (0, 255, 0, 0)), "JPEG"), "JPEG", (30, 20), True),
    "16 bit": (sixteen_bit(), "PNG", (64, 64), True),
    "palette": (encoded(Image.new("P", (12, 9)), "PNG"), "PNG", (12, 9), False),
    "animated": (animated(), "GIF", (20, 20), False),
    "rotated": (lying_down(), "JPEG", (20, 40), False),
    "tiff": (picture(4, kind="TIFF"), "TIFF", (24, 16), True),
    "transparent": (encoded(Image.new("RGBA", (9, 9), (1, 2, 3, 0)), "PNG"), "PNG", (9, 9), False),
}


@pytest.mark.parametrize("kind", ODD)
def test_unusual_images_are_taken_and_can_be_shown(api: Api, project: int, kind: str) -> None:
    data, format_name, size, needs_rendition = ODD[kind]
    result = api.upload(project, [("odd.png", data)]).json()["results"][0]
    path = f"/v1/projects/{project}/images/{result['image_id']}"
    image = api.client.get(path).json()
    assert result["status"] == "stored", result["reason"]
    assert (image["format"], (image["width"], image["height"])) == (format_name, size)
    assert api.client.get(f"{path}/content").content == data
    shown = api.client.get(f"{path}/content", params={"rendition": "browser"})
    assert (shown.content != data) is needs_rendition
    assert Image.open(io.BytesIO(shown.content)).size == (size if needs_rendition or kind != "rotated" else (40, 20))
    assert api.system.store.exists(view_key(ProjectId(project), result["sha256"])) is needs_rendition


def test_the_content_decides_and_not_the_extension(api: Api, project: int) -> None:
    answer = api.upload(project, [("photo.txt", picture(1, kind="JPEG"))]).json()
    image = api.client.get(f"/v1/projects/{project}/images/{answer['results'][0]['image_id']}").json()
    assert (image["format"], image["filename"]) == ("JPEG", "photo.txt")


def test_a_file_sent_again_is_a_duplicate_of_the_image_there(api: Api, project: int) -> None:
    first = api.upload(project, [("a.png", picture(1))]).json()["results"][0]
    again = api.upload(project, [("b.png", picture(1)), ("c.png", picture(2))]).json()["results"]
    assert [r["status"] for r in again] == ["duplicate", "stored"]
    assert again[0]["image_id"] == first["image_id"]
    held = api.upload(project, [("d.png", picture(1))], split="holdout").json()["results"][0]
    assert (held["status"], held["reason"]) == ("duplicate", "it is already there, in the pool split")


def test_projects_do_not_share_images(api: Api, project: int) -> None:
    other = api.new_project("other")
    ids = [api.upload(p, [("a.png", picture(1))]).json()["results"][0]["image_id"] for p in (project, other)]
    assert ids[0] != ids[1]
    assert api.client.get(f"/v1/projects/{project}/images/{ids[1]}").status_code == 404


def test_the_split_and_the_class_of_a_request_hold_for_all_its_files(api: Api, project: int) -> None:
    api.upload(project, [("known.png", picture(9))])
    files = [("a.png", picture(1)), ("bad", b"bad"), ("b.png", picture(2)), ("known.png", picture(9))]
    answer = api.upload(project, files, split="holdout", **{"class": "swan"}).json()
    assert statuses(answer) == ["stored", "rejected", "stored", "duplicate"]
    with api.system.database.transaction() as tx:
        counts = labels.counts(tx, ProjectId(project))
        assert (counts.pool, counts.holdout, counts.human) == (1, 2, 0)
        assert [i.split for i in images.page(tx, ProjectId(project))] == [Split.POOL, Split.HOLDOUT, Split.HOLDOUT]
    image = api.client.get(f"/v1/projects/{project}/images/{answer['results'][0]['image_id']}").json()
    assert (image["label"]["class"], image["label"]["source"]) == ("swan", "import")


def test_labels_that_come_with_files_the_project_has_are_noted_too(api: Api, project: int) -> None:
    api.upload(project, [("a.png", picture(1))])
    api.upload(project, [("a.png", picture(1))])
    api.upload(project, [("a.png", picture(1))], **{"class": "swan"})
    newest, before, *_ = api.client.get(f"/v1/projects/{project}/events").json()["items"]
    assert newest["data"] == {"split": "pool", "stored": 0, "duplicate": 1, "rejected": 0, "class_id": 2}
    assert before["data"] == {"split": "pool", "stored": 1, "duplicate": 0, "rejected": 0}


def test_an_unknown_class_is_refused_before_anything_is_stored(api: Api, project: int) -> None:
    refused = api.upload(project, [("a.png", picture(1))], **{"class": "ostrich"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "the project has no class 'ostrich'")
    assert api.client.get(f"/v1/projects/{project}/images").json()["items"] == []


def test_full_shards_are_sealed_while_others_still_arrive(api: Api) -> None:
    project = api.new_project(shard_size=2)
    api.upload(project, [(f"{n}.png", picture(n)) for n in range(5)])
    jobs = api.client.get(f"/v1/projects/{project}/jobs").json()["items"]
    assert [job["kind"] for job in jobs] == [JobKind.EMBED, JobKind.EMBED]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        (r"C:\photos\heron.png", "heron.png"),
        ("a\u202egnp.exe.png", "agnp.exe.png"),
        ("\u0000\u0007..", "unnamed"),
        ("é 写真.png", "é 写真.png"),
        ("x" * 300 + ".png", "x" * 251 + ".png"),
        ("", "unnamed"),
    ],
)
def test_filenames_are_kept_as_far_as_they_are_harmless(api: Api, project: int, sent: str, kept: str) -> None:
    answer = post_raw(api, project, multipart((sent, picture(1)))).json()
    assert [(r["filename"], r["status"]) for r in answer["results"]] == [(kept, "stored")]


# Requests that break off


def test_a_body_that_turns_to_nonsense_keeps_what_came_before(api: Api, project: int) -> None:
    body = multipart(("a.png", picture(1)), ("b.png", b"bad"), end=False) + f"--{BOUNDARY}nonsense".encode()
    broken = post_raw(api, project, body)
    assert broken.status_code == 422
    assert statuses(broken.json()) == ["stored"]  # the second file's end was never seen
    assert broken.json()["stored"] == 1
    assert len(api.client.get(f"/v1/projects/{project}/images").json()["items"]) == 1
    again = post_raw(api, project, multipart(("a.png", picture(1)), ("b.png", picture(2))))
    assert statuses(again.json()) == ["duplicate", "stored"]


def test_a_body_that_ends_too_early_says_so_and_keeps_what_was_whole(api: Api, project: int) -> None:
    body = multipart(("a.png", picture(1)), ("b.png", picture(2)))
    broken = post_raw(api, project, body[:-60])
    assert broken.status_code == 422
    assert "ends before its closing boundary" in broken.json()["detail"]
    assert statuses(broken.json()) == ["stored"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("multipart/form-data", 415),
        ("multipart/mixed; boundary=frontier", 415),
        (f"multipart/form-data; boundary={'b' * 300}", 422),
        ("multipart/form-data; boundary=another", 422),
    ],
)
def test_what_is_no_form_is_refused(api: Api, project: int, content_type: str, status: int) -> None:
    refused = post_raw(api, project, multipart(("a.png", picture(1))), content_type)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_request_without_files_is_refused(api: Api, project: int) -> None:
    refused = post_raw(api, project, multipart())
    assert (refused.status_code, refused.json()["detail"]) == (422, "there is no file in this request")


def test_a_form_field_is_not_taken_for_a_file(api: Api, project: int) -> None:
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="class"\r\n\r\nswan\r\n'.encode()
    answer = post_raw(api, project, field + multipart(("a.png", picture(1)))).json()
    assert statuses(answer) == ["rejected", "stored"]
    assert answer["results"][0]["filename"] == "class"
    assert "no filename" in answer["results"][0]["reason"]


def test_when_the_store_fails_nothing_is_half_recorded(api: Api, project: int, tmp_path: Path) -> None:
    api.upload(project, [("a.png", picture(1))])
    # A file where the store's folder was: every write now fails, as on a disk that went away.
    shutil.move(tmp_path / "store", tmp_path / "gone")
    (tmp_path / "store").write_text("")
    files = [("known.png", picture(1)), ("new.png", picture(2)), ("newer.png", picture(3))]
    failed = api.upload(project, files)
    assert failed.status_code == 503
    assert failed.headers["retry-after"].isdecimal()
    assert statuses(failed.json()) == ["duplicate"]
    assert str(tmp_path) not in failed.text
    assert rows_of(api, project) == 1
    (tmp_path / "store").unlink()
    shutil.move(tmp_path / "gone", tmp_path / "store")
    assert statuses(api.upload(project, files).json()) == ["duplicate", "stored", "stored"]


def test_a_store_that_is_down_is_a_passing_fault(api: Api, project: int) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can answer at this port
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        secret = SecretStr("secret")
        down = open_store(StoreSettings(kind="s3", endpoint=endpoint, access_key=secret, secret_key=secret))
        app = create_app(replace(api.system, store=down), ApiSettings())
        client = TestClient(app, headers=api.client.headers)
        failed = client.post(f"/v1/projects/{project}/images", files=[("f", ("a.png", picture(1)))])
        ready = client.get("/readyz")
    assert (failed.status_code, failed.json()["results"]) == (503, [])
    assert rows_of(api, project) == 0
    assert (ready.status_code, client.get("/healthz").status_code) == (503, 200)


def rows_of(api: Api, project: int) -> int:
    with api.system.database.transaction() as tx:
        return len(images.page(tx, ProjectId(project)))


def test_every_row_has_its_object(api: Api, project: int) -> None:
    api.upload(project, [(f"{n}.png", picture(n)) for n in range(30)] + [("bad", b"bad")] * 3)
    with api.system.database.transaction() as tx:
        rows = images.page(tx, ProjectId(project))
    assert len(rows) == 30
    assert all(row.state is ImageState.STORED for row in rows)
    stored = set(api.system.store.list(f"projects/{project}/images/"))
    assert stored == {image_key(ProjectId(project), row.sha256) for row in rows}


def test_an_image_that_needs_more_memory_than_there_is_is_refused(migrated_database_url: str, tmp_path: Path) -> None:
    with open_api(migrated_database_url, tmp_path, decode_memory_bytes=1_000_000) as api:
        project = api.new_project()
        answer = api.upload(project, [("big.png", picture(1, 400, 300)), ("small.png", picture(2))]).json()
    assert statuses(answer) == ["rejected", "stored"]
    assert "MiB of memory" in answer["results"][0]["reason"]
