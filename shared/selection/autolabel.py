"""From which confidence on the model may label by itself, and when an audit says that it may not. NumPy, no I/O.

The threshold. Candidates are the fixed confidences of ``shared.learning.metrics.CONFIDENCES``; the evidence is how
many human labels were predicted, by models that had not seen them, with at least that confidence, and how many of those
rightly. For each candidate the hypothesis is that the precision is below the target. Testing many would find one that
passes by luck, so they are tested in a fixed sequence, from the surest down, until the first that does not pass: then
the chance that any of those kept is wrong stays below ``ERROR`` (Angelopoulos, Bates, Candès, Jordan and Lei 2021,
"Learn then Test", arXiv:2110.01052, fixed sequence testing with several starts). Starts are picked by the confidences
alone, which say nothing of what is right. A test is Clopper and Pearson's (1934): exact for equal chances, and safe for
unequal ones (Hoeffding 1956).

What it does not promise. Labels that a strategy picked are no random sample of the pool. They are harder, so much so
that mostly no threshold is found by them; and what the model is sure of and wrong about, which uncertainty never asks,
is missing among them. So the labels that were drawn at random are the evidence, as soon as enough of them are there,
and the audit, whose images are drawn at random from the model's labels, has the last word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid

ERROR = 0.05
"""The chance that is taken of each statement being wrong."""
PASSES = 0.9
"""Chance at which a labelling that errs a quarter as often as allowed passes its first audit."""
MOST_ANSWERS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """``value`` None: no candidate qualifies, and ``reason`` says why. ``low`` is the precision's lower bound there.

    ``labels`` and ``right`` are counted at the threshold, or where the search began if there is none. ``at_random``:
    they are a random sample of the pool.
    """

    value: float | None
    labels: int
    right: int
    low: float
    reason: str
    at_random: bool


Counts = Mapping[str, Sequence[Any]]
"""What ``shared.learning.metrics.right_above`` counted."""


def threshold(above: Counts | None, target: float, *, at_random: Counts | None = None, floor: float = 0.0) -> Threshold:
    """The lowest confidence at which the precision is shown to be ``target`` (above 0.5, below 1) or more.

    ``above`` counts all labels, None where a model has no such evidence; ``at_random`` those drawn at random from the
    pool, and is taken if it has as many as can pass: that depends on their number alone. The answer lies above
    ``floor``, the threshold of an audit that failed.
    """
    least = fewest(target, ERROR) if 0.5 < target < 1 else 0
    if at_random is not None and at_random["n"] and at_random["n"][0] >= least:
        return _threshold(at_random, target, floor, at_random=True)
    return _threshold(above, target, floor, at_random=False)


def _threshold(above: Counts | None, target: float, floor: float, *, at_random: bool) -> Threshold:
    if not 0.5 < target < 1:
        raise Invalid(f"the model can't be asked for a precision of {target}: it must lie between 0.5 and 1")
    if above is None:
        reason = "the model has no out-of-fold predictions"
        return Threshold(value=None, labels=0, right=0, low=0.0, reason=reason, at_random=at_random)
    values = np.asarray(above["thresholds"], np.float64)
    n, right = np.asarray(above["n"], np.int64), np.asarray(above["right"], np.int64)
    starts = _starts(n, target)
    if not starts:
        need = fewest(target, ERROR)
        seen = int(n[0]) if len(n) else 0
        reason = f"{need} labels predicted out of fold with the same high confidence are the least; there are {seen}"
        counted = int(right[0]) if seen else 0
        return Threshold(value=None, labels=seen, right=counted, low=0.0, reason=reason, at_random=at_random)
    passed: set[int] = set()
    for start in starts:
        for at in range(start, -1, -1):
            if _chance_of_fewer_errors(int(n[at]), int(n[at] - right[at]), target) > ERROR / len(starts):
                break
            passed.add(at)
    kept = [at for at in passed if values[at] > floor]
    at = min(kept) if kept else starts[0]
    low = lower_bound(int(right[at]), int(n[at]), ERROR / len(starts))
    return Threshold(
        value=float(values[at]) if kept else None,
        labels=int(n[at]),
        right=int(right[at]),
        low=low,
        reason="" if kept else _why_not(bool(passed), int(n[at]), int(right[at]), target, floor),
        at_random=at_random,
    )


def _why_not(passed: bool, n: int, right: int, target: float, floor: float) -> str:
    if passed:
        return f"an audit failed at {floor:.4f}, and nothing above it has enough labels"
    return f"of the {n} surest out-of-fold predictions {right} are right, which does not show a precision of {target:g}"


def _starts(n: npt.NDArray[np.int64], target: float) -> list[int]:
    """Where sequences begin: the surest candidates with as many labels as can pass, and with half of all.

    Among the fewest labels that can pass one error ends the first sequence: once there are many more, it has a second.
    """
    both = (fewest(target, ERROR / 2), int(n.max(initial=0)) // 2)
    first, second = (int(np.flatnonzero(n >= some)[-1]) if (n >= some).any() else -1 for some in both)
    if second >= 0 and both[1] > both[0] and first != second:
        return [first, second]
    enough = np.flatnonzero(n >= fewest(target, ERROR))
    return [int(enough[-1])] if len(enough) else []


def fewest(target: float, error: float) -> int:
    """How many labels, all of them right, show a precision of ``target``."""
    return math.ceil(math.log(error) / math.log(target))


def random_labels_wanted(target: float) -> int:
    """Labels drawn at random that mostly suffice: twice the fewest, as only the surest of them count."""
    return 2 * fewest(target, ERROR)


def lower_bound(right: int, n: int, error: float = ERROR) -> float:
    """Of a share of which ``right`` of ``n`` were seen: lower with a chance of ``error`` (Clopper and Pearson 1934)."""
    if right == 0 or n == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _chance_of_fewer_errors(n, n - right, middle) > error:
            high = middle
        else:
            low = middle
    return low


def upper_bound(right: int, n: int, error: float = ERROR) -> float:
    """As ``lower_bound``, from the other side."""
    return 1.0 - lower_bound(n - right, n, error) if n else 1.0


def _chance_of_fewer_errors(n: int, errors: int, precision: float) -> float:
    """That of ``n`` draws, each right with a chance of ``precision``, at most ``errors`` are wrong."""
    if errors >= n:
        return 1.0
    if precision in (0.0, 1.0):
        return precision
    some = np.arange(1, errors + 1)
    ways = np.concatenate(([0.0], np.cumsum(np.log((n - some + 1) / some))))
    count = np.arange(errors + 1)
    terms = ways + count * math.log1p(-precision) + (n - count) * math.log(precision)
    top = terms.max()
    return float(min(1.0, math.exp(top) * np.exp(terms - top).sum()))


# The audit


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What people's answers say of the model's labels. ``low`` and ``high`` are one-sided bounds, each at ``ERROR``.

    ``enough`` answers are needed before the lower bound counts; ``failed`` with ``reason``, a sentence for people.
    """

    answers: int
    right: int
    target: float
    low: float
    high: float
    enough: int
    failed: bool
    reason: str


def audit(right_after: Sequence[bool] | npt.NDArray[np.bool_], target: float) -> Audit:
    """Judge the answers in the order in which they came; True where the person said what the model had said.

    Two tests, for two mistakes. *Alarm*, after every answer: the answers alone show that the precision is below
    ``target``. It may be looked at as often as one likes: the chance that it ever rings on a precision of ``target`` or
    more is at most ``ERROR`` (Ville's inequality, for the likelihood ratio averaged over precisions below the target;
    compare Waudby-Smith and Ramdas 2024). *Verdict*, when ``enough_answers`` are there and each time they have doubled:
    the lower bound must reach ``target``. A labelling that stands has passed every look so far, so that looking again
    can't make a bad one pass; a good one may fail, and then loses its labels for nothing, which is the safe side.
    """
    told = np.asarray(right_after, np.bool_)
    n, right, enough = len(told), int(told.sum()), enough_answers(target)
    rings = _alarm(told, target)
    reason = ""
    if rings is not None:
        seen = int(told[:rings].sum())
        reason = f"{rings - seen} of {rings} audited labels were wrong, which shows a precision below {target:g}"
    at = enough
    while not reason and at <= n:
        low = lower_bound(int(told[:at].sum()), at)
        if low < target:
            reason = f"after {at} audited labels the precision is at least {low:.4f}; it must be {target:g}"
        at *= 2
    return Audit(
        answers=n,
        right=right,
        target=target,
        low=lower_bound(right, n),
        high=upper_bound(right, n),
        enough=enough,
        failed=bool(reason),
        reason=reason,
    )


def _alarm(told: npt.NDArray[np.bool_], target: float) -> int | None:
    """After how many answers the evidence of a precision below ``target`` is complete; None if it is not."""
    answers = np.flatnonzero(~told) + 1  # what is right only lowers the evidence
    errors = np.arange(1, len(answers) + 1)
    # Error rates from the one allowed up to a half, evenly apart as logarithms: one wrong answer alone proves nothing.
    rate = (1 - target) * (0.5 / (1 - target)) ** ((np.arange(100) + 0.5) / 100)
    right, wrong = np.log((1 - rate) / target), np.log(rate / (1 - target))
    evidence = (answers - errors)[:, None] * right + errors[:, None] * wrong
    top = evidence.max(axis=1, initial=-np.inf)
    mean = top + np.log(np.exp(evidence - top[:, None]).mean(axis=1))
    rings = np.flatnonzero(mean >= -math.log(ERROR))
    return int(answers[rings[0]]) if len(rings) else None


@cache
def enough_answers(target: float) -> int:
    """Of how many answers on a lower bound is fair: a labelling with a quarter of the errors allowed mostly passes.

    With a chance of ``PASSES``; some 1,000 for a target of 0.99, 200 for 0.95, 100 for 0.9.
    """
    good = 1 - (1 - target) / 4
    n = fewest(target, ERROR)
    for errors in range(1000):
        # The fewest answers at which so many errors still pass: at fewer, the bound is below the target.
        while _chance_of_fewer_errors(n, errors, target) > ERROR:
            n += max(1, n // 200)
            if n > MOST_ANSWERS:
                return MOST_ANSWERS
        if _chance_of_fewer_errors(n, errors, good) >= PASSES:
            return n
    return n


def audits_wanted(model_labels: int, audited: int, share: float, batch_size: int, room: int | None) -> int:
    """How many of the model's labels to ask people about now.

    So many that ``share`` of all that it labelled are asked in time; never more than half a batch at once, and never
    more than half of the ``room`` that a budget leaves (None: no budget): audits teach little.
    """
    missing = math.ceil(share * (model_labels + audited)) - audited
    most = max(1, batch_size // 2)
    if room is not None:
        most = min(most, room // 2)
    return max(0, min(missing, most, model_labels))
