"""``winnow archs``: the networks that a project may name in its setting ``arch``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from shared.errors import Invalid, NotFound

if TYPE_CHECKING:
    from shared.learning.trunks import ArchInfo

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
_WILD = frozenset("*?[")


def register(app: typer.Typer) -> None:
    """Add the command to ``winnow``."""
    app.command()(archs)


def archs(
    name: Annotated[
        str | None, typer.Argument(help="One, or a pattern such as 'resnet*' or 'timm/*dinov2*'; none: all but timm's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known.")] = False,
) -> None:
    """List architectures: parameters, features, image size and what sizes fit, and whether weights are published."""
    from shared.learning import archs as registry

    infos = list(_infos(name))
    if as_json:
        typer.echo(json.dumps([asdict(info) for info in infos], indent=2))
        return
    console.print(_table(infos))
    if name is None:
        count = len(registry.timm_names())
        more = f"{count:,} more: winnow archs 'timm/*dinov2*'" if count else "more with pip install 'winnow[timm]'"
        console.print(more, markup=False, soft_wrap=True)


def _infos(name: str | None) -> Iterator[ArchInfo]:
    """What is known of those that are meant. A network of a pattern that can't be used is left out, and said why."""
    from shared.learning import archs as registry

    for one in _matching(name):
        try:
            yield registry.info(one)
        except Invalid as error:
            if one == name:
                raise
            errors.print(f"left out: {error}", markup=False, soft_wrap=True)


def _matching(name: str | None) -> list[str]:
    """The names that are meant. Raises ``NotFound`` for a pattern that fits none."""
    from shared.learning import archs as registry

    if name is None:
        return registry.names()
    if not _WILD.intersection(name):
        return [name]
    known = [*registry.names(), *registry.timm_names()]
    found = [one for one in known if fnmatchcase(one, name)]
    if not found:
        extra = "" if registry.timm_names() else "; timm's networks need pip install 'winnow[timm]'"
        raise NotFound(f"no architecture is named like {name!r}{extra}")
    return found


def _table(infos: list[ArchInfo]) -> Table:
    right = [
        Column(title, justify="right", no_wrap=True) for title in ("params", "features", "image", "takes", "weights")
    ]
    table = Table(
        Column("arch", overflow="fold", min_width=18),
        Column("family", no_wrap=True),
        *right,
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for info in infos:
        figures = (f"{info.parameters / 1e6:,.1f} M", f"{info.feature_size:,}", str(info.input_size), _takes(info))
        table.add_row(info.name, info.family, *figures, "yes" if info.pretrained else "no")
    return table


def _takes(info: ArchInfo) -> str:
    """The image sides that it takes, in short."""
    if info.fixed_size is not None:
        return f"only {info.fixed_size}"
    return f"n x {info.multiple_of}" if info.multiple_of > 1 else f">= {info.min_size}"
