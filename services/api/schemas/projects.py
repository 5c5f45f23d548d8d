"""Projects over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from services.api.schemas.base import In, Name, NextCursor, Out
from shared.configuring import Settings, shown
from shared.domain import Class, Project, ProjectState

_EXAMPLE: JsonDict = {
    "name": "Birds of the reserve",
    "classes": ["heron", "kingfisher", "none"],
    "settings": {"strategy": "hybrid", "initial": 50, "batch_size": 100, "holdout_size": 300},
}


class NewProject(In):
    """`classes` are the answers to choose from, in their order; at least two, each once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Name
    classes: list[Name] = Field(min_length=2, max_length=1000)
    settings: Settings = Field(default_factory=Settings)


class ProjectChange(In):
    """Only the settings that are named change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"settings": {"strategy": "entropy"}}]})

    settings: Settings


class ClassOut(Out):
    """`position` is the column in probabilities. The id never changes."""

    id: int
    position: int
    name: str
    colour: str
    hotkey: str | None


class ProjectSummary(Out):
    id: int
    name: str
    state: ProjectState
    stop_reason: str | None = Field(description="Which stopping rule was met, once the project is finished.")
    created_at: datetime


class ProjectOut(ProjectSummary):
    classes: list[ClassOut]
    settings: Settings

    @classmethod
    def whole(cls, project: Project, classes: Sequence[Class]) -> ProjectOut:
        summary = ProjectSummary.of(project)
        return cls(**dict(summary), classes=[ClassOut.of(c) for c in classes], settings=shown(project.settings))


class ProjectPage(Out):
    items: list[ProjectSummary]
    next_cursor: NextCursor
