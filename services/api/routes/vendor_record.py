"""How a vendor does in a project, for those who order from it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from services.api.auth import BatchManager
from services.api.parts import BIGGEST_ID, ProjectPath, SystemPart
from services.api.problems import errors
from services.api.schemas.vendor_record import VendorRecordOut
from shared.domain import ProjectId, UserId
from shared.vendor_record import vendor_record

router = APIRouter(prefix="/v1/projects/{project_id}", tags=["batches"])
VendorPath = Annotated[int, Path(ge=1, le=BIGGEST_ID, description="The vendor's id.", examples=[3])]


@router.get("/vendors/{vendor_id}", summary="How a vendor does", responses=errors(404))
def get_vendor_record(
    project_id: ProjectPath, vendor_id: VendorPath, caller: BatchManager, system: SystemPart
) -> VendorRecordOut:
    """What it answered, what was accepted, how good and how fast it is, and what it costs; as a whole, by batch and by
    each of its people. It reads every answer of the project: ask now and then."""
    with system.database.transaction() as tx:
        return VendorRecordOut.whole_of(vendor_record(tx, ProjectId(project_id), UserId(vendor_id)))
