"""Vendors' batches over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from services.api.parts import BIGGEST_ID
from services.api.schemas.base import In, Name, NextCursor, Out
from shared.costs import Cost
from shared.db.batches import BatchAnnotation, Counts, Terms, Work
from shared.domain import Batch, BatchState
from shared.vendors import MOST_ANSWERS, MOST_TASKS, Outcome, Status
from shared.verdicts import MOST, Verdict
from shared.verdicts import Outcome as Judgement

LONGEST_LEASE_S = 24 * 3600
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Id = Annotated[int, Field(ge=1, le=BIGGEST_ID)]
_Time = Annotated[datetime, Field(description="With its offset from UTC.", examples=["2026-12-24T18:00:00Z"])]
_PRICE: JsonDict = {"amount": "0.04", "per": "label", "currency": "EUR"}
_BATCH: JsonDict = {
    "name": "Herons, December",
    "vendor": "Acme Labels",
    "size": 500,
    "fill": "selection",
    "instructions": "The bird in the middle counts.",
    "deadline": "2026-12-24T18:00:00Z",
    "price": _PRICE,
}


class Price(In):
    """What the vendor is paid, per label that stands or per hour that it reports."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, json_schema_extra={"examples": [_PRICE]})

    amount: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)]
    per: Literal["label", "hour"]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(description="By ISO 4217.")


class _Terms(In):
    @model_validator(mode="after")
    def _has_offset(self) -> Self:
        deadline = getattr(self, "deadline", None)
        if deadline is not None and deadline.tzinfo is None:
            raise ValueError("the deadline needs its offset from UTC, such as a Z at its end")
        return self


class NewBatch(_Terms):
    """`size`: images, each asked of `overlap` people. `fill`: `selection` takes from the project's own queue until the
    size is reached, now and at each new selection; `random` or the name of a strategy chooses all of them once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BATCH]})

    name: Name
    vendor: Name = Field(description="Its name; `GET /v1/vendors` lists them.")
    size: Annotated[int, Field(ge=1, le=1_000_000)]
    fill: Annotated[str, Field(max_length=100)] = "selection"
    overlap: Annotated[int, Field(ge=1, le=25)] = 1
    instructions: Annotated[str, Field(max_length=20_000)] = ""
    deadline: _Time | None = None
    price: Price | None = None
    external_id: ExternalId | None = None

    def terms(self) -> Terms:
        plain = self.model_dump(exclude={"vendor", "price"})
        return Terms(**plain, **_columns(self.price))


class BatchChange(_Terms):
    """What is left out stays as it is; null takes a deadline, a price or an external id away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deadline": "2026-12-31T18:00:00Z"}]})

    name: Name | None = None
    size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    fill: Annotated[str, Field(max_length=100)] | None = None
    overlap: Annotated[int, Field(ge=1, le=25)] | None = None
    instructions: Annotated[str, Field(max_length=20_000)] | None = None
    deadline: _Time | None = None
    price: Price | None = None
    external_id: ExternalId | None = None

    @model_validator(mode="after")
    def _not_null(self) -> Self:
        for name in ("name", "size", "fill", "overlap", "instructions"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} can't be null")
        return self

    def changed(self, now: Terms) -> Terms:
        """``now`` with what is named here."""
        named: dict[str, Any] = self.model_dump(include=self.model_fields_set, exclude={"price"})
        if "price" in self.model_fields_set:
            named.update(_columns(self.price))
        return Terms(**{**vars(now), **named})


def _columns(price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"price": None, "price_per": None, "currency": None}
    return {"price": price.amount, "price_per": price.per, "currency": price.currency}


class CountsOut(Out):
    open: int = Field(description="Tasks that nobody holds.")
    leased: int
    answered: int = Field(description="Answers that stand.")
    passed_on: int = Field(description="Tasks that ended without an answer, because nobody could tell.")
    accepted: int
    rejected: int


class BatchOut(Out):
    """`late`: the deadline has passed and the batch has not ended. `filling`: more questions are still to come."""

    id: int
    project_id: int
    name: str
    external_id: str | None
    state: BatchState
    size: int
    overlap: int
    fill: str
    instructions: str
    deadline: datetime | None
    late: bool
    filling: bool
    error: str | None = Field(description="Why it failed.")
    created_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None


class ManagedBatch(BatchOut):
    """`counts` is null in lists. `revoked` and `dropped`: tasks that a cancellation took away, held and not held."""

    vendor: str
    price: Price | None
    revoked: int
    dropped: int
    counts: CountsOut | None

    @classmethod
    def whole(cls, batch: Batch, vendor: str, now: datetime, counts: Counts | None = None) -> ManagedBatch:
        return cls(
            **_plain(batch, now),
            vendor=vendor,
            price=_price(batch),
            revoked=batch.revoked,
            dropped=batch.dropped,
            counts=counts and CountsOut.of(counts),
        )


class BatchPage(Out):
    items: list[ManagedBatch]
    next_cursor: NextCursor


class VendorClass(Out):
    """An answer to choose from, and what it means."""

    name: str
    description: str


class VendorBatch(BatchOut):
    """A batch as its vendor sees it."""

    question: str = Field(description="The project's name.")
    guidelines: str = Field(description="What all annotators of the project are told.")
    classes: list[VendorClass]
    price: Price | None
    counts: CountsOut

    @classmethod
    def whole(
        cls,
        batch: Batch,
        now: datetime,
        *,
        question: str,
        guidelines: str,
        classes: Mapping[str, str],
        counts: Counts,
    ) -> VendorBatch:
        return cls(
            **_plain(batch, now),
            question=question,
            guidelines=guidelines,
            classes=[VendorClass(name=name, description=text) for name, text in classes.items()],
            price=_price(batch),
            counts=CountsOut.of(counts),
        )


class VendorBatchSummary(BatchOut):
    @classmethod
    def short(cls, batch: Batch, now: datetime) -> VendorBatchSummary:
        return cls(**_plain(batch, now))


class VendorBatchPage(Out):
    items: list[VendorBatchSummary]
    next_cursor: NextCursor


def _plain(batch: Batch, now: datetime) -> dict[str, Any]:
    going = batch.state in (BatchState.OPEN, BatchState.IN_PROGRESS, BatchState.PAUSED)
    return {
        **{name: getattr(batch, name) for name in BatchOut.model_fields if name not in ("late", "filling")},
        "late": going and batch.deadline is not None and batch.deadline < now,
        "filling": going and batch.filled_at is None,
    }


def _price(batch: Batch) -> Price | None:
    if batch.price is None or batch.price_per is None or batch.currency is None:
        return None
    return Price.model_validate({"amount": batch.price, "per": batch.price_per, "currency": batch.currency})


class WorkOut(Out):
    """`annotator`: the vendor's own name for who answered; null: the vendor itself."""

    annotator: str | None
    answered: int
    accepted: int
    rejected: int
    hours: float = Field(description="Reported as `duration_ms`, with `timed` of the standing answers.")
    timed: int
    last_at: datetime | None

    @classmethod
    def whole(cls, work: Work) -> WorkOut:
        plain = {name: getattr(work, name) for name in cls.model_fields if name != "hours"}
        return cls(**plain, hours=work.seconds / 3600)


class StatsOut(Out):
    state: BatchState
    size: int
    share: float = Field(description="Of the size, how much is answered or passed on; 0 to 1.")
    counts: CountsOut
    annotators: list[WorkOut]


class CostOut(Out):
    """Amounts are decimal numbers as text, in `currency`; null without a price. Rejected work costs nothing."""

    currency: str | None
    price: Price | None
    labels: int = Field(description="Answers that stand.")
    hours: float = Field(description="As the vendor reported them with its answers.")
    untimed: int = Field(description="Standing answers without a duration; they are in no hour.")
    spent: Decimal | None
    whole: Decimal | None = Field(description="What the whole batch will have cost, at the same pace.")
    more_labels: int | None = Field(description="Labels that the project's target accuracy still takes, by forecast.")
    to_target: Decimal | None = Field(description="What these cost at this price and pace.")
    forecast: str = Field(description="The forecast in words.")

    @classmethod
    def of_batch(cls, batch: Batch, cost: Cost) -> CostOut:
        return cls(**vars(cost), currency=batch.currency, price=_price(batch))


class VendorOut(Out):
    id: int
    name: str


class VendorList(Out):
    items: list[VendorOut]


class AnnotationOut(Out):
    """`verdict` is null until somebody has judged it. A rejected answer no longer stands: its image is asked again."""

    id: int
    task_id: int
    image_id: int
    filename: str
    class_: str = Field(serialization_alias="class")
    external_id: str | None
    annotator: str | None
    duration_ms: int | None
    created_at: datetime
    verdict: Verdict | None
    reason: str | None

    @classmethod
    def whole(cls, one: BatchAnnotation) -> AnnotationOut:
        return cls(**{("class_" if name == "class_name" else name): value for name, value in vars(one).items()})


class AnnotationPage(Out):
    items: list[AnnotationOut]
    next_cursor: NextCursor


_Ids = Annotated[list[_Id], Field(min_length=1, max_length=MOST)]


class Acceptance(In):
    model_config = ConfigDict(json_schema_extra={"examples": [{"annotation_ids": [101, 102]}]})

    annotation_ids: _Ids


class Rejection(In):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"annotation_ids": [103], "reason": "The heron in the back was meant."}]}
    )

    annotation_ids: _Ids
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class JudgementOut(Out):
    annotation_id: int
    status: Judgement


class JudgementList(Out):
    """A result for each, in the order given."""

    results: list[JudgementOut]


class LeaseIn(In):
    """`annotator`: the vendor's own name for whoever will answer; without it the vendor itself holds the tasks."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"count": 50, "ttl_s": 900, "annotator": "maria"}]})

    count: Annotated[int, Field(ge=1, le=MOST_TASKS)] = 50
    ttl_s: Annotated[int, Field(ge=5, le=LONGEST_LEASE_S, description="Seconds until others may have them.")] = 900
    annotator: ExternalId | None = None


class TaskOut(Out):
    """`image_url`: fetched without the key where it begins with https:// or http://, until the lease ends; with the key
    where it is a path of this api."""

    task_id: int
    image_id: int
    filename: str
    width: int
    height: int
    image_url: str


class LeaseOut(Out):
    """`lease` is the token to send with answers; null if there was nothing to hand out. Then `waiting` says why:
    `ended`, `paused`, `all_leased`, `not_for_you` (what is left this annotator may not answer: it was asked of them
    already, or they are paused) or `not_filled`; ask again after `retry_after_s`, unless it has ended."""

    lease: str | None
    expires_at: datetime | None
    state: BatchState
    waiting: Literal["ended", "paused", "all_leased", "not_for_you", "not_filled"] | None
    retry_after_s: int | None
    classes: list[str]
    tasks: list[TaskOut]


class HeartbeatIn(In):
    ttl_s: Annotated[int, Field(ge=5, le=LONGEST_LEASE_S)] = 900


class HeldOut(Out):
    """The tasks that are still held, after a heartbeat; those that were given back, after a release."""

    task_ids: list[int]


class AnswerIn(In):
    """Either `class` or `cannot_tell`, which ends the task without a label."""

    task_id: _Id
    lease: Annotated[str, Field(min_length=1, max_length=100)]
    class_: Annotated[str, Field(max_length=200)] | None = Field(default=None, alias="class")
    cannot_tell: bool = False
    reason: Annotated[str, Field(max_length=200, description="Why nobody can tell.")] = ""
    external_id: ExternalId | None = None
    duration_ms: Annotated[int, Field(ge=0, le=2**31 - 1, description="How long somebody looked at it.")] | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if (self.class_ is None) != self.cannot_tell:
            raise ValueError("give either class or cannot_tell")
        return self


class AnswersIn(In):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "annotations": [
                        {"task_id": 17, "lease": "1xLm...", "class": "heron", "external_id": "a-1", "duration_ms": 900},
                        {"task_id": 18, "lease": "1xLm...", "cannot_tell": True, "reason": "too dark"},
                    ]
                }
            ]
        }
    )

    annotations: list[AnswerIn] = Field(min_length=1, max_length=MOST_ANSWERS)


class AnswerOut(Out):
    task_id: int
    external_id: str | None
    status: Status
    annotation_id: int | None
    detail: str | None

    @classmethod
    def whole(cls, given: AnswerIn, outcome: Outcome) -> AnswerOut:
        return cls(task_id=given.task_id, external_id=given.external_id, **vars(outcome))


class AnswersOut(Out):
    """A result for each, in the order given. Only `accepted`, `passed_on` and `replayed` are on record."""

    results: list[AnswerOut]
    recorded: int = Field(description="How many of these are on record, now or since before.")
    state: BatchState
