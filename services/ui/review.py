"""The review pages: people's labels against the model's, and the labels that are likeliest wrong."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.ui.hotkeys import with_hotkeys
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Reviews
from services.ui.review_words import words
from services.ui.words import N_
from shared.db import projects, tags
from shared.domain import ProjectId, User
from shared.reviewing import MOST
from shared.tagging import LONGEST

router = APIRouter(include_in_schema=False)
WAYS = (
    ("diagonal", "", N_("Against the model")),
    ("doubts", "/doubts", N_("Likely wrong")),
    ("disagreements", "/disagreements", N_("Disagreements")),
)
"""Key, path below the place, and name of the ways to review."""


@router.get("/projects/{project_id}/review")
def diagonal_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    """Every labelled image in the cell of what people and what the model take it for."""
    context = _context(parts, ProjectId(project_id), user, "diagonal")
    return parts.templates.TemplateResponse(request, "review.html", context)


@router.get("/projects/{project_id}/review/doubts")
def doubts_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    """The labels that are likeliest wrong, one beside the other."""
    context = _context(parts, ProjectId(project_id), user, "doubts")
    return parts.templates.TemplateResponse(request, "review.html", context)


@router.get("/projects/{project_id}/review/disagreements")
def disagreements_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Reviews) -> Response:
    """Images on which people differ, one after the other; what they said is shown on request only."""
    context = _context(parts, ProjectId(project_id), user, "disagreements")
    return parts.templates.TemplateResponse(request, "disagreements.html", context)


def _context(parts: Parts, project_id: ProjectId, user: User, way: str) -> dict[str, Any]:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        classes = with_hotkeys(projects.classes(tx, project.id))
        known_tags = tags.of_project(tx, project.id)
    return {
        "user": user,
        "project": project,
        "classes": classes,
        "ways": WAYS,
        "way": way,
        "tags": [one.name for one in known_tags],
        "longest_tag": LONGEST,
        "page": {
            "project": project.id,
            "user": user.id,
            "way": way,
            "most": MOST,
            "classes": [one.model_dump() for one in classes],
            "words": words(),
        },
    }
