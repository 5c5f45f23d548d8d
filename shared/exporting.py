"""Everything that a project knows, to take along: a CSV with provenance, and an ImageFolder archive with its models'
figures.

An export is a picture of one moment. Its rows are read in one transaction, which sees that moment throughout, and
written to a temporary file first, and only then sent: somebody who downloads slowly holds a file, and no connection to
the database. Nothing is whole in memory but, for an archive, its table of contents (about 1 KB an image), which the
format wants at the end.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

import numpy as np
from zipstream import ZipStream

from shared import arrays
from shared.db import labels, projects, rounds
from shared.db.exports import ExportForm
from shared.db.pool import Database, Row, Tx
from shared.domain import CheckpointId, Class, ImageId, ProjectId, ShardId
from shared.errors import NotFound
from shared.store.base import Store, image_key, scores_prefix

COLUMNS = (
    "image_id",
    "sha256",
    "filename",
    "format",
    "width",
    "height",
    "split",
    "state",
    "label",
    "source",
    "annotator",
    "round",
    "strategy",
    "labelled_at",
    "predicted",
    "confidence",
    "checkpoint",
    "label_confidence",
    "annotations",
    "tags",
)
CHUNK = 1 << 16
IN_MEMORY = 1 << 20
"""A table that is larger goes to disk."""
BATCH = 1000
"""Rows whose predictions are looked up together."""
_FIRST_SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_SUFFIXES = {"JPEG": {".jpg", ".jpeg"}, "TIFF": {".tif", ".tiff"}}
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


Watch = Callable[[int], None]
"""Is told now and then how many rows are read."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An export whose rows are read: all that was committed before ``moment``. ``labels`` of its ``images`` have one.

    ``body`` can be gone through once, and is about ``size`` bytes long: exactly, for a CSV.
    """

    moment: datetime
    images: int
    labels: int
    size: int
    body: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The CSV in a temporary file, at its beginning, and the classes that occur in it. ``content``: bytes of the
    images that have a label."""

    file: IO[bytes]
    classes: Sequence[Class]
    moment: datetime
    images: int
    labels: int
    size: int
    content: int


class Exporter:
    """Makes exports. Every method raises ``NotFound`` for an unknown project before it returns."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def csv(self, project_id: ProjectId, only: Sequence[ImageId] | None = None) -> Iterator[bytes]:
        """UTF-8, a header and a row for every image, or every one of ``only``, in order of id, labelled or not;
        ``COLUMNS`` names the cells.

        A text that a spreadsheet would take for a formula has an apostrophe in front.
        """
        return self.take(project_id, ExportForm.CSV, only).body

    def zip(self, project_id: ProjectId, only: Sequence[ImageId] | None = None) -> Iterator[bytes]:
        """``labels.csv``, ``models.json``, and every labelled image as ``<class>/<id>_<filename>``, uncompressed.

        ``models.json`` is a list of every model in order of rounds, with its metrics and whether it is in use.
        """
        return self.take(project_id, ExportForm.ZIP, only).body

    def take(
        self,
        project_id: ProjectId,
        form: ExportForm,
        only: Sequence[ImageId] | None = None,
        watch: Watch = lambda rows: None,
    ) -> Taken:
        """As ``csv`` or ``zip``, with what it is a picture of. What ``watch`` raises ends it."""
        archive = form is ExportForm.ZIP
        with self._database.transaction() as tx:
            tx.freeze()
            table = self._table(tx, project_id, only, watch)
            models = _models(tx, project_id) if archive else None
        body = _chunks(table.file) if models is None else self._archive(project_id, table, models)
        return Taken(
            moment=table.moment,
            images=table.images,
            labels=table.labels,
            size=table.size + (table.content if archive else 0),
            body=body,
        )

    def _table(self, tx: Tx, project_id: ProjectId, only: Sequence[ImageId] | None, watch: Watch) -> _Table:
        moment = labels.seen_at(tx)
        classes = projects.classes(tx, projects.get(tx, project_id).id)
        predictions = _Predictions(tx, self._store, project_id, classes)
        file = _temporary()
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        rows = labels.export(tx, project_id, only)
        read = labelled = content = 0
        while batch := list(islice(rows, BATCH)):
            found = predictions.of(batch)
            writer.writerows(_cells(row, found.get(row["id"], {})) for row in batch)
            known = [row["bytes"] for row in batch if row["label"] is not None]
            read, labelled, content = read + len(batch), labelled + len(known), content + sum(known)
            watch(read)
        text.detach()
        size = file.tell()
        file.seek(0)
        return _Table(
            file=file, classes=classes, moment=moment, images=read, labels=labelled, size=size, content=content
        )

    def _archive(self, project_id: ProjectId, held: _Table, models: IO[bytes]) -> Iterator[bytes]:
        archive = ZipStream(compress_type=ZIP_STORED)
        folders, table = _folders(held.classes), held.file
        with table, models:
            archive.add(_read(table), "labels.csv", compress_type=ZIP_DEFLATED)
            archive.add(_read(models), "models.json", compress_type=ZIP_DEFLATED)
            yield from archive.all_files()
            table.seek(0)
            text = io.TextIOWrapper(table, encoding="utf-8", newline="")
            for row in csv.DictReader(text):
                if row["label"]:
                    name = f"{folders[row['label']]}/{row['image_id']}_{_image_name(row['filename'], row['format'])}"
                    archive.add(self._object(image_key(project_id, row["sha256"])), name)
                    yield from archive.all_files()
            yield from archive.finalize()

    def _object(self, key: str) -> Iterator[bytes]:
        with self._store.open(key) as chunks:
            yield from chunks


class _Predictions:
    """What the newest model thinks, read a batch of rows at a time by ranges of each shard's probabilities."""

    def __init__(self, tx: Tx, store: Store, project_id: ProjectId, classes: Sequence[Class]) -> None:
        self._store = store
        self._project_id = project_id
        self._names = [c.name for c in classes]
        self._checkpoint = rounds.latest_scored(tx, project_id)
        self._unscored: set[ShardId] = set()

    def of(self, rows: Iterable[Row]) -> dict[int, Row]:
        """Cells by image id, for those images that the model has scored."""
        if self._checkpoint is None:
            return {}
        found: dict[int, Row] = {}
        ready = sorted((r for r in rows if r["state"] == "ready"), key=lambda r: (r["shard_id"], r["shard_row"]))
        for shard, group in groupby(ready, key=lambda r: ShardId(r["shard_id"])):
            if shard not in self._unscored:
                found |= self._of_shard(shard, list(group), self._checkpoint.id)
        return found

    def _of_shard(self, shard: ShardId, rows: Sequence[Row], checkpoint: CheckpointId) -> dict[int, Row]:
        key = scores_prefix(self._project_id, checkpoint, shard) + "probabilities.npy"
        try:
            table = arrays.load_rows(self._store, key, [row["shard_row"] for row in rows])
        except NotFound:
            self._unscored.add(shard)
            return {}
        best = np.argmax(table, axis=1)
        return {
            row["id"]: {
                "predicted": _cell(self._names[column]),
                "confidence": f"{line[column]:.6f}",
                "checkpoint": checkpoint,
            }
            for row, line, column in zip(rows, table, best, strict=True)
        }


def _models(tx: Tx, project_id: ProjectId) -> IO[bytes]:
    """``models.json`` in a temporary file, at its beginning. One model at a time is in memory: a confusion matrix of a
    thousand classes is large."""
    used = rounds.promoted(tx, project_id)
    file = _temporary()
    between = b"[\n"
    for row in rounds.export(tx, project_id):
        model = _model(row, in_use=used is not None and used.id == row["id"])
        file.write(between + json.dumps(model, ensure_ascii=False).encode())
        between = b",\n"
    file.write(b"\n]\n" if between == b",\n" else b"[]\n")
    file.seek(0)
    return file


def _model(row: Row, *, in_use: bool) -> dict[str, Any]:
    promoted_at: datetime | None = row["promoted_at"]
    return {
        "checkpoint_id": row["id"],
        "round": row["number"],
        "labels": row["labels"],
        "arch": row["arch"],
        "mode": row["metrics"].get("mode"),
        "in_use": in_use,
        "promoted_at": promoted_at.isoformat() if promoted_at else None,
        "created_at": row["created_at"].isoformat(),
        "sha256": bytes(row["sha256"]).hex(),
        "metrics": row["metrics"],
    }


def _cells(row: Row, prediction: Row) -> dict[str, Any]:
    at: datetime | None = row["labelled_at"]
    return {
        **row,
        **prediction,
        "image_id": row["id"],
        "filename": _cell(row["filename"]),
        "label": _cell(row["label"] or ""),
        "labelled_at": at.isoformat() if at else "",
        "annotations": json.dumps(row["annotations"], ensure_ascii=False) if row["annotations"] else "",
        "tags": _cell(", ".join(row["tags"] or [])),
    }


def _cell(text: str) -> str:
    """The text, harmless in a spreadsheet: what it would run as a formula gets an apostrophe in front.

    Filenames come from whoever uploads. After OWASP's advice on CSV injection; numbers such as -1 stay as they are.
    """
    if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _folders(classes: Sequence[Class]) -> dict[str, str]:
    """The folder of each class by the label in the CSV: safe on every system, and different from each other there."""
    taken: set[str] = {"labels.csv", "models.json"}
    folders: dict[str, str] = {}
    for one in classes:
        name = _safe(one.name, 100) or "class"
        if name.lower() in taken:
            name = f"{name}_{one.position}"
        while name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        folders[_cell(one.name)] = name
    return folders


def _image_name(filename: str, format_name: str) -> str:
    """A safe filename whose extension says what the file is, since ImageFolder goes by it."""
    name = _safe(filename, 150) or "image"
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    first = _FIRST_SUFFIX[format_name]
    return name if suffix in _SUFFIXES.get(format_name, {first}) else name + first


def _safe(name: str, limit: int) -> str:
    """The name as part of a path on any system, cut to ``limit`` characters, its extension kept."""
    plain = "".join("_" if unicodedata.category(c).startswith("C") else c for c in name)
    plain = _NOT_IN_NAMES.sub("_", plain).strip(" .")
    if len(plain) > limit:
        stem, dot, extension = plain.rpartition(".")
        kept = f"{dot}{extension}" if stem and len(extension) <= 10 else ""
        plain = plain[: limit - len(kept)].rstrip(" .") + kept
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain


def _temporary() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        yield from _read(file)
