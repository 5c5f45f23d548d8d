"""Which key stands for which class.

The project gives hotkeys to its first classes. The next ones get what is left on the digits: 0 for the tenth, then
Shift and a digit up to the eighteenth. Further classes are for the pointer.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from shared.domain import Class


class ClassView(BaseModel):
    """``hotkey`` is a character, ``shift+<digit>``, or None."""

    id: int
    name: str
    colour: str
    hotkey: str | None


def with_hotkeys(classes: Sequence[Class]) -> list[ClassView]:
    """In order of position."""
    taken = {one.hotkey for one in classes if one.hotkey}
    views = []
    for place, one in enumerate(classes, start=1):
        hotkey = one.hotkey
        if hotkey is None and place == 10 and "0" not in taken:
            hotkey = "0"
        elif hotkey is None and 10 <= place <= 18:
            hotkey = f"shift+{place - 9}"
        views.append(ClassView(id=one.id, name=one.name, colour=one.colour, hotkey=hotkey))
    return views
