"""How a vendor does in a project, over HTTP."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from services.api.schemas.base import Out
from services.api.schemas.batches import CostOut, CountsOut
from services.api.schemas.quality import RateOut
from shared.domain import BatchState
from shared.vendor_record import VendorBatch, VendorRecord

Amounts = dict[str, Decimal]


class FiguresOut(Out):
    """Of one of a vendor's people, or of all. Shares stand with their 95% interval."""

    answered: int = Field(description="Tasks with an answer that stands.")
    accepted: int
    rejected: int
    acceptance: RateOut = Field(description="Accepted of those judged: of the rest it tells if those were random.")
    gold: RateOut = Field(description="Where the answer is known. A rejected answer stays in it.")
    consensus: RateOut = Field(
        description="Against what several people or a reviewer decided; their own part flatters."
    )
    kappa: float | None = Field(description="Cohen's, the mean with everybody who answered the same images.")
    median_s: float | None = Field(description="Seconds for an answer, of those reported with `duration_ms`.")
    spent: Amounts = Field(description="By currency, as decimal numbers.", examples=[{"EUR": "12.40"}])


class VendorPersonOut(Out):
    user_id: int
    annotator: str | None = Field(description="The vendor's own name for them; null: the vendor itself.")
    pause_reason: str | None = Field(description="Why nothing more is asked of them; null: they may be asked.")
    figures: FiguresOut


class VendorBatchOut(Out):
    id: int
    name: str
    state: BatchState
    size: int
    overlap: int
    counts: CountsOut
    cost: CostOut

    @classmethod
    def whole(cls, one: VendorBatch) -> VendorBatchOut:
        plain = {name: getattr(one.batch, name) for name in ("id", "name", "state", "size", "overlap")}
        return cls(**plain, counts=CountsOut.of(one.counts), cost=CostOut.of_batch(one.batch, one.cost))


class VendorRecordOut(Out):
    """`whole`: what all its batches will have cost in the end, by currency. Drafts are left out."""

    vendor_id: int
    name: str
    figures: FiguresOut
    whole: Amounts
    people: list[VendorPersonOut] = Field(description="Those with the most answers first.")
    batches: list[VendorBatchOut] = Field(description="The newest first.")

    @classmethod
    def whole_of(cls, record: VendorRecord) -> VendorRecordOut:
        return cls(
            vendor_id=record.vendor_id,
            name=record.name,
            figures=FiguresOut.of(record.figures),
            whole=dict(record.whole),
            people=[VendorPersonOut.of(one) for one in record.people],
            batches=[VendorBatchOut.whole(one) for one in record.batches],
        )
