"""Reading the files of a multipart/form-data body as they arrive, one in memory at a time.

The framework's own form parser takes in the whole request before the endpoint sees any of it. This one hands over each
file when its last byte is there, so that a request may bring any number of them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from shared.errors import Invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FILENAME = 255


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the body, whole. ``data`` is None where there is no file to take, and ``problem`` says why."""

    filename: str
    data: bytes | None
    problem: str | None = None


def boundary_of(content_type: str) -> bytes:
    """The boundary between parts. Raises ``Invalid`` for another content type."""
    kind, options = parse_options_header(content_type)
    boundary: bytes = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise Invalid("send the files as multipart/form-data, each as a part with a filename")
    return boundary


async def read_parts(body: AsyncIterator[bytes], boundary: bytes, *, max_file_bytes: int) -> AsyncIterator[list[Part]]:
    """The parts of a body in order, in groups: those that became whole with the same piece of the body.

    Memory is bounded by one file and one piece. A file over ``max_file_bytes`` is read past and comes as a part with a
    problem. Raises ``Invalid`` for a body that is not well-formed or ends too early, after all that was whole.
    """
    reader = _Reader(max_file_bytes)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
    except FormParserError as error:
        raise Invalid(f"the multipart boundary can't be used: {error}") from error
    async for piece in body:
        try:
            parser.write(piece)
        except FormParserError as error:
            if reader.finished:
                yield reader.take()
            raise Invalid(f"the multipart body is malformed: {error}") from error
        if reader.finished:
            yield reader.take()
    if not reader.ended:
        raise Invalid("the multipart body ends before its closing boundary; files sent until then were taken")


class _Reader:
    """What the parser calls. Gathers headers and data of the part at hand."""

    def __init__(self, max_file_bytes: int) -> None:
        self.finished: list[Part] = []
        self.ended = False
        self._max_file_bytes = max_file_bytes
        self._begin()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take(self) -> list[Part]:
        """The parts finished since the last call."""
        taken, self.finished = self.finished, []
        return taken

    def _begin(self) -> None:
        self._header_name = self._header_text = b""
        self._disposition = b""
        self._buffer = bytearray()
        self._size = 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_text += data[start:end]

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_text
        self._header_name = self._header_text = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._max_file_bytes:
            self._buffer = bytearray()
        else:
            self._buffer += memoryview(data)[start:end]

    def _end_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename")
        if name is None:
            field = safe_filename(options.get(b"name", b"").decode("utf-8", "replace"))
            reason = "this part has no filename: it is a form field and not a file"
            self.finished.append(Part(filename=field, data=None, problem=reason))
        elif self._size > self._max_file_bytes:
            reason = f"the file has {self._size:,} bytes; the limit is {self._max_file_bytes:,}"
            self.finished.append(Part(filename=_decoded(name), data=None, problem=reason))
        else:
            self.finished.append(Part(filename=_decoded(name), data=bytes(self._buffer)))
        self._buffer = bytearray()

    def _end(self) -> None:
        self.ended = True


def _decoded(name: bytes) -> str:
    return safe_filename(name.decode("utf-8", "replace"))


def safe_filename(name: str) -> str:
    """A name to show and to export: the last part of a path, without control characters, 255 characters at most."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    # Cc control, Cf invisible formatting (such as right-to-left overrides), Cs lone surrogates, Zl Zp line ends.
    clean = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")).strip()
    if clean in ("", ".", ".."):
        return "unnamed"
    if len(clean) <= MAX_FILENAME:
        return clean
    stem, dot, extension = clean.rpartition(".")
    if not dot or len(extension) > 16:
        return clean[:MAX_FILENAME]
    return stem[: MAX_FILENAME - 1 - len(extension)] + dot + extension
