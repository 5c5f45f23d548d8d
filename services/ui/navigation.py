"""The places that the navigation leads to: those of a project, and those of the whole system."""

from __future__ import annotations

from dataclasses import dataclass

from services.ui.words import N_


@dataclass(frozen=True, kw_only=True)
class Place:
    """``key`` says which place a page is, ``path`` where it lies; a project's begin below its own address."""

    key: str
    path: str
    name: str


PROJECT = (
    Place(key="overview", path="", name=N_("Overview")),
    Place(key="label", path="/label", name=N_("Label")),
    Place(key="grid", path="/grid", name=N_("Grid")),
    Place(key="quick", path="/quick", name=N_("Quick label")),
    Place(key="map", path="/map", name=N_("Map")),
    Place(key="images", path="/images", name=N_("Images")),
    Place(key="flags", path="/flags", name=N_("Flags")),
    Place(key="data", path="/data", name=N_("Data")),
    Place(key="settings", path="/settings", name=N_("Settings")),
    Place(key="activity", path="/activity", name=N_("Activity")),
)
SYSTEM = (
    Place(key="projects", path="/", name=N_("Projects")),
    Place(key="activity", path="/activity", name=N_("Activity")),
    Place(key="system", path="/system", name=N_("System")),
)
