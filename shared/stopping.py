"""When a project is finished: each rule as a function of numbers, with a verdict and the evidence in words. No I/O.

A rule whose limit is None is switched off: it still tells how things stand, and is never met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one rule makes of the evidence.

    name : stable, for programs; ``title`` is for people.
    on, met : a rule that is off is not met.
    value, limit : the number that is judged and the one that it is judged by, each None where there is none.
    done : how far the rule is on its way to being met, 0 to 1; None where that can't be said.
    text : a sentence with the numbers; the reason why the project is finished, if it is.
    """

    name: str
    title: str
    on: bool
    met: bool
    value: float | None
    limit: float | None
    done: float | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def first_met(rules: Sequence[Rule]) -> Rule | None:
    return next((rule for rule in rules if rule.met), None)


def label_budget(spent: int, budget: int | None) -> Rule:
    """People's answers, the holdout's included."""
    text = f"label budget: {spent} labels" if budget is None else f"label budget: {spent} of {budget} labels"
    return _rule(
        "label_budget",
        "Label budget",
        budget,
        spent,
        met=budget is not None and spent >= budget,
        done=spent / budget if budget else None,
        text=text,
    )


def target_accuracy(accuracy: float | None, low: float | None, target: float | None) -> Rule:
    """By ``low``, the lower end of the 95% interval on the holdout: a lucky holdout must not end a project."""
    if low is None:
        text = "target accuracy: there is no holdout figure"
    elif target is None:
        text = f"target accuracy: at least {low:.3f} on the holdout"
    else:
        text = f"target accuracy: at least {low:.3f} on the holdout, target {target:g}"
    return _rule(
        "target_accuracy",
        "Target accuracy",
        target,
        low,
        met=target is not None and low is not None and low >= target,
        done=low / target if target and low is not None else accuracy,
        text=text,
    )


def unsure_share(share: float | None, below: float, limit: float | None) -> Rule:
    """Met when a smaller share of the images without a person's label than ``limit`` is predicted below ``below``."""
    if share is None:
        text = f"unsure share: no image of the pool is left to be unsure of (below {below:g})"
    elif limit is None:
        text = f"unsure share: {share:.1%} of the pool below a confidence of {below:g}"
    else:
        text = f"unsure share: {share:.1%} of the pool below a confidence of {below:g}, limit {limit:.1%}"
    return _rule(
        "unsure_share",
        "Unsure images",
        limit,
        share,
        met=limit is not None and share is not None and share < limit,
        done=None if share is None else (1 - share) / (1 - limit) if limit and limit < 1 else 1 - share,
        text=text,
    )


def plateau(accuracies: Sequence[float], rounds: int, limit: float | None) -> Rule:
    """Met when the best of the last ``rounds`` accuracies exceeds the best of all before by no more than ``limit``.

    ``accuracies`` are those of all models on the holdout, the oldest first. The best is a noisy thing: on 200 images
    an accuracy of 0.9 has a standard error of two points.
    """
    if len(accuracies) <= rounds:
        gain, text = None, f"plateau: {len(accuracies)} measured rounds, {rounds + 1} needed"
    else:
        gain = max(accuracies[-rounds:]) - max(accuracies[:-rounds])
        text = f"plateau: {gain:+.4f} accuracy in the last {rounds} rounds"
        if limit is not None:
            text += f", limit {limit:g}"
    return _rule(
        "plateau",
        "Plateau",
        limit,
        gain,
        met=limit is not None and gain is not None and gain <= limit + 1e-9,  # 0.91 - 0.90 is a little above 0.01
        done=min(len(accuracies) / (rounds + 1), 1.0) if gain is None else _fallen_to(max(gain, 0.0), limit),
        text=text,
    )


def training_error(error: float | None, limit: float | None) -> Rule:
    """The share of its own labels, as augmented, that the newest model got wrong in its last epoch."""
    if error is None:
        text = "training error: the training reported none"
    elif limit is None:
        text = f"training error: {error:.4f}"
    else:
        text = f"training error: {error:.4f}, limit {limit:g}"
    return _rule(
        "training_error",
        "Training error",
        limit,
        error,
        met=limit is not None and error is not None and error <= limit,
        done=None if error is None else _fallen_to(error, limit) if limit is not None else 1 - error,
        text=text,
    )


def agreement(kappas: Sequence[float | None], rounds: int, limit: float | None) -> Rule:
    """Stabilizing predictions (Bloodgood and Vijay-Shanker 2009): the mean of the last kappas reaches ``limit``.

    ``kappas`` compare each model with the one before it, the newest first; of them the first ``rounds`` count, and all
    of these must be known. They use 0.99 and three rounds.
    """
    last = [kappa for kappa in kappas[:rounds] if kappa is not None]
    mean = None if len(last) < rounds else sum(last) / rounds
    if mean is None:
        text = f"stable predictions: {len(last)} of {rounds} comparisons of successive models"
    else:
        text = f"stable predictions: kappa {mean:.4f} over {rounds} rounds"
        if limit is not None:
            text += f", limit {limit:g}"
    return _rule(
        "agreement",
        "Stable predictions",
        limit,
        mean,
        met=limit is not None and mean is not None and mean >= limit,
        done=len(last) / rounds if mean is None else mean / limit if limit else mean,
        text=text,
    )


def max_rounds(number: int, limit: int | None) -> Rule:
    text = f"rounds: {number}" if limit is None else f"rounds: {number} of {limit}"
    met = limit is not None and number >= limit
    return _rule("max_rounds", "Rounds", limit, number, met=met, done=number / limit if limit else None, text=text)


def pool_exhausted(left: bool, labelled: int, images: int) -> Rule:
    """Always on. ``labelled`` of the pool's ``images`` have a person's or the model's label; ``left``: more to ask."""
    text = f"pool: {labelled} of {images} images have a label"
    if not left:
        text = "pool exhausted: every image is labelled or was skipped"
    done = labelled / images if images else None
    return Rule(
        name="pool_exhausted",
        title="Pool exhausted",
        on=True,
        met=not left,
        value=labelled,
        limit=images,
        done=None if done is None else min(done, 1.0),
        text=text,
    )


def _fallen_to(value: float, limit: float | None) -> float:
    """How far a number that falls towards a limit has come: 1 at the limit, a half at twice the limit."""
    if limit is None:
        return 1 - min(value, 1.0)
    return 1.0 if value <= limit else limit / value


def _rule(
    name: str, title: str, limit: float | None, value: float | None, *, met: bool, done: float | None, text: str
) -> Rule:
    return Rule(
        name=name,
        title=title,
        on=limit is not None,
        met=met,
        value=value,
        limit=limit,
        done=None if done is None else max(0.0, min(done, 1.0)),
        text=text,
    )
