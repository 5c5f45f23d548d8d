"""Query by committee: the images about which several models, or several passes with dropout, disagree.

Every measure maps float (n, M, C), what each of M members says, to float64 (n,). Like those of one model they work
element by element and add in order, so that a row's score never depends on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.selection.base import (
    NOTHING,
    Floats,
    Labelled,
    Needs,
    Scores,
    Selection,
    ShardScores,
    ShardSource,
    check_k,
)
from shared.selection.power import powered
from shared.selection.sums import in_columns
from shared.selection.topk import Candidates, merge, top
from shared.selection.uncertainty import finish


def vote_entropy(members: Floats) -> Scores:
    """``-sum_c v_c ln v_c``, v_c the share of members whose likeliest class is c (Dagan and Engelson 1995; Settles
    2009, section 3.2): from 0 to ln min(M, C).

    A member's tie goes to the first class. The terms are added in the order of their size, so that images on which
    the votes are split alike are equal to the last bit, whichever the classes.
    """
    count, size, classes = members.shape
    votes = members.argmax(axis=2)
    tallies = np.zeros((count, classes), dtype=np.int32)
    for member in range(size):
        tallies[np.arange(count), votes[:, member]] += 1
    tallies.sort(axis=1)
    terms = -_p_log_p(np.arange(size + 1) / size)
    total = np.zeros(count)
    for column in range(classes):
        total += terms[tallies[:, column]]
    return total


def consensus_entropy(members: Floats) -> Scores:
    """``-sum_c q_c ln q_c``, q the mean of the members' probabilities, in nats: the whole uncertainty of the committee,
    what its members agree is unclear included."""
    return _by_blocks(members, lambda said: _entropy(_mean(said)))


def disagreement(members: Floats) -> Scores:
    """``H(q) - 1/M sum_m H(p_m)``, q the mean of the members' p_m: from 0 to ln min(M, C) nats.

    This is the mutual information of the label and the model (BALD: Houlsby, Huszar, Ghahramani and Lengyel 2011,
    eq. 2; with dropout: Gal, Islam and Ghahramani 2017). Written out it is ``1/M sum_m sum_c p_mc ln(p_mc / q_c)``,
    the mean Kullback-Leibler divergence of the members to their consensus (McCallum and Nigam 1998): one number that
    two literatures found, under two names here.
    """

    def of(said: npt.NDArray[np.float64]) -> Scores:
        apart = np.zeros(said.shape[2])
        for member in said:
            apart += _entropy(member)
        # Members that say the same differ by rounding alone, which may be negative.
        difference: Scores = np.maximum(_entropy(_mean(said)) - apart / len(said), 0.0)
        return difference

    return _by_blocks(members, of)


def _by_blocks(members: Floats, measure: Callable[[npt.NDArray[np.float64]], Scores]) -> Scores:
    """The measure of float64 (M, C, r) blocks of members, one after the other."""
    count, size, classes = members.shape
    scores = np.empty(count)
    for here, columns in in_columns(members.reshape(count, size * classes)):
        scores[here] = measure(columns.reshape(size, classes, -1))
    return scores


def _mean(said: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = np.zeros(said.shape[1:])
    for member in said:
        total += member
    return total / len(said)


def _entropy(p: npt.NDArray[np.float64]) -> Scores:
    """Of the columns of (C, r)."""
    total = np.zeros(p.shape[1])
    for term in _p_log_p(p):
        total -= term
    return total


def _p_log_p(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``p ln p``, with 0 ln 0 = 0."""
    result: npt.NDArray[np.float64] = p * np.log(np.where(p > 0, p, 1.0))
    return result


Disagreement = Callable[[Floats], Scores]
COMMITTEE_MEASURES: dict[str, Disagreement] = {
    "vote_entropy": vote_entropy,
    "consensus_entropy": consensus_entropy,
    "mean_kl": disagreement,
    "bald": disagreement,
}


@dataclass(frozen=True)
class Committee:
    """The k highest by one measure. ``scores`` of the selection are the measure's values."""

    name: str
    needs = Needs(members=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``; nothing is random here, so ``rng`` is not used."""
        check_k(k)
        return finish(merge((map_disputed(shard, self.name, k) for shard in shards()), k))


def map_disputed(shard: ShardScores, measure: str, k: int) -> Candidates:
    """The ``k`` images of a shard about which the members disagree most."""
    return top(Candidates(shard.ids, COMMITTEE_MEASURES[measure](shard.needed_members())), k)


@dataclass(frozen=True, kw_only=True)
class PowerBald:
    """PowerBALD (Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron and Gal 2023): images drawn without
    replacement with probabilities that go with ``BALD^beta``, which keeps a batch from being many times the same.

    ``scores`` are ``beta ln BALD`` plus the noise; see ``power.powered``.
    """

    beta: float = 1.0
    name = "power_bald"
    needs = Needs(members=True)

    def select(self, shards: ShardSource, k: int, rng: np.random.Generator, labelled: Labelled = NOTHING) -> Selection:
        """See ``Strategy.select``. Takes one number from ``rng``, the key of the noise."""
        check_k(k)
        key = rng.integers(2**64, dtype=np.uint64)
        return finish(merge((map_power_bald(shard, self.beta, key, k) for shard in shards()), k))


def map_power_bald(shard: ShardScores, beta: float, key: np.uint64, k: int) -> Candidates:
    """The ``k`` images of a shard with the highest noisy scores."""
    scores = disagreement(shard.needed_members())
    return top(Candidates(shard.ids, powered(shard.ids, scores, beta, key)), k)
