"""Stream-based selective sampling: each image is asked or passed as it arrives, at a rate that people can keep up with.

The threshold follows the scores (Cesa-Bianchi, Gentile and Zaniboni 2006 give the setting; the step is that of online
quantile tracking, a Robbins and Monro (1951) recursion, as in adaptive conformal inference: Gibbs and Candes 2021;
Angelopoulos, Candes and Tibshirani 2023)::

    asked_t = 1 if s_t > q_t else 0        q_{t+1} = q_t + eta (asked_t - rate)

With scores from 0 to ``highest`` and eta = step x highest, the threshold stays from -eta rate to highest + eta (1 -
rate). Summing the steps, ``sum_t (asked_t - rate) = (q_{T+1} - q_1) / eta``: of any T images in a row, whatever their
scores, the number asked differs from ``rate T`` by at most ``1 / step + 1``. No distribution is assumed, so a shift of
the scores, or a model that was just trained anew, changes nothing about that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.selection.base import ROUNDING, Scores


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Settings of a stream.

    rate : the share to ask, above 0 and below 1.
    highest : the highest score there can be: 1 for least confidence and margin, ln C for entropy.
    step : how far the threshold moves, as a share of ``highest``. A long one follows a shift sooner; a short one is
        steadier, and so asks rather the best.
    """

    rate: float
    highest: float = 1.0
    step: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise Invalid(f"rate is {self.rate}; it must be above 0 and below 1")
        if not 0 < self.step <= 1:
            raise Invalid(f"step is {self.step}; it must be above 0 and at most 1")
        if not (self.highest > 0 and math.isfinite(self.highest)):
            raise Invalid(f"highest is {self.highest}; it must be a number above 0")


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """Where a stream stands: its threshold, and how many images it has seen and asked."""

    threshold: float
    seen: int = 0
    asked: int = 0

    def to_dict(self) -> dict[str, float | int]:
        """As JSON can hold it; ``from_dict`` gives the same state back to the last bit."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, float | int]) -> StreamState:
        return cls(threshold=float(stored["threshold"]), seen=int(stored["seen"]), asked=int(stored["asked"]))


def begin(stream: Stream, known: Scores | None = None) -> StreamState:
    """A stream's first state: at the quantile of scores that are known, so that it need not be found by asking; else
    where it would be if all scores were equally likely."""
    if known is None or not len(known):
        return StreamState(threshold=(1 - stream.rate) * stream.highest)
    return StreamState(threshold=float(np.quantile(_checked(stream, known), 1 - stream.rate)))


def offer(stream: Stream, state: StreamState, scores: Scores) -> tuple[npt.NDArray[np.bool_], StreamState]:
    """Which of some images to ask, bool (n,), and the state after them. ``scores`` float64 (n,), in order of arrival;
    one by one or all at once is the same. Raises ``Invalid`` for a score that is not from 0 to ``highest``."""
    scores = _checked(stream, scores)
    eta, threshold = stream.step * stream.highest, state.threshold
    asked = np.zeros(len(scores), dtype=np.bool_)
    for at, score in enumerate(scores.tolist()):
        asked[at] = ask = score > threshold
        threshold += eta * (ask - stream.rate)
    seen, total = state.seen + len(scores), state.asked + int(asked.sum())
    return asked, replace(state, threshold=threshold, seen=seen, asked=total)


def _checked(stream: Stream, scores: Scores) -> Scores:
    """The scores, what exceeds the highest by rounding cut off, because the bound on the rate rests on that."""
    good = (scores >= 0) & (scores <= stream.highest * (1 + ROUNDING))
    if not good.all():
        raise Invalid(f"a score is {scores[~good][0]}; it must be from 0 to {stream.highest:g}")
    return np.minimum(scores, stream.highest)
