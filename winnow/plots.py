"""Pictures of a comparison: what a person looks at first. Matplotlib is met here and nowhere else.

Colours are those of Okabe and Ito (2008, Color Universal Design), which people with any kind of colour vision can tell
apart; line styles tell them apart in print. The baseline is grey. Every picture is made for light and dark pages.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from winnow.summary import BASELINE

MOST_CLASSES = 20
"""Panels of the picture by class; of more classes those are shown that random does worst at."""
SPREAD = 8
"""From this ratio of the last budget to the first on, labels go by their logarithm."""
LONGEST_LINE = 22
"""Characters of a name beside a curve."""
_STYLES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib: pictures look the same on every machine
    "font.size": 10,
    "svg.hashsalt": "winnow",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.7,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a picture; ``colours`` are those of the strategies in turn."""

    paper: str
    ink: str
    muted: str
    line: str
    baseline: str
    colours: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff",
    ink="#1d1f1b",
    muted="#5c6057",
    line="#e4e5de",
    baseline="#8a8e84",
    colours=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#3fa2d8", "#1d1f1b"),
)
DARK = Theme(
    paper="#1d1f1c",
    ink="#ecede7",
    muted="#a4a99d",
    line="#32352f",
    baseline="#8f948a",
    colours=("#4aa8e8", "#ff8a3d", "#35c79b", "#e59cc6", "#f0c543", "#8fd0f5", "#ecede7"),
)
Draw = Callable[[Figure, Theme], None]


def png(path: Path, draw: Draw, size: tuple[float, float]) -> None:
    """Write a picture for light pages; ``size`` in inches, at 160 dots each."""
    _made(draw, LIGHT, size).savefig(path, dpi=160)


def svg(draw: Draw, theme: Theme, size: tuple[float, float]) -> bytes:
    """The picture as an SVG that needs no fonts, the same bytes for the same figures."""
    written = io.BytesIO()
    with mpl.rc_context(_RC):
        _made(draw, theme, size).savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def _made(draw: Draw, theme: Theme, size: tuple[float, float]) -> Figure:
    colours: dict[Any, Any] = {
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.line,
        "axes.labelcolor": theme.muted,
        "axes.titlecolor": theme.ink,
        "text.color": theme.ink,
        "grid.color": theme.line,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "savefig.facecolor": theme.paper,
    }
    with mpl.rc_context(_RC | colours):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, theme)
        figure.draw_without_rendering()
    return figure


def draw_curves(summary: Mapping[str, Any], key: str = "accuracy", title: str | None = None) -> Draw:
    """Mean ``accuracy`` or ``macro_f1`` by labels, one standard error either way as a band."""
    words = {"accuracy": "accuracy on the test set", "macro_f1": "macro F1 on the test set"}
    measured = words[key].replace("test set", "validation images") if summary["validation"] else words[key]

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.add_subplot()
        lines = {
            label: (_column(one, key, "mean"), _column(one, key, "se")) for label, one in summary["strategies"].items()
        }
        _lines(axes, summary, theme, lines)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
        axes.set_title(title or f"Mean {measured} by labels given", pad=12)

    return draw


def draw_differences(summary: Mapping[str, Any], key: str = "accuracy") -> Draw:
    """Mean paired difference to random in points, with two standard errors as bars."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.add_subplot()
        shown = {label: one for label, one in summary["strategies"].items() if label != BASELINE and one["paired"]}
        lines = {label: (_column(one, key, "diff"), _column(one, key, "diff_se")) for label, one in shown.items()}
        axes.axhline(0, color=theme.baseline, linewidth=1.6, zorder=1.5)
        _lines(axes, summary, theme, lines, scale=100, bars=2.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0"))
        axes.set_title("Points ahead of random, seed by seed; bars are two standard errors", pad=12)

    return draw


def draw_classes(summary: Mapping[str, Any]) -> Draw:
    """A panel for each class: the share of its test images that are told rightly, by labels."""
    names = shown_classes(summary)

    def draw(figure: Figure, theme: Theme) -> None:
        columns = class_columns(len(names))
        panels = figure.subplots(-(-len(names) // columns), columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel in panels[len(names) :]:
            panel.set_visible(False)
        for panel, name in zip(panels, names, strict=False):
            for label, style in styles(summary, theme).items():
                one = summary["strategies"].get(label)
                if one is not None:
                    x = [row["labels"] for row in one["budgets"]]
                    y = [math.nan if value is None else value for value in one["per_class"][name]]
                    panel.plot(x, y, **style, linewidth=2.0 if label != BASELINE else 1.6)
            _label_axis(panel, summary, few=True)
            panel.set_title(name if len(name) <= 24 else name[:23] + "…", fontsize=10, pad=5)
            panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            panel.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
            panel.set_xlabel("")
        for panel in panels[max(0, len(names) - columns) : len(names)]:
            panel.tick_params(labelbottom=True)
        lines = panels[0].get_lines()
        legend = figure.legend(
            handles=lines, labels=list(summary["strategies"]), loc="outside upper left", ncols=6, frameon=False
        )
        legend.set_in_layout(True)
        figure.supxlabel("labels", color=theme.muted, fontsize=10)

    return draw


def class_columns(number: int) -> int:
    return min(5, number)


def shown_classes(summary: Mapping[str, Any]) -> list[str]:
    """Those of which there is a panel: all, or of many those with the lowest final accuracy of the first strategy."""
    first = next(iter(summary["strategies"].values()))
    there = [name for name in summary["classes"] if first["per_class"][name][-1] is not None]
    worst = sorted(there, key=lambda name: float(first["per_class"][name][-1]))[:MOST_CLASSES]
    return [name for name in there if name in worst]


def draw_grid(
    panels: Mapping[str, Sequence[Sequence[float]]],
    rows: Sequence[float],
    columns: Sequence[int],
    best: tuple[str, int, int],
) -> Draw:
    """A panel of coloured cells for each measure: points of AULC ahead of random by alpha (rows) and clusters."""

    def draw(figure: Figure, theme: Theme) -> None:
        values = np.array(list(panels.values()))
        reach = max(float(np.abs(values).max()), 0.1)
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (measure, cells) in zip(axes, panels.items(), strict=True):
            panel.grid(False)
            panel.imshow(np.array(cells), cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
            for row, line in enumerate(cells):
                for column, value in enumerate(line):
                    dark = abs(value) > 0.6 * reach
                    is_best = best == (measure, row, column)
                    panel.text(
                        column, row, f"{value:+.1f}", ha="center", va="center",
                        color="#ffffff" if dark else "#1d1f1b", fontweight="bold" if is_best else "normal",
                    )  # fmt: skip
                    if is_best:
                        frame = Rectangle(
                            (column - 0.47, row - 0.47), 0.94, 0.94, fill=False, edgecolor="#1d1f1b", lw=2
                        )
                        panel.add_patch(frame)
            panel.set_xticks(range(len(columns)), [f"{one:g}" for one in columns])
            panel.set_yticks(range(len(rows)), [f"{one:g}" for one in rows])
            panel.set_xlabel("clusters")
            panel.set_title(measure, pad=8)
            for spine in panel.spines.values():
                spine.set_visible(False)
        axes[0].set_ylabel("alpha")
        figure.suptitle(
            "Points of the learning curve's mean height ahead of random",
            x=0.01,
            ha="left",
            fontsize=12,
            color=theme.ink,
        )

    return draw


def styles(summary: Mapping[str, Any], theme: Theme) -> dict[str, dict[str, Any]]:
    """Colour and line style of each strategy, the same in every picture."""
    others = [label for label in summary["strategies"] if label != BASELINE]
    made: dict[str, dict[str, Any]] = {
        label: {"color": theme.colours[at % len(theme.colours)], "linestyle": _STYLES[at // len(theme.colours) % 3]}
        for at, label in enumerate(others)
    }
    return {
        label: made.get(label, {"color": theme.baseline, "linestyle": (0, (4, 2))}) for label in summary["strategies"]
    }


def _lines(
    axes: Axes,
    summary: Mapping[str, Any],
    theme: Theme,
    lines: Mapping[str, tuple[list[float], list[float]]],
    *,
    scale: float = 1.0,
    bars: float = 0.0,
) -> None:
    ends: list[tuple[float, str, str]] = []
    looks = styles(summary, theme)
    offsets = np.linspace(-1, 1, max(len(lines), 2))
    for at, (label, (means, errors)) in enumerate(lines.items()):
        x = np.array([row["labels"] for row in summary["strategies"][label]["budgets"]], dtype=np.float64)
        y, error = np.array(means) * scale, np.nan_to_num(np.array(errors) * scale)
        look = looks[label]
        if bars:
            # Moved a little to the side, so that no bar hides another.
            x = x * 1.012 ** (offsets[at] * min(len(lines), 6) / 2)
            axes.errorbar(x, y, yerr=bars * error, fmt="none", ecolor=look["color"], elinewidth=1.1, alpha=0.55)
        else:
            axes.fill_between(x, y - error, y + error, color=look["color"], alpha=0.16, linewidth=0)
        width = 1.8 if label == BASELINE else 2.2
        axes.plot(x, y, **look, linewidth=width, marker="o", markersize=4.5, markeredgecolor=theme.paper)
        ends.append((float(y[-1]), label, look["color"]))
    _label_axis(axes, summary)
    _direct_labels(axes, ends)


def _label_axis(axes: Axes, summary: Mapping[str, Any], few: bool = False) -> None:
    labels = next(iter(summary["strategies"].values()))["budgets"]
    ticks = [row["labels"] for row in labels]
    if ticks[-1] >= SPREAD * ticks[0]:
        axes.set_xscale("log")
        apart = 2.6 if few else 1.25
        kept = ticks[-1:]
        for tick in reversed(ticks[:-1]):
            if kept[0] / tick >= apart:
                kept.insert(0, tick)
    else:
        step = -(-len(ticks) // (3 if few else 10))
        kept = ticks[::-1][::step][::-1]
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("labels" + (" (logarithmic)" if axes.get_xscale() == "log" and not few else ""))
    axes.grid(axis="x", visible=False)


def _direct_labels(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names at the right ends of the lines, moved apart where they would overlap."""
    axes.margins(x=0.03, y=0.08)
    axes.autoscale_view()
    low, high = axes.get_ylim()
    root = axes.get_figure(root=True)
    assert root is not None
    inches = axes.get_window_extent().height / root.dpi
    order = sorted((value, _wrapped(label), colour) for value, label, colour in ends)
    places = [value for value, _, _ in order]
    heights = [(high - low) * 11.5 / (72 * inches) * (1 + label.count("\n")) for _, label, _ in order]
    for _ in range(200):
        for at in range(1, len(places)):
            lacking = (heights[at] + heights[at - 1]) / 2 - (places[at] - places[at - 1])
            if lacking > 1e-9:
                places[at - 1] -= lacking / 2
                places[at] += lacking / 2
    for place, (value, label, colour) in zip(places, order, strict=True):
        at_edge = axes.get_yaxis_transform()
        axes.plot((1.0, 1.03), (value, place), color=colour, linewidth=0.8, alpha=0.7, transform=at_edge, clip_on=False)
        axes.text(1.036, place, label, color=colour, va="center", fontsize=9, fontweight="bold", transform=at_edge)
    axes.set_ylim(low, high)


def _wrapped(label: str) -> str:
    """A long label in lines, broken before its settings: it would take its width from the curves."""
    lines = [""]
    for part in label.replace(":", "\n:").split("\n"):
        if lines[-1] and len(lines[-1] + part) > LONGEST_LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _column(strategy: Mapping[str, Any], key: str, part: str) -> list[float]:
    values = [row[key][part] for row in strategy["budgets"]]
    return [math.nan if value is None else float(value) for value in values]
