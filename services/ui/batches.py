"""Batches for vendors: ordered, watched, paid and judged here by who manages the project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from services.ui.configuration import FormOf
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import ManagesBatches
from services.ui.words import _
from shared import batches
from shared.costs import Cost, cost
from shared.db import batches as rows
from shared.db import projects, users
from shared.db.batches import BatchAnnotation, Counts, Terms, Work
from shared.db.pool import Tx
from shared.domain import AnnotationId, Batch, BatchId, BatchState, Project, ProjectId, User, UserId
from shared.errors import Conflict, Invalid, NotFound
from shared.jobs import Ledger
from shared.selection import catalog
from shared.verdicts import Verdict, judge

router = APIRouter(include_in_schema=False)
BatchPath = Annotated[int, Path(alias="batch_id", ge=1, le=2**63 - 1)]
MOST_LISTED, SAMPLE = 200, 24
LONGEST_NAME, LONGEST_TEXT, LONGEST_REASON = 200, 20_000, 2000
_PILLS = {
    BatchState.OPEN: "running",
    BatchState.IN_PROGRESS: "running",
    BatchState.PAUSED: "paused",
    BatchState.CANCELLING: "paused",
    BatchState.FAILED: "failed",
}


@dataclass(frozen=True, kw_only=True)
class BatchView:
    """A batch as a table shows it. ``share`` of its answers, 0 to 100."""

    batch: Batch
    vendor: str
    counts: Counts
    cost: Cost
    share: int
    late: bool

    @property
    def pill(self) -> str:
        return _PILLS.get(self.batch.state, "")

    @property
    def words(self) -> str:
        return {
            BatchState.DRAFT: _("draft"),
            BatchState.OPEN: _("open"),
            BatchState.IN_PROGRESS: _("in progress"),
            BatchState.PAUSED: _("paused"),
            BatchState.COMPLETED: _("completed"),
            BatchState.CANCELLING: _("being cancelled"),
            BatchState.CANCELLED: _("cancelled"),
            BatchState.FAILED: _("failed"),
        }[self.batch.state]

    def can(self, to: str) -> bool:
        """Whether the batch may become this next."""
        return BatchState(to) in batches.NEXT[self.batch.state]


@router.get("/projects/{project_id}/batches")
def batches_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: ManagesBatches) -> Response:
    return _list(request, parts, user, ProjectId(project_id))


@router.post("/projects/{project_id}/batches")
def create(
    request: Request, project_id: ProjectPath, parts: PartsOf, user: ManagesBatches, typed: dict[str, str] = FormOf
) -> Response:
    try:
        terms = _terms(typed)
        with parts.system.database.transaction() as tx:
            vendor = _vendor(users.vendors(tx), typed.get("vendor", ""))
            batch = batches.create(tx, projects.get(tx, ProjectId(project_id)).id, vendor, terms, f"user:{user.id}")
    except (Invalid, Conflict) as error:
        return _list(request, parts, user, ProjectId(project_id), typed=typed, error=str(error))
    return _to(batch, "made")


@router.get("/projects/{project_id}/batches/{batch_id}")
def batch_page(
    request: Request, project_id: ProjectPath, batch_id: BatchPath, parts: PartsOf, user: ManagesBatches
) -> Response:
    return _one(request, parts, user, ProjectId(project_id), BatchId(batch_id))


@router.post("/projects/{project_id}/batches/{batch_id}/judge")
def judge_sample(
    request: Request,
    project_id: ProjectPath,
    batch_id: BatchPath,
    parts: PartsOf,
    user: ManagesBatches,
    typed: dict[str, str] = FormOf,
) -> Response:
    """Those that were marked are rejected, the others of the page accepted."""
    marked, others = _ids(typed, "reject."), _ids(typed, "shown.")
    others = [one for one in others if one not in marked]
    try:
        with parts.system.database.transaction() as tx:
            batch = _of_project(tx, ProjectId(project_id), BatchId(batch_id))
            actor = f"user:{user.id}"
            if marked:
                judge(tx, batch.id, marked, Verdict.REJECTED, typed.get("reason", "")[:LONGEST_REASON], actor)
            judge(tx, batch.id, others, Verdict.ACCEPTED, "", actor)
    except Invalid as error:
        return _one(request, parts, user, ProjectId(project_id), BatchId(batch_id), error=str(error))
    return _to(batch, "judged")


@router.post("/projects/{project_id}/batches/{batch_id}/{action}")
def act(
    request: Request,
    project_id: ProjectPath,
    batch_id: BatchPath,
    action: Literal["open", "pause", "resume", "cancel"],
    parts: PartsOf,
    user: ManagesBatches,
) -> Response:
    try:
        with parts.system.ledger.transaction() as tx:
            batch = _of_project(tx, ProjectId(project_id), BatchId(batch_id))
            _ACTIONS[action](tx, parts.system.ledger, batch.id, f"user:{user.id}")
    except Conflict as error:
        return _one(request, parts, user, ProjectId(project_id), BatchId(batch_id), error=str(error))
    return _to(batch, action)


_ACTIONS: Mapping[str, Callable[[Tx, Ledger, BatchId, str], Batch]] = {
    "open": batches.open_,
    "pause": lambda tx, ledger, batch_id, actor: batches.pause(tx, batch_id, actor),
    "resume": lambda tx, ledger, batch_id, actor: batches.resume(tx, batch_id, actor),
    "cancel": lambda tx, ledger, batch_id, actor: batches.cancel(tx, batch_id, actor),
}


def _list(
    request: Request,
    parts: Parts,
    user: User,
    project_id: ProjectId,
    *,
    typed: Mapping[str, str] | None = None,
    error: str = "",
) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        found = rows.page(tx, project_id=project.id, limit=MOST_LISTED)
        vendors = users.vendors(tx)
        context = {
            **_shared(user, project, request, error),
            "batches": [_view(tx, one) for one in reversed(found)],
            "vendors": vendors,
            "fills": catalog.names(),
            "typed": defaultdict(str, typed or {"fill": batches.SELECTION, "size": "500", "overlap": "1"}),
        }
    return parts.templates.TemplateResponse(request, "batches.html", context, status_code=422 if error else 200)


def _one(
    request: Request, parts: Parts, user: User, project_id: ProjectId, batch_id: BatchId, *, error: str = ""
) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        batch = _of_project(tx, project.id, batch_id)
        work: Sequence[Work] = rows.work(tx, batch.id)
        sample: Sequence[BatchAnnotation] = rows.sample(tx, batch.id, SAMPLE)
        context = {
            **_shared(user, project, request, error),
            "view": _view(tx, batch),
            "work": work,
            "sample": sample,
        }
    return parts.templates.TemplateResponse(request, "batch.html", context, status_code=409 if error else 200)


def _shared(user: User, project: Project, request: Request, error: str) -> dict[str, Any]:
    return {"user": user, "project": project, "error": error, "done": _done(request)}


def _view(tx: Tx, batch: Batch) -> BatchView:
    vendor = users.names(tx, [batch.vendor_id])[batch.vendor_id]
    return view_of(batch, vendor, rows.counts(tx, batch.id), cost(tx, batch))


def view_of(batch: Batch, vendor: str, counts: Counts, cost: Cost) -> BatchView:
    """A batch as tables show it."""
    return BatchView(
        batch=batch,
        vendor=vendor,
        counts=counts,
        cost=cost,
        share=min(100, 100 * counts.ended // (batch.size * batch.overlap)),
        late=batch.state in batches.LIVE and batch.deadline is not None and batch.deadline < datetime.now(UTC),
    )


def _of_project(tx: Tx, project_id: ProjectId, batch_id: BatchId) -> Batch:
    batch = rows.get(tx, batch_id)
    if batch.project_id != project_id:
        raise NotFound(f"there is no batch {batch_id} in this project")
    return batch


def _terms(typed: Mapping[str, str]) -> Terms:
    """Raises ``Invalid`` for what can't be meant."""
    name, text = typed.get("name", "").strip(), typed.get("instructions", "").strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(_("give the batch a name, of %s characters at most") % LONGEST_NAME)
    if len(text) > LONGEST_TEXT:
        raise Invalid(_("the instructions have %s characters at most") % f"{LONGEST_TEXT:,}")
    price = _amount(typed.get("amount", "").strip())
    per = "hour" if typed.get("per") == "hour" else "label"
    return Terms(
        name=name,
        size=_number(typed.get("size", ""), 1_000_000, _("the size is a number of images, from 1 to 1,000,000")),
        overlap=_number(typed.get("overlap", ""), 25, _("each image is asked of 1 to 25 people")),
        fill=typed.get("fill", ""),
        instructions=text,
        deadline=_moment(typed.get("deadline", "")),
        price=price,
        price_per=None if price is None else per,
        currency=None if price is None else _currency(typed.get("currency", "")),
    )


def _number(text: str, most: int, otherwise: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= most):
        raise Invalid(otherwise)
    return int(text)


def _amount(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < 10**8:
        raise Invalid(_("the price is an amount such as 0.04"))
    return amount


def _currency(text: str) -> str:
    code = text.strip().upper() or "EUR"
    if not (len(code) == 3 and code.isascii() and code.isalpha()):
        raise Invalid(_("the currency is a code of three letters, such as EUR"))
    return code


def _moment(text: str) -> datetime | None:
    """As browsers send it, without an offset: it is UTC."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise Invalid(_("the deadline is a date and a time")) from None


def _vendor(known: Mapping[UserId, str], text: str) -> UserId:
    for one in known:
        if str(one) == text:
            return one
    raise Invalid(_("choose a vendor"))


def _ids(typed: Mapping[str, str], prefix: str) -> list[AnnotationId]:
    found = [name.removeprefix(prefix) for name in typed if name.startswith(prefix)]
    return [AnnotationId(int(one)) for one in found if one.isascii() and one.isdecimal() and len(one) < 19]


def _to(batch: Batch, done: str) -> Response:
    return RedirectResponse(f"/projects/{batch.project_id}/batches/{batch.id}?done={done}", 303)


def _done(request: Request) -> str:
    return {
        "made": _("The batch is made. Its vendor sees it once it is open."),
        "open": _("The batch is open."),
        "pause": _("Paused: nothing more is handed out, and answers to what is held are taken."),
        "resume": _("The batch goes on."),
        "cancel": _("The batch is being cancelled: what is answered stays, and what isn’t is taken back."),
        "judged": _("Recorded. Images of rejected answers are asked again."),
    }.get(request.query_params.get("done", ""), "")
