"""How numbers, sizes and moments are written in pages."""

from __future__ import annotations

from datetime import datetime

from jinja2 import Environment
from markupsafe import Markup

_KILO, _MEGA, _GIGA = 1024, 1024**2, 1024**3


def install(environment: Environment) -> None:
    environment.filters.update(number=number, size=size, moment=moment, percent=percent)


def number(value: int) -> str:
    return f"{value:,}"


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}%"


def size(value: int) -> str:
    """Bytes for a person."""
    if value < _KILO:
        return f"{value} B"
    if value < _MEGA:
        return f"{value / _KILO:.0f} KB"
    return f"{value / _MEGA:.1f} MB" if value < _GIGA else f"{value / _GIGA:.1f} GB"


def moment(at: datetime) -> Markup:
    """A point in time in UTC; ``times.js`` writes it in the reader's own time."""
    return Markup('<time datetime="{}">{} UTC</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M}")
