"""How a vendor does in a project: what it answered, what was made of it, how good and how fast, and what it costs.

Everything of its batches there but of drafts, together and by each of its people. Work is counted as it is paid: by
standing answers. How good it is comes from ``shared.measuring``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.batches import ENDED
from shared.costs import HOUR, Cost, cost
from shared.db import batches as rows
from shared.db import projects, users
from shared.db.batches import Counts, Work
from shared.db.pool import Tx
from shared.domain import Batch, ProjectId, UserId, UserKind
from shared.errors import NotFound
from shared.measuring import PersonQuality, Rate, measure

_AT_ONCE = 200
_CENT = Decimal("0.01")
Amounts = Mapping[str, Decimal]
"""By currency."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one of its people, or of all.

    answered : tasks with an answer that stands; accepted, rejected : by a manager's verdict.
    acceptance : share of accepted among all that were judged; of the others it tells if those were drawn at random.
    gold, consensus, kappa : see ``shared.measuring``; of all, kappa is the mean of each, by the images they share.
    median_s : seconds for an answer, of those whose time was reported.
    spent : for standing answers, or for the hours reported with them.
    """

    answered: int
    accepted: int
    rejected: int
    acceptance: Rate
    gold: Rate
    consensus: Rate
    kappa: float | None
    median_s: float | None
    spent: Amounts


@dataclass(frozen=True, kw_only=True)
class VendorPerson:
    """``annotator`` is the vendor's own name for them; None: the vendor itself."""

    user_id: UserId
    annotator: str | None
    pause_reason: str | None
    figures: Figures


@dataclass(frozen=True, kw_only=True)
class VendorBatch:
    batch: Batch
    counts: Counts
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class VendorRecord:
    """``whole``: what its batches will have cost in the end. ``newest`` is the newest with a price, None without one:
    at its terms ``newest.cost.to_target`` is what the target still takes."""

    vendor_id: UserId
    name: str
    figures: Figures
    whole: Amounts
    people: Sequence[VendorPerson]
    batches: Sequence[VendorBatch]
    newest: VendorBatch | None


def vendor_record(tx: Tx, project_id: ProjectId, vendor_id: UserId) -> VendorRecord:
    """As it stands now. Reads every answer of the project. Raises ``NotFound`` for who is no vendor."""
    projects.get(tx, project_id)
    vendor = users.get(tx, vendor_id)
    if vendor.kind is not UserKind.VENDOR:
        raise NotFound(f"there is no vendor {vendor_id}")
    found = [
        VendorBatch(batch=one, counts=rows.counts(tx, one.id), cost=cost(tx, one))
        for one in _batches(tx, project_id, vendor_id)
    ]
    did = {one.batch.id: rows.work(tx, one.batch.id) for one in found}
    speeds = rows.speeds(tx, project_id, vendor_id)
    measured = {one.user_id: one for one in measure(tx, project_id).people}
    people = []
    for user_id, annotator, median_s in speeds.people:
        work = [(one.batch, w) for one in found for w in did[one.batch.id] if w.annotator == annotator]
        known = [measured[user_id]] if user_id in measured else []
        people.append(
            VendorPerson(
                user_id=user_id,
                annotator=annotator,
                pause_reason=known[0].pause_reason if known else None,
                figures=_figures(work, known, median_s),
            )
        )
    every = [(one.batch, w) for one in found for w in did[one.batch.id]]
    staff = [measured[one.user_id] for one in people if one.user_id in measured]
    priced = [one for one in found if one.batch.price is not None]
    return VendorRecord(
        vendor_id=vendor_id,
        name=vendor.display_name,
        figures=_figures(every, staff, speeds.median_s),
        whole=_whole(priced),
        people=sorted(people, key=lambda one: -one.figures.answered),
        batches=list(reversed(found)),
        newest=priced[-1] if priced else None,
    )


def _batches(tx: Tx, project_id: ProjectId, vendor_id: UserId) -> list[Batch]:
    """All but drafts, in order of id."""
    found: list[Batch] = []
    while page := rows.page(
        tx, project_id=project_id, vendor_id=vendor_id, after=found[-1].id if found else 0, limit=_AT_ONCE
    ):
        found += page
    return found


def _figures(work: Sequence[tuple[Batch, Work]], measured: Sequence[PersonQuality], median_s: float | None) -> Figures:
    accepted, rejected = sum(w.accepted for _, w in work), sum(w.rejected for _, w in work)
    shared = sum(one.shared for one in measured if one.kappa is not None)
    summed = sum(one.kappa * one.shared for one in measured if one.kappa is not None)
    return Figures(
        answered=sum(w.answered for _, w in work),
        accepted=accepted,
        rejected=rejected,
        acceptance=Rate.of(accepted, accepted + rejected),
        gold=_together([one.gold for one in measured]),
        consensus=_together([one.consensus for one in measured]),
        kappa=summed / shared if shared else None,
        median_s=median_s,
        spent=_spent(work),
    )


def _together(rates: Sequence[Rate]) -> Rate:
    return Rate.of(sum(one.right for one in rates), sum(one.answers for one in rates))


def _spent(work: Sequence[tuple[Batch, Work]]) -> Amounts:
    total: dict[str, Decimal] = defaultdict(Decimal)
    for batch, did in work:
        if batch.price is not None and batch.currency is not None:
            units = Decimal(did.seconds) / 3600 if batch.price_per == HOUR else Decimal(did.answered)
            total[batch.currency] += batch.price * units
    return {currency: amount.quantize(_CENT) for currency, amount in total.items()}


def _whole(priced: Sequence[VendorBatch]) -> Amounts:
    """What has ended costs what was spent, the others what their whole size will; or, where that is open, was spent."""
    total: dict[str, Decimal] = defaultdict(Decimal)
    for one in priced:
        ended = one.batch.state in ENDED or one.cost.whole is None
        total[one.batch.currency or ""] += (one.cost.spent if ended else one.cost.whole) or Decimal(0)
    return dict(total)
