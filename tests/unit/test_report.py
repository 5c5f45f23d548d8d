"""The page and the pictures of a comparison: what they say, and that they reach for nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from winnow import plots
from winnow.report import findings, write_report
from winnow.summary import Curves, chance_beyond, summarise

LABELS = (50, 100, 400, 1000)
CLASSES = ["cat", "dog <i>", "hen"]


def curves(label: str, lift: float, seeds: int = 3) -> Curves:
    def row(seed: int, labels: int) -> dict[str, Any]:
        # Every seed has its own level and a little of its own at every point.
        start = labels == LABELS[0]
        accuracy = 0.9 - 2 / math.sqrt(labels) + 0.01 * seed + (0.0 if start else lift + 0.002 * ((seed + labels) % 3))
        return {
            "labels": labels,
            "accuracy": accuracy,
            "macro_f1": accuracy - 0.02,
            "per_class": dict.fromkeys(CLASSES, accuracy),
            "train_s": 2.5,
            "score_s": 0.5,
            "select_s": 0.01,
            "distinct": labels // 2,
        }

    return Curves(label=label, by_seed={seed: [row(seed, labels) for labels in LABELS] for seed in range(seeds)})


def summary(seeds: int = 3, lifts: Mapping[str, float] | None = None, **changes: Any) -> dict[str, Any]:
    chosen = {"random": 0.0, "margin": 0.05, "entropy": -0.04} if lifts is None else lifts
    return {
        "dataset": "farm.zip",
        "classes": CLASSES,
        "arch": "mobilenet_v2",
        "mode": "head",
        "image_size": 160,
        "recipe": {},
        "pool": 5000,
        "measured_on": 800,
        "validation": 0.0,
        "imbalance": 1.0,
        "duplicates": 1,
        "data_seed": 0,
        "budgets": list(LABELS),
        "seeds": list(range(seeds)),
        "chance_beyond": chance_beyond(seeds),
        "prepare_s": 12.0,
        "strategies": summarise([curves(label, lift, seeds) for label, lift in chosen.items()], CLASSES),
        "failed": [],
    } | changes


def page(tmp_path: Path, told: Mapping[str, Any]) -> str:
    write_report(tmp_path / "report.html", told)
    return (tmp_path / "report.html").read_text()


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory.mktemp("report"), summary())


def test_the_page_reaches_for_nothing(html: str) -> None:
    assert not re.search(r"https?:|<script|<link|url\(|@import", html)
    sources = re.findall(r'(?:src|srcset|href)="([^"]{0,30})', html)
    assert len(sources) == 6 and all(one.startswith("data:image/svg+xml;base64,") for one in sources)


def test_every_picture_is_there_for_light_and_dark_pages_with_words_for_those_who_cannot_see_it(html: str) -> None:
    assert html.count('media="(prefers-color-scheme: dark)"') == 3
    assert len(re.findall(r'alt="[^"]{20,}"', html)) == 3


def test_the_page_says_what_was_run_and_how_far_to_trust_it(html: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    for words in (
        "Which strategy saves labels on farm.zip",
        "mobilenet_v2, head, 160 px",
        "Test images 800",
        "3 seeds. With so many, chance alone puts a difference that isn't there beyond two standard errors in about 18",
        "the same 800 test images",
        "picked on the same test images",
        "took 12 s, once for all runs",
    ):
        assert words in text, words


def test_differences_beyond_two_standard_errors_are_marked_and_others_are_not(html: str) -> None:
    table = html[html.index("Accuracy by labels") : html.index("Under each mean")]
    rows = {name: table[table.index(f">{name}</th>") :] for name in ("margin", "entropy")}
    margin = rows["margin"][: rows["margin"].index("</tr>")]
    entropy = rows["entropy"][: rows["entropy"].index("</tr>")]
    assert margin.count('class="ahead"') == 4 and 'class="behind"' not in margin
    assert entropy.count('class="behind"') == 4 and 'class="ahead"' not in entropy
    assert margin.count("the same") == 1, "all start with the same labels"


def test_names_are_written_as_text(html: str, tmp_path: Path) -> None:
    failed = [{"strategy": "<b>bald</b>", "seed": 1, "reason": "a < b"}]
    told = page(tmp_path, summary(dataset="<script>alert(1)</script>", failed=failed))
    assert "<script" not in told and "<b>" not in told
    assert "1 run failed" in re.sub(r"<[^>]+>", "", told) and "a &lt; b" in told


def test_the_findings_name_who_is_ahead_behind_and_neither() -> None:
    told = findings(summary(lifts={"random": 0.0, "margin": 0.05, "entropy": -0.04, "hybrid": 0.0}))
    assert told[0].startswith("Over all budgets the mean accuracy of margin is highest")
    assert "labels for what random has with 1,000" in told[1] and "3 of 3 seeds get there" in told[1]
    assert told[2:] == [
        "Over all budgets ahead of random beyond two standard errors: margin.",
        "Over all budgets behind random beyond two standard errors: entropy.",
        "Over all budgets not told apart from random: hybrid.",
    ]


def test_where_nothing_is_better_than_random_it_says_so() -> None:
    told = findings(summary(lifts={"random": 0.0, "entropy": -0.04}))
    assert told[0].startswith("Over all budgets nothing is above random. Nearest is entropy:")
    assert not any("labels for what random has" in one for one in told)


def test_one_seed_and_failures_leave_an_honest_page(tmp_path: Path) -> None:
    single = page(tmp_path, summary(seeds=1))
    assert "With a single seed nothing says how much of a difference is chance" in single
    assert single.count('class="ahead"') == 1, "in the legend alone"
    without_random = summary(lifts={"margin": 0.05})
    assert "There is nothing to compare" in page(tmp_path, without_random)


def test_variants_bring_macro_f1_and_different_pictures(tmp_path: Path, html: str) -> None:
    told = page(tmp_path, summary(imbalance=20.0, duplicates=10))
    assert "1 image for 20 of the commonest" in told and "10 of each picture" in told
    assert "Macro F1" in told and "Different pictures among the labelled" in told
    assert "Macro F1" not in html and "Different pictures" not in html


@pytest.mark.parametrize("number", [1, 12, 30])
def test_any_number_of_strategies_and_classes_can_be_drawn(tmp_path: Path, number: int) -> None:
    names = [f"class {at}" for at in range(number)]
    told = summary(lifts={"random": 0.0} | {f"strategy-{at}": 0.01 * at for at in range(number)})
    for one in told["strategies"].values():
        one["per_class"] = {name: [0.1, 0.2, 0.3, 0.4] for name in names}
    told["classes"] = names
    assert len(plots.shown_classes(told)) == min(number, plots.MOST_CLASSES)
    for draw in (plots.draw_curves(told), plots.draw_differences(told), plots.draw_classes(told)):
        plots.png(tmp_path / "one.png", draw, (6, 4))
        assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_strategy_has_the_same_look_in_every_picture_and_random_is_grey() -> None:
    looks = plots.styles(summary(lifts={f"strategy-{at}": 0.0 for at in range(20)} | {"random": 0.0}), plots.LIGHT)
    assert looks["random"]["color"] == plots.LIGHT.baseline
    assert len({(one["color"], str(one["linestyle"])) for one in looks.values()}) == 21


def test_the_same_figures_give_the_same_picture() -> None:
    told = summary()
    assert plots.svg(plots.draw_curves(told), plots.LIGHT, (6, 4)) == plots.svg(
        plots.draw_curves(told), plots.LIGHT, (6, 4)
    )
