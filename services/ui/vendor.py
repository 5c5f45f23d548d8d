"""The page of a vendor in a project: how its batches stand, how good and how fast it is, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from services.ui.batches import view_of
from services.ui.parts import PartsOf, ProjectPath
from services.ui.permits import ManagesBatches
from shared.db import projects
from shared.domain import ProjectId, UserId
from shared.vendor_record import vendor_record

router = APIRouter(include_in_schema=False)
VendorPath = Annotated[int, Path(alias="vendor_id", ge=1, le=2**63 - 1)]


@router.get("/projects/{project_id}/vendors/{vendor_id}")
def vendor_page(
    request: Request, project_id: ProjectPath, vendor_id: VendorPath, parts: PartsOf, user: ManagesBatches
) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        found = vendor_record(tx, project.id, UserId(vendor_id))
    context = {
        "user": user,
        "project": project,
        "found": found,
        "batches": [view_of(one.batch, found.name, one.counts, one.cost) for one in found.batches],
        "amounts": amounts,
    }
    return parts.templates.TemplateResponse(request, "vendor.html", context)


def amounts(by_currency: Mapping[str, Decimal]) -> str:
    """``12.50 EUR, 3.00 USD``; a dash for none."""
    return ", ".join(f"{amount} {currency}" for currency, amount in sorted(by_currency.items())) or "–"
