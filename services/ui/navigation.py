"""The places that the navigation leads to: those of a project, and those of the whole system."""

from __future__ import annotations

from dataclasses import dataclass

from services.ui.words import N_
from shared.access import Permission


@dataclass(frozen=True, kw_only=True)
class Place:
    """``key`` says which place a page is, ``path`` where it lies; a project's begin below its own address."""

    key: str
    path: str
    name: str
    needs: Permission | None = None
    """Hidden from who lacks it; None: everybody enters who is signed in."""


PROJECT = (
    Place(key="overview", path="", name=N_("Overview"), needs=Permission.WATCH),
    Place(key="label", path="/label", name=N_("Label"), needs=Permission.LABEL),
    Place(key="grid", path="/grid", name=N_("Grid"), needs=Permission.LABEL),
    Place(key="review", path="/review", name=N_("Review"), needs=Permission.REVIEW),
    Place(key="quick", path="/quick", name=N_("Quick label"), needs=Permission.INGEST),
    Place(key="map", path="/map", name=N_("Map"), needs=Permission.REVIEW),
    Place(key="images", path="/images", name=N_("Images"), needs=Permission.BROWSE),
    Place(key="flags", path="/flags", name=N_("Flags"), needs=Permission.REVIEW),
    Place(key="batches", path="/batches", name=N_("Batches"), needs=Permission.BATCH_MANAGE),
    Place(key="quality", path="/quality", name=N_("Quality"), needs=Permission.WATCH),
    Place(key="models", path="/models", name=N_("Models"), needs=Permission.WATCH),
    Place(key="data", path="/data", name=N_("Data"), needs=Permission.MANAGE),
    Place(key="people", path="/people", name=N_("People"), needs=Permission.STAFF),
    Place(key="keys", path="/keys", name=N_("Keys"), needs=Permission.STAFF),
    Place(key="settings", path="/settings", name=N_("Settings"), needs=Permission.MANAGE),
    Place(key="activity", path="/activity", name=N_("Activity"), needs=Permission.AUDIT),
)
SYSTEM = (
    Place(key="projects", path="/", name=N_("Projects")),
    Place(key="activity", path="/activity", name=N_("Activity"), needs=Permission.AUDIT),
    Place(key="people", path="/people", name=N_("People"), needs=Permission.ADMINISTER),
    Place(key="keys", path="/keys", name=N_("Keys"), needs=Permission.ADMINISTER),
    Place(key="webhooks", path="/webhooks", name=N_("Webhooks"), needs=Permission.MANAGE),
    Place(key="system", path="/system", name=N_("System"), needs=Permission.OPERATE),
)
