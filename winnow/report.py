"""``report.html``: a comparison as a page for whoever decides. One file that reaches for nothing, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from winnow import plots
from winnow.summary import BASELINE, BEYOND

WIDE = (9.6, 5.2)


def write_report(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the page of a summary as ``winnow.compare`` makes it."""
    environment = Environment(
        loader=PackageLoader("winnow"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "seconds": _seconds,
        "mark": _mark,
        "number": _number,
        "breakable": _breakable,
    }
    page = environment.get_template("report.html").render(
        **summary,
        baseline=BASELINE,
        beyond=BEYOND,
        others=[label for label in summary["strategies"] if label != BASELINE],
        findings=findings(summary),
        pictures=_pictures(summary),
        best_final=max((one["budgets"][-1]["accuracy"]["mean"] for one in summary["strategies"].values()), default=0.0),
        most_classes=plots.MOST_CLASSES,
        class_note=len(plots.shown_classes(summary)) < len(summary["classes"]),
    )
    path.write_text(page)


def write_pictures(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``curves.png``, ``differences.png`` where there is something to differ from, and ``classes.png``."""
    plots.png(folder / "curves.png", plots.draw_curves(summary), WIDE)
    if _has_differences(summary):
        plots.png(folder / "differences.png", plots.draw_differences(summary), WIDE)
    plots.png(folder / "classes.png", plots.draw_classes(summary), _class_size(summary))


def findings(summary: Mapping[str, Any]) -> list[str]:
    """What there is to say first, in sentences; nothing that the figures don't hold."""
    strategies = {label: one for label, one in summary["strategies"].items() if label != BASELINE}
    if BASELINE not in summary["strategies"] or not strategies:
        return ["There is nothing to compare: every run of random, or of all the others, failed."]
    if len(summary["seeds"]) < 2:
        return ["With a single seed nothing says how much of a difference is chance. Use more --seeds."]
    said = []
    best = max(strategies, key=lambda label: float(strategies[label]["aulc"]["mean"]))
    area = strategies[best]["aulc"]
    figures = f"{_percent(area['mean'])}, {_points(area['diff'])} points against random"
    how = {None: "with no error to hold it against", 0: "within two standard errors"}.get(
        area["beyond"], "beyond two standard errors"
    )
    if area["diff"] is not None and area["diff"] > 0:
        said.append(f"Over all budgets the mean accuracy of {best} is highest: {figures}, {how}.")
    else:
        said.append(f"Over all budgets nothing is above random. Nearest is {best}: {figures}, {how}.")
    reach = summary["strategies"][best]["labels_to_reach"]
    final = summary["budgets"][-1]
    if reach["of_mean_curve"] is not None and area["diff"] is not None and area["diff"] > 0:
        said.append(
            f"Its mean curve needs about {reach['of_mean_curve']:,.0f} labels for what random has with {final:,} "
            f"({_percent(reach['target'])}); {reach['reached']} of {len(reach['by_seed'])} seeds get there."
        )
    ahead = [label for label, one in strategies.items() if one["aulc"]["beyond"] == 1]
    behind = [label for label, one in strategies.items() if one["aulc"]["beyond"] == -1]
    rest = [label for label in strategies if label not in ahead and label not in behind]
    for names, words in (
        (ahead, "ahead of random beyond two standard errors"),
        (behind, "behind random beyond two standard errors"),
        (rest, "not told apart from random"),
    ):
        if names:
            said.append(f"Over all budgets {words}: {', '.join(names)}.")
    return said


def _pictures(summary: Mapping[str, Any]) -> dict[str, dict[str, Markup]]:
    """Each picture as data URIs for light and dark pages."""
    drawn = {
        "curves": (plots.draw_curves(summary), WIDE),
        "classes": (plots.draw_classes(summary), _class_size(summary)),
    }
    if _has_differences(summary):
        drawn["differences"] = (plots.draw_differences(summary), WIDE)
    if summary["imbalance"] > 1:
        drawn["macro_f1"] = (plots.draw_curves(summary, "macro_f1"), WIDE)
    return {
        name: {
            "light": _data_uri(plots.svg(draw, plots.LIGHT, size)),
            "dark": _data_uri(plots.svg(draw, plots.DARK, size)),
        }
        for name, (draw, size) in drawn.items()
    }


def _data_uri(svg: bytes) -> Markup:
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg).decode())


def _has_differences(summary: Mapping[str, Any]) -> bool:
    return any(label != BASELINE and one["paired"] for label, one in summary["strategies"].items())


def _class_size(summary: Mapping[str, Any]) -> tuple[float, float]:
    number = len(plots.shown_classes(summary))
    rows = -(-number // plots.class_columns(number))
    return 11.0, 1.0 + 2.0 * rows if rows > 1 else 3.8


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def _points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:+.1f}".replace("-", "−")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f} s" if value < 10 else f"{value:,.0f} s"


def _breakable(label: str) -> Markup:
    """A label whose settings may stand on lines of their own."""
    return Markup(":<wbr>").join(label.split(":"))


def _mark(record: Mapping[str, Any]) -> str:
    """The style of a difference: ahead or behind where it is beyond two standard errors."""
    return {1: "ahead", -1: "behind"}.get(record["beyond"], "")
