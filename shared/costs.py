"""What a vendor's batch costs: so far, as a whole, and until the project's target is met.

Paid is for answers that stand, per label, or for the time that the vendor reported with them, per hour. A rejected
answer costs nothing. The forecast of the labels still needed is that of the newest round (``shared.forecast``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from shared.db import batches, rounds
from shared.db.batches import Counts
from shared.db.pool import Tx
from shared.domain import Batch

_CENT = Decimal("0.01")
HOUR = "hour"
NO_TARGET = "No forecast: the project has no target accuracy, or no model has been measured yet."


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Amounts in the batch's currency, to the cent; None without a price, or where nothing can be said yet.

    untimed : standing answers without a reported duration, which are in no hour.
    whole : what the batch will have cost once it is answered; by the hour, at the pace so far.
    more_labels, to_target, forecast : labels until the target accuracy, what they cost, and both in words.
    """

    labels: int
    hours: float
    untimed: int
    spent: Decimal | None
    whole: Decimal | None
    more_labels: int | None
    to_target: Decimal | None
    forecast: str


def cost(tx: Tx, batch: Batch) -> Cost:
    """As it stands now."""
    work = batches.work(tx, batch.id)
    evidence = rounds.latest_evidence(tx, batch.project_id)
    return reckon(
        batch,
        batches.counts(tx, batch.id),
        seconds=sum(one.seconds for one in work),
        timed=sum(one.timed for one in work),
        forecast=None if evidence is None else evidence.found.get("forecast"),
    )


def reckon(batch: Batch, counts: Counts, *, seconds: float, timed: int, forecast: Mapping[str, Any] | None) -> Cost:
    """From what is known: ``seconds`` reported with ``timed`` answers, and the forecast of ``shared.evidence``."""
    each = _each(batch, seconds, timed)
    more = None if forecast is None else forecast.get("more")
    spent = None if batch.price is None else _spent(batch, batch.price, counts, seconds)
    left = max(batch.size * batch.overlap - counts.ended, 0)
    return Cost(
        labels=counts.answered,
        hours=seconds / 3600,
        untimed=counts.answered - timed,
        spent=spent,
        whole=None if spent is None or each is None else _cents(spent + each * left),
        more_labels=more,
        to_target=None if each is None or more is None else _cents(each * more * batch.overlap),
        forecast=NO_TARGET if forecast is None else str(forecast.get("text", "")),
    )


def _spent(batch: Batch, price: Decimal, counts: Counts, seconds: float) -> Decimal:
    units = Decimal(seconds) / 3600 if batch.price_per == HOUR else Decimal(counts.answered)
    return _cents(price * units)


def _each(batch: Batch, seconds: float, timed: int) -> Decimal | None:
    """What one answer costs; by the hour, by the mean of those whose time was reported."""
    if batch.price is None:
        return None
    if batch.price_per != HOUR:
        return batch.price
    return batch.price * Decimal(seconds) / 3600 / timed if timed else None


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)
