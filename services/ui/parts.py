"""What the routes of this service work with: built once by ``create_app``, handed to each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.templating import Jinja2Templates

from services.ui.keeping import Keeping
from services.ui.oidc_provider import Provider
from services.ui.standing import Standings
from services.ui.telling import Telling
from services.ui.throttle import Throttle
from shared.intake.receiving import Receiver
from shared.settings import UiSettings
from shared.system import System


@dataclass(frozen=True, kw_only=True)
class Parts:
    system: System
    settings: UiSettings
    templates: Jinja2Templates
    standings: Standings
    receiver: Receiver
    throttle: Throttle
    provider: Provider | None = None
    """Through which people may sign in, too."""
    telling: Telling
    figures: Keeping[Any] = field(default_factory=partial(Keeping, 10.0))
    """What the dashboard shows that takes a while to find."""


async def _parts(request: Request) -> Parts:
    """Not worth a thread of the pool, which is what a plain function would be called in."""
    parts: Parts = request.app.state.parts
    return parts


BIGGEST_ID = 2**63 - 1
PartsOf = Annotated[Parts, Depends(_parts)]
ProjectPath = Annotated[int, Path(alias="project_id", ge=1, le=BIGGEST_ID)]
ImagePath = Annotated[int, Path(alias="image_id", ge=1, le=BIGGEST_ID)]
TaskPath = Annotated[int, Path(alias="task_id", ge=1, le=BIGGEST_ID)]
