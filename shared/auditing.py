"""The audit log to take along: a line of JSON, or a row of CSV, for each event, the newest first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from enum import StrEnum

from shared.db import events
from shared.db.events import Event, Wanted
from shared.db.pool import Database

COLUMNS = ("event", "at", "project", "actor", "address", "kind", "data")
_BATCH = 1000
_NEWEST = 2**62


class AuditForm(StrEnum):
    """What the log can be taken along as."""

    JSONL = "jsonl"
    CSV = "csv"


MEDIA_TYPES = {AuditForm.JSONL: "application/x-ndjson", AuditForm.CSV: "text/csv; charset=utf-8"}


def read(database: Database, wanted: Wanted) -> Iterator[Event]:
    """A batch at a time, each in a transaction of its own: a slow reader holds no connection."""
    before = _NEWEST
    while True:
        with database.transaction() as tx:
            found = events.search(tx, wanted, before=before, limit=_BATCH)
        yield from found
        if len(found) < _BATCH:
            return
        before = found[-1].id


def lines(database: Database, wanted: Wanted, form: AuditForm) -> Iterator[str]:
    """The log as text, line by line."""
    if form is AuditForm.CSV:
        yield row(*COLUMNS)
    for event in read(database, wanted):
        if form is AuditForm.CSV:
            data = json.dumps(dict(event.data), ensure_ascii=False)
            where = str(event.project_id or "")
            yield row(str(event.id), event.at.isoformat(), where, event.actor, event.address or "", event.kind, data)
        else:
            whole = {**vars(event), "at": event.at.isoformat(), "data": dict(event.data)}
            yield json.dumps(whole, ensure_ascii=False) + "\n"


def row(*cells: str) -> str:
    """A row of CSV. What a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    safe = (f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell for cell in cells)
    csv.writer(out).writerow(safe)
    return out.getvalue()
