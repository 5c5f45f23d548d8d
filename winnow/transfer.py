"""``winnow import``: from a folder or a .zip into a project, over the api."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from shared.errors import Invalid, NotFound
from winnow.client import Client
from winnow.datasets import Item, open_dataset

_FILES_AT_ONCE = 100
_BYTES_AT_ONCE = 64 * 1024 * 1024
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


@dataclass
class Summary:
    """What became of the files; ``rejected`` holds (filename, reason)."""

    stored: int = 0
    duplicates: int = 0
    labels: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _File:
    name: str
    body: bytes
    class_name: str | None


def import_images(
    client: Client,
    source: Path,
    project_name: str,
    classes: Sequence[str] | None,
    with_labels: bool,
    progress: Progress,
) -> Summary:
    """Upload what is in ``source``.

    With folders ``train/<class>`` and ``test/<class>``, train goes to the pool (with its labels only if asked) and
    test becomes the labelled holdout. Any other folder is searched for image files, all for the pool. Raises
    ``Invalid`` if there is nothing to upload, or if the project is new and its classes aren't known.
    """
    summary = Summary()
    try:
        dataset = open_dataset(source)
    except Invalid:
        if not source.is_dir():
            raise
        project = _project(client, project_name, classes)
        paths = sorted(p for p in source.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
        if not paths:
            raise Invalid(f"there are no images in {source}") from None
        files = (_File(name=str(p.relative_to(source)), body=p.read_bytes(), class_name=None) for p in paths)
        _send(client, project, "pool", files, len(paths), summary, progress)
        return summary
    with dataset:
        project = _project(client, project_name, classes or dataset.classes)

        def read(items: Sequence[Item], labelled: bool) -> Iterator[_File]:
            for item in items:
                name = dataset.classes[item.label] if labelled else None
                yield _File(name=item.path, body=dataset.read(item), class_name=name)

        _send(client, project, "holdout", read(dataset.test, True), len(dataset.test), summary, progress)
        _send(client, project, "pool", read(dataset.train, with_labels), len(dataset.train), summary, progress)
    return summary


def _project(client: Client, name: str, classes: Sequence[str] | None) -> int:
    try:
        return int(client.project(name)["id"])
    except NotFound:
        if not classes:
            raise Invalid(f"there is no project {name!r}; give --classes a,b,c to make it") from None
        return int(client.create_project(name, classes)["id"])


def _send(
    client: Client,
    project: int,
    split: str,
    files: Iterator[_File],
    count: int,
    summary: Summary,
    progress: Progress,
) -> None:
    bar = progress.add_task(f"{split}", total=count)
    for batch in _batches(files):
        answer = client.upload(project, [(f.name, f.body) for f in batch], split)
        known = []
        for file, result in zip(batch, answer["results"], strict=True):
            if result["status"] == "rejected":
                summary.rejected.append((file.name, result["reason"]))
                continue
            summary.stored += result["status"] == "stored"
            summary.duplicates += result["status"] == "duplicate"
            if file.class_name is not None:
                known.append({"sha256": result["sha256"], "class": file.class_name})
        if known:
            summary.labels += client.import_labels(project, known)["labelled"]
        progress.advance(bar, len(batch))


def _batches(files: Iterator[_File]) -> Iterator[list[_File]]:
    """Requests of bounded size, in number of files and in bytes."""
    batch: list[_File] = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file.body)
        if len(batch) >= _FILES_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
