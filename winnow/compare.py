"""``winnow compare``: several strategies with several seeds on one pool, and what they say together.

The images are decoded, or embedded, once for all runs. Finished runs are kept in files, so a comparison that was
stopped goes on where it was, and strategies or seeds can be added to it.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.errors import Invalid
from shared.selection import catalog
from winnow.datasets import open_dataset
from winnow.inputs import plan, prepare
from winnow.options import DEFAULT, SimulateOptions, own_options
from winnow.runs import Failed, Finished, Run, cores, finished_before, run_all, run_path
from winnow.summary import BASELINE, Curves, chance_beyond, summarise

COLD_START = "cold_start"
"""What a strategy of the list may set beside its own options: another strategy for the first labels."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """``strategies`` are names, each perhaps with settings as in ``hybrid:alpha=0.5:measure=entropy``; ``options`` is
    what all have in common, its strategy, options and seed apart."""

    strategies: tuple[str, ...]
    seeds: int
    out: Path
    options: SimulateOptions
    jobs: int | None = None
    fresh: bool = False
    shared_options: Mapping[str, Any]
    """Options for every strategy that has one of that name and doesn't set it itself."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """``summary`` is what ``summary.json`` holds; ``curves`` the runs behind it, ``failed`` those without a result."""

    summary: dict[str, Any]
    curves: tuple[Curves, ...]
    failed: tuple[Failed, ...]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is told while it runs: a run that ended, the how manieth of all it is, and whether it was there before."""

    ended: Finished | Failed
    number: int
    of: int
    kept: bool = False


OnProgress = Callable[[Progress], None]
Say = Callable[[str], None]


def parse_setting(text: str) -> tuple[str, Any]:
    """``name=value``: the value as JSON where it is some, else as a word. Raises ``Invalid``."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Invalid(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def contender(text: str, base: SimulateOptions, shared_options: Mapping[str, Any]) -> SimulateOptions:
    """The options of a strategy as it stands in the list. Raises ``Invalid`` for what there isn't."""
    name, *settings = text.split(":")
    if name == DEFAULT and not settings:
        return replace(base, strategy=DEFAULT)
    own = dict(parse_setting(one) for one in settings)
    cold_start = str(own.pop(COLD_START, base.cold_start))
    known = own_options(name)
    options = {key: value for key, value in shared_options.items() if key in known} | own
    made = replace(base, strategy=name, strategy_options=catalog.complete(name, options), cold_start=cold_start)
    if catalog.entry(cold_start).needs.probabilities or catalog.entry(cold_start).needs.members:
        raise Invalid(f"{cold_start} can't choose the first labels: it needs a model, and there is none yet")
    return made


def compare(asked: CompareOptions, on_progress: OnProgress, say: Say) -> Compared:
    """Run what isn't there yet and write ``curves.csv`` and ``summary.json``. Random is always among the strategies.

    Raises ``Invalid`` before anything is run, ``Conflict`` where ``out`` holds runs with other options; a run that
    fails is only told of in the result.
    """
    labels = list(dict.fromkeys(one.strip() for one in asked.strategies if one.strip()))
    if BASELINE not in labels:
        labels.insert(0, BASELINE)
        say("random is run too: it is what the others are compared with")
    if asked.seeds < 1 or (asked.jobs is not None and asked.jobs < 1):
        raise Invalid("there must be at least one seed, and one job")
    chosen = {label: contender(label, asked.options, asked.shared_options) for label in labels}
    _refuse_unused(asked.shared_options, chosen.values())
    ran = run_missing(chosen, asked, on_progress, say)
    curves = tuple(Curves(label=label, by_seed=ran.by_seed(label)) for label in labels)
    summary = ran.about | {
        "strategies": summarise(curves, ran.about["classes"]),
        "failed": [
            {"strategy": one.run.label, "seed": one.run.options.seed, "reason": one.reason} for one in ran.failed
        ],
    }
    (asked.out / "summary.json").write_text(json.dumps(summary, indent=1))
    write_curves(asked.out / "curves.csv", curves, ran.about["classes"])
    return Compared(summary=summary, curves=curves, failed=ran.failed)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """All runs of a comparison. ``about`` says on what: data set, mode, budgets, sizes and seeds, JSON-ready."""

    about: dict[str, Any]
    finished: tuple[Finished, ...]
    failed: tuple[Failed, ...]

    def by_seed(self, label: str) -> dict[int, list[dict[str, Any]]]:
        """The rounds of one strategy."""
        of_label = [one for one in self.finished if one.run.label == label]
        return {one.run.options.seed: one.result["rounds"] for one in sorted(of_label, key=_seed_of)}


def run_missing(chosen: Mapping[str, SimulateOptions], asked: CompareOptions, on_progress: OnProgress, say: Say) -> Ran:
    """Every strategy of ``chosen`` with every seed, from its file where it is there. Raises as ``compare``."""
    base = asked.options
    budgets, config = base.schedule(), base.learn_config()
    prepare_s = None
    with open_dataset(base.data) as dataset:
        planned = plan(base, dataset)
        if budgets[0] > planned.size:
            raise Invalid(f"the first {budgets[0]} labels are more than the pool's {planned.size} images")
        runs = _runs(chosen, asked, planned.digest())
        if asked.fresh:
            for run in runs:
                run.path.unlink(missing_ok=True)
        kept = [one for run in runs if (one := finished_before(run)) is not None]
        there = {one.run.path for one in kept}
        missing = [run for run in runs if run.path not in there]
        (asked.out / "runs").mkdir(parents=True, exist_ok=True)
        ended: list[Finished | Failed] = []

        def note(one: Finished | Failed, kept: bool = False) -> None:
            ended.append(one)
            on_progress(Progress(ended=one, number=len(ended), of=len(runs), kept=kept))

        for one in kept:
            note(one, kept=True)
        if missing:
            say(f"preparing {planned.size + len(planned.measured):,} images, once for {len(missing)} runs")
            with tempfile.TemporaryDirectory(prefix="winnow-inputs-") as folder:
                inputs = prepare(base, dataset, planned)
                prepare_s = inputs.prepare_s
                inputs.save(Path(folder))
                del inputs
                run_all(missing, Path(folder), jobs=asked.jobs or min(cores(), len(missing)), on_end=note)
    about = {
        "dataset": dataset.name,
        "classes": list(dataset.classes),
        "arch": base.arch,
        "mode": base.mode,
        "image_size": config.image_size,
        "recipe": dict(base.recipe),
        "pool": planned.size,
        "measured_on": len(planned.measured),
        "validation": base.validation,
        "imbalance": base.imbalance,
        "duplicates": base.duplicates,
        "data_seed": base.data_seed,
        "budgets": sorted({min(one, planned.size) for one in budgets}),
        "seeds": list(range(base.seed, base.seed + asked.seeds)),
        "chance_beyond": chance_beyond(asked.seeds),
        "prepare_s": prepare_s,
    }
    return Ran(
        about=about,
        finished=tuple(one for one in ended if isinstance(one, Finished)),
        failed=tuple(one for one in ended if isinstance(one, Failed)),
    )


def _runs(chosen: Mapping[str, SimulateOptions], asked: CompareOptions, digest: str) -> list[Run]:
    """Seed by seed, so that a comparison that is stopped has whole seeds to compare."""
    first = asked.options.seed
    return [
        Run(
            label=label,
            options=replace(options, seed=seed),
            path=run_path(asked.out, label, seed),
            digest=digest,
        )
        for seed in range(first, first + asked.seeds)
        for label, options in chosen.items()
    ]


def _seed_of(one: Finished) -> int:
    return one.run.options.seed


def _refuse_unused(shared_options: Mapping[str, Any], chosen: Iterable[SimulateOptions]) -> None:
    known = {name for one in chosen for name in own_options(one.strategy)}
    unused = sorted(set(shared_options) - known)
    if unused:
        raise Invalid(f"none of the strategies has an option {', '.join(unused)}")


def write_curves(path: Path, curves: Iterable[Curves], classes: Sequence[str]) -> None:
    """A line for each round of each run; a column ``accuracy_<class>`` for each class, empty where the test set lacks
    it, and ``distinct`` where the pool has near-duplicates."""
    rows = [
        {"strategy": one.label, "seed": seed, **{key: value for key, value in row.items() if key != "per_class"}}
        | {f"accuracy_{name}": row["per_class"][name] for name in classes}
        for one in curves
        for seed, rounds in one.by_seed.items()
        for row in rounds
    ]
    per_class = [f"accuracy_{name}" for name in classes]
    columns = ["strategy", "seed", "labels", "accuracy", "macro_f1", *per_class, "train_s", "score_s", "select_s"]
    columns += ["distinct"] if any("distinct" in row for row in rows) else []
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
