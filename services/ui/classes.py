"""The classes of a project as their table is typed: read, checked, and what changes by it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.ui.words import _
from shared.domain import Class, ClassId
from shared.errors import Invalid

RESERVED = frozenset("bcfgiloprsz")
"""What the labelling page does with these letters goes on working: no class may take them."""
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A row of the table."""

    id: ClassId
    place: int
    name: str
    colour: str
    hotkey: str | None
    description: str


def read(classes: Sequence[Class], form: Mapping[str, str]) -> list[Typed]:
    """In the order wished. Raises ``Invalid`` in words for whoever typed it."""
    rows = [
        Typed(
            id=one.id,
            place=_place(form.get(f"place.{one.id}", ""), one.position + 1),
            name=class_name(form.get(f"name.{one.id}", one.name)),
            colour=_colour(form.get(f"colour.{one.id}", one.colour)),
            hotkey=hotkey(form.get(f"hotkey.{one.id}", one.hotkey or "")),
            description=form.get(f"description.{one.id}", "").strip()[:2000],
        )
        for one in classes
    ]
    _refuse_twice([row.name for row in rows], _("two classes are named “%s”"))
    _refuse_twice([row.hotkey for row in rows if row.hotkey], _("two classes have the key “%s”"))
    order = {one.id: one.position for one in classes}
    # Whoever writes 1 beside the third class means it to go before the one that has 1 now.
    return sorted(rows, key=lambda row: (row.place, order[row.id] < row.place - 1, order[row.id]))


def changes(classes: Sequence[Class], rows: Sequence[Typed]) -> list[str]:
    """What differs, a few words each, for the audit log."""
    before = {one.id: one for one in classes}
    said = []
    for position, row in enumerate(rows):
        old = before[row.id]
        if old.name != row.name:
            said.append(f"{old.name} → {row.name}")
        if old.colour != row.colour:
            said.append(f"{row.name}: {row.colour}")
        if old.hotkey != row.hotkey:
            said.append(f"{row.name}: {row.hotkey or '–'}")
        if old.position != position:
            said.append(f"{row.name}: {position + 1}.")
    return said


def class_name(text: str) -> str:
    """Raises ``Invalid``."""
    name = text.strip()
    if not 1 <= len(name) <= _LONGEST or not name.isprintable():
        raise Invalid(_("a class needs a name of 1 to %s characters that can be shown") % _LONGEST)
    return name


def hotkey(text: str) -> str | None:
    """Raises ``Invalid``. None for an empty field."""
    key = text.strip().lower()
    if not key:
        return None
    if len(key) != 1 or not (key.isascii() and key.isalnum()):
        raise Invalid(_("the key “%s” is not one letter or digit") % key[:20])
    if key in RESERVED:
        raise Invalid(_("the key “%s” does something else on the labelling page") % key)
    return key


def _colour(text: str) -> str:
    colour = text.strip().lower()
    if not _COLOUR.fullmatch(colour):
        raise Invalid(_("“%s” is not a colour like #0072b2") % text[:20])
    return colour


def _place(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else otherwise


def _refuse_twice(values: Sequence[str], said: str) -> None:
    twice = next((one for at, one in enumerate(values) if one in values[:at]), None)
    if twice is not None:
        raise Invalid(said % twice)
