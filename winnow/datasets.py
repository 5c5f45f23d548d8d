"""Labelled image collections on disk: ``train/<class>/<file>`` and ``test/<class>/<file>`` in a folder or a .zip.

A zip is read where it lies and never unpacked, so nothing in it can be written anywhere. One folder around the two
(as archivers like to add) is looked through.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np
from PIL import Image

from shared.errors import Invalid

LAYOUT = "expected train/<class>/<image> and test/<class>/<image>"
_LEVELS = 3


@dataclass(frozen=True)
class Item:
    """One image: its path inside the data set and the position of its class in ``Dataset.classes``."""

    path: str
    label: int


@dataclass(frozen=True)
class Dataset:
    """``classes`` are in order of name and those of ``train`` and ``test`` together; items in order of path.

    Close it, or use it in a ``with`` statement.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    _read: Callable[[str], bytes]
    _close: Callable[[], None]

    def read(self, item: Item) -> bytes:
        """The file's bytes."""
        return self._read(item.path)

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_dataset(path: Path) -> Dataset:
    """The data set in a folder or a .zip file. Raises ``Invalid`` for what is neither or laid out otherwise."""
    if path.is_dir():
        files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        return _dataset(path, files, lambda name: (path / name).read_bytes(), lambda: None)
    if not path.is_file():
        raise Invalid(f"there is no folder or .zip file {path}")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise Invalid(f"{path} is neither a folder nor a readable .zip file: {error}") from error
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    try:
        return _dataset(path, names, lambda name: _read_entry(archive, name), archive.close)
    except Invalid:
        archive.close()
        raise


def _read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise Invalid(f"{name} can't be read from {archive.filename}: {error}") from error


def _dataset(path: Path, files: Iterable[str], read: Callable[[str], bytes], close: Callable[[], None]) -> Dataset:
    parts = {name: PurePosixPath(name).parts for name in sorted(files) if not _is_clutter(name)}
    skip = _outer_folders(path, list(parts.values()))
    split: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for name, folders in parts.items():
        inner = folders[skip:]
        if inner[0] in split and len(inner) == _LEVELS:
            split[inner[0]].append((name, inner[1]))
    for part, found in split.items():
        if not found:
            raise Invalid(f"{path} has no images under {part}/<class>/; {LAYOUT}")
    classes = tuple(sorted({name for found in split.values() for _, name in found}))
    if len(classes) < 2:
        raise Invalid(f"{path} has the single class {classes[0]!r}; there must be at least two")
    position = {name: at for at, name in enumerate(classes)}
    train, test = (tuple(Item(name, position[folder]) for name, folder in split[part]) for part in ("train", "test"))
    return Dataset(path.name, classes, train, test, read, close)


def _is_clutter(name: str) -> bool:
    """Files that desktops leave behind."""
    return any(part.startswith((".", "__MACOSX")) or part == "Thumbs.db" for part in PurePosixPath(name).parts)


def _outer_folders(path: Path, parts: list[tuple[str, ...]]) -> int:
    """0, or 1 where everything lies in one further folder."""
    tops = {folders[0] for folders in parts}
    if tops & {"train", "test"}:
        return 0
    if len(tops) == 1 and {"train", "test"} <= {folders[1] for folders in parts if len(folders) > 1}:
        return 1
    seen = ", ".join(sorted(tops)[:5]) or "nothing"
    raise Invalid(f"{path} is laid out otherwise ({LAYOUT}); found {seen} at the top")


def write_digits(path: Path, *, seed: int = 0, test: int = 500) -> Path:
    """Write scikit-learn's 1,797 handwritten digits as 8x8 PNG files; returns ``path``.

    ``test`` of them, in the proportions of the classes, are the test set. Alpaydin and Kaynak (1998), Optical
    Recognition of Handwritten Digits, UCI; values 0 to 16 are spread over 0 to 255.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    rows = np.arange(len(digits.target))
    train_rows, test_rows = train_test_split(rows, test_size=test, random_state=seed, stratify=digits.target)
    for part, chosen in (("train", train_rows), ("test", test_rows)):
        for row in sorted(chosen):
            folder = path / part / str(digits.target[row])
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.rint(digits.images[row] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{row:04d}.png")
    return path
