"""The filter of the images page: from the address to what is looked for, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from services.ui.words import _
from shared.db.browsing import Filter, Standing
from shared.domain import ClassId, LabelSource, Split, UserId
from shared.errors import Invalid
from shared.imaging import FORMATS
from shared.tagging import clean

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
_BIGGEST_ID, _BIGGEST_SIDE = 2**63 - 1, 1_000_000


def parse(given: Mapping[str, str]) -> Filter:
    """What an address asks for; a field left empty asks for nothing. Raises ``Invalid``."""
    class_id = _value(given, "class", _whole(_BIGGEST_ID))
    said = _value(given, "said", _whole(_BIGGEST_ID))
    annotator = _value(given, "annotator", _whole(_BIGGEST_ID))
    return Filter(
        standing=_value(given, "state", _one_of(Standing)),
        class_id=None if class_id is None else ClassId(class_id),
        source=_value(given, "source", _one_of(LabelSource)),
        least_sure=_value(given, "from", _share),
        surest=_value(given, "to", _share),
        annotator=None if annotator is None else UserId(annotator),
        split=_value(given, "split", _one_of(Split)),
        tag=_value(given, "tag", clean),
        format=_value(given, "format", _format),
        said=None if said is None else ClassId(said),
        filename=_value(given, "name", lambda text: text[:255]),
        shortest=_value(given, "shortest", _whole(_BIGGEST_SIDE)),
        longest=_value(given, "longest", _whole(_BIGGEST_SIDE)),
    )


def query(wanted: Filter, **more: str | int) -> str:
    """The address that asks for this, without the question mark."""
    return urlencode({**fields(wanted), **more})


def fields(wanted: Filter) -> dict[str, str]:
    """What the form's fields hold."""
    values = {
        "state": wanted.standing,
        "class": wanted.class_id,
        "source": wanted.source,
        "from": None if wanted.least_sure is None else f"{100 * wanted.least_sure:g}",
        "to": None if wanted.surest is None else f"{100 * wanted.surest:g}",
        "annotator": wanted.annotator,
        "split": wanted.split,
        "tag": wanted.tag,
        "format": wanted.format,
        "said": wanted.said,
        "name": wanted.filename,
        "shortest": wanted.shortest,
        "longest": wanted.longest,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _value(given: Mapping[str, str], name: str, read: Callable[[str], T]) -> T | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    try:
        return read(text)
    except ValueError:
        raise Invalid(_("the filter “%s” can't be “%s”") % (name, text[:100])) from None


def _one_of(kind: type[E]) -> Callable[[str], E]:
    return kind


def _whole(biggest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not 1 <= number <= biggest:
            raise ValueError(text)
        return number

    return read


def _share(text: str) -> float:
    """From a percentage."""
    share = float(text) / 100
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


def _format(text: str) -> str:
    if text not in FORMATS:
        raise ValueError(text)
    return text
