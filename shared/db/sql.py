"""Loads the named queries of ``queries/*.sql``.

A query starts at a line ``-- name: <name>`` and ends at the next one. Further comment lines below the name say what
it is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries(file: str) -> Mapping[str, str]:
    """The queries of ``queries/<file>.sql`` by name. Raises ``ValueError`` for a name given twice."""
    text = (resources.files("shared.db") / "queries" / f"{file}.sql").read_text()
    parts = _NAME.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"queries/{file}.sql names {name} twice")
        found[name] = body.strip()
    return found
