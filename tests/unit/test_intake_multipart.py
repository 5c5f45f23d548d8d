"""Reading multipart bodies piece by piece, wherever they are cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Invalid
from shared.intake.multipart import Part, boundary_of, read_parts

BOUNDARY = b"frontier"
LIMIT = 1000


def part(data: bytes, disposition: bytes = b'form-data; name="f"; filename="a.png"') -> bytes:
    return b"--frontier\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + data + b"\r\n"


END = b"--frontier--\r\n"


def read(pieces: Iterable[bytes], taken: list[Part] | None = None) -> list[Part]:
    parts = [] if taken is None else taken

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def run() -> None:
        async for group in read_parts(body(), BOUNDARY, max_file_bytes=LIMIT):
            parts.extend(group)

    asyncio.run(run())
    return parts


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


TRICKY = [b"", b"\r\n", b"--frontier", b"\r\n--frontie", b"\r\n--frontierx", b"\r\n--frontier-x", b"a\r\n\r\nb", b"\r"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_files_come_out_whole_however_the_body_is_cut(size: int) -> None:
    body = b"".join(part(data) for data in TRICKY) + END
    assert [p.data for p in read(cut(body, size))] == TRICKY


@given(st.lists(st.binary(max_size=80), max_size=4), st.integers(1, 40))
def test_any_bytes_come_out_as_they_went_in(files: list[bytes], size: int) -> None:
    files = [data for data in files if b"\r\n--frontier" not in b"\r\n" + data]
    parts = read(cut(b"".join(map(part, files)) + END, size))
    assert [(p.filename, p.data) for p in parts] == [("a.png", data) for data in files]


def test_a_file_over_the_limit_is_read_past() -> None:
    parts = read(cut(part(bytes(LIMIT)) + part(bytes(LIMIT + 1)) + part(b"x") + END, 100))
    assert [p.data and len(p.data) for p in parts] == [LIMIT, None, 1]
    assert parts[1].problem == "the file has 1,001 bytes; the limit is 1,000"


def test_a_part_without_a_filename_is_no_file() -> None:
    (only,) = read([part(b"swan", b'form-data; name="class"') + END])
    assert (only.filename, only.data) == ("class", None)
    assert "form field" in str(only.problem)


def test_a_part_without_any_headers_is_no_file() -> None:
    (only,) = read([b"--frontier\r\n\r\nx\r\n" + END])
    assert (only.filename, only.data) == ("unnamed", None)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="f"; filename="h\xc3\xa9ron.png"', "héron.png"),
        (b'form-data; name="f"; filename="h\xe9ron.png"', "h\ufffdron.png"),
        (b'form-data; name="f"; filename="a;b=c.png"', "a;b=c.png"),
        (b'form-data; name="f"; filename=""', "unnamed"),
        (b'FORM-DATA; NAME="f"; FILENAME="a.png"', "a.png"),
    ],
)
def test_names_are_read_as_clients_write_them(disposition: bytes, name: str) -> None:
    assert [p.filename for p in read([part(b"x", disposition) + END])] == [name]


@pytest.mark.parametrize(
    "tail", [b"--frontierX\r\n", b"--frontier\r\nno header here\r\n\r\n", b"--frontier\r\nA: " + b"x" * 9000, b""]
)
def test_what_was_whole_is_handed_over_before_a_malformed_body_is_refused(tail: bytes) -> None:
    taken: list[Part] = []
    with pytest.raises(Invalid):
        read([part(b"one") + part(b"two") + tail], taken)
    assert [p.data for p in taken][:1] == [b"one"]


def test_what_follows_the_end_is_passed_over() -> None:
    assert [p.data for p in read([part(b"x") + END, b"epilogue", b"\r\n--frontier"])] == [b"x"]


def test_a_body_may_hold_nothing() -> None:
    assert read([END]) == []


@pytest.mark.parametrize("given", ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary="])
def test_another_content_type_is_refused(given: str) -> None:
    with pytest.raises(Invalid):
        boundary_of(given)


@pytest.mark.parametrize("given", ["multipart/form-data; boundary=frontier", 'Multipart/Form-Data;BOUNDARY="frontier"'])
def test_the_boundary_is_found(given: str) -> None:
    assert boundary_of(given) == BOUNDARY
