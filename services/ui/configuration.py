"""The settings of a project: its classes, its guidelines, how it chooses and learns, and when it stops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import classes as table
from services.ui import form
from services.ui.hotkeys import with_hotkeys
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.permits import Manages
from services.ui.words import _
from shared.configuring import changed_settings
from shared.db import events, guidelines, images, projects
from shared.db.pool import Tx
from shared.domain import Project, ProjectId, ProjectState, User
from shared.errors import Conflict, Invalid

router = APIRouter(include_in_schema=False)
LONGEST_GUIDELINES = 20_000
MOST_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What was typed and can't be taken: of the whole form, and by field."""

    status: int = 200
    text: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)
    part: str = ""


async def _form(request: Request) -> dict[str, str]:
    """Every field by its name. A page with 1,000 classes has some 5,000 of them."""
    given = await request.form(max_fields=10_000)
    return {name: value for name, value in given.items() if isinstance(value, str)}


FormOf = Depends(_form)


@router.get("/projects/{project_id}/settings")
def settings_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages) -> Response:
    return _page(request, parts, user, ProjectId(project_id), Trouble())


@router.post("/projects/{project_id}/settings")
def change_settings(
    request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages, typed: dict[str, str] = FormOf
) -> Response:
    """Those that differ are changed, all or none."""
    with parts.system.database.transaction() as tx:
        project = projects.lock(tx, ProjectId(project_id))
        given, errors = form.read(project, typed)
        trouble = Trouble(status=422, text=_("Nothing was saved: some fields need another look."), part="learning")
        if errors:
            return _page(request, parts, user, project.id, replace(trouble, errors=errors, typed=typed))
        if given.model_fields_set:
            try:
                changed = changed_settings(project.settings, given, sealed=_sealed(tx, project))
            except (Invalid, Conflict) as error:
                status = 422 if isinstance(error, Invalid) else 409
                said = _("Nothing was saved: %s.") % str(error)
                return _page(request, parts, user, project.id, replace(trouble, status=status, text=said, typed=typed))
            projects.set_settings(tx, project.id, changed)
            named = given.model_dump(mode="json", include=given.model_fields_set)
            events.record(tx, project.id, f"user:{user.id}", "project.settings_changed", named)
    return _saved(parts, project.id, "settings" if given.model_fields_set else "nothing")


@router.post("/projects/{project_id}/settings/classes")
def change_classes(
    request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages, typed: dict[str, str] = FormOf
) -> Response:
    """Names, colours, keys, descriptions, and the order while no model depends on it; all or none."""
    project = ProjectId(project_id)
    try:
        with parts.system.database.transaction() as tx:
            said = _save_classes(tx, projects.lock(tx, project), user, typed)
    except (Invalid, Conflict) as error:
        trouble = Trouble(status=422, text=_("Nothing was saved: %s.") % str(error), typed=typed, part="classes")
        return _page(request, parts, user, project, trouble)
    return _saved(parts, project, "classes" if said else "nothing")


@router.post("/projects/{project_id}/settings/classes/add")
def add_class(
    request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages, typed: dict[str, str] = FormOf
) -> Response:
    project = ProjectId(project_id)
    try:
        with parts.system.database.transaction() as tx:
            projects.lock(tx, project)
            name = table.class_name(typed.get("name", ""))
            present = projects.classes(tx, project)
            if any(one.name == name for one in present):
                raise Invalid(_("there is a class “%s” already") % name)
            if len(present) >= MOST_CLASSES:
                raise Invalid(_("a project has %s classes at most") % f"{MOST_CLASSES:,}")
            projects.add_class(tx, project, name)
            events.record(tx, project, f"user:{user.id}", "classes.changed", {"changes": [f"+ {name}"]})
    except Invalid as error:
        trouble = Trouble(status=422, text=_("Nothing was saved: %s.") % str(error), typed=typed, part="classes")
        return _page(request, parts, user, project, trouble)
    return _saved(parts, project, "classes")


@router.post("/projects/{project_id}/settings/guidelines")
def change_guidelines(
    request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages, typed: dict[str, str] = FormOf
) -> Response:
    project, text = ProjectId(project_id), typed.get("text", "").replace("\r\n", "\n").strip()
    if len(text) > LONGEST_GUIDELINES:
        said = _("Nothing was saved: guidelines may have %s characters.") % f"{LONGEST_GUIDELINES:,}"
        return _page(request, parts, user, project, Trouble(status=422, text=said, typed=typed, part="guidelines"))
    with parts.system.database.transaction() as tx:
        guidelines.set_text(tx, project, text)
        events.record(tx, project, f"user:{user.id}", "project.guidelines_changed")
    return _saved(parts, project, "guidelines")


def _save_classes(tx: Tx, project: Project, user: User, typed: Mapping[str, str]) -> list[str]:
    present = projects.classes(tx, project.id)
    told = {guide.class_id: guide.description for guide in guidelines.get(tx, project.id).classes}
    rows = table.read(present, typed)
    by_id = {one.id: one for one in present}
    if projects.training_began(tx, project.id):
        rows.sort(key=lambda row: by_id[row.id].position)
    wanted = [
        replace(by_id[row.id], position=at, name=row.name, colour=row.colour, hotkey=row.hotkey)
        for at, row in enumerate(rows)
    ]
    said = table.changes(present, rows)
    if said:
        projects.set_classes(tx, project.id, wanted)
    for row in rows:
        if row.description != told.get(row.id, ""):
            guidelines.set_description(tx, project.id, row.id, row.description)
            said.append(f"{row.name}: “{row.description[:40]}”")
    if said:
        events.record(tx, project.id, f"user:{user.id}", "classes.changed", {"changes": said})
    return said


def _page(request: Request, parts: Parts, user: User, project_id: ProjectId, trouble: Trouble) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        classes = projects.classes(tx, project.id)
        sealed = _sealed(tx, project)
        told = guidelines.get(tx, project.id)
        began = projects.training_began(tx, project.id)
    of_learning = trouble.typed if trouble.part == "learning" else {}
    context: dict[str, Any] = {
        "user": user,
        "project": project,
        "classes": classes,
        "keys": {one.id: one.hotkey for one in with_hotkeys(classes)},
        "descriptions": defaultdict(str, {guide.class_id: guide.description for guide in told.classes}),
        "guidelines": trouble.typed.get("text", told.text) if trouble.part == "guidelines" else told.text,
        "longest": LONGEST_GUIDELINES,
        "began": began,
        "sections": form.sections(project, sealed=sealed, typed=of_learning, errors=trouble.errors),
        "strategies": form.strategies(project.settings, of_learning, trouble.errors),
        "trouble": trouble,
        "done": _done(request.query_params.get("saved", "")),
        "typed": trouble.typed if trouble.part == "classes" else {},
    }
    return parts.templates.TemplateResponse(request, "settings.html", context, status_code=trouble.status)


def _sealed(tx: Tx, project: Project) -> bool:
    """Whether images were prepared for models, or are about to be."""
    return project.state is not ProjectState.DRAFT or bool(images.shards(tx, project.id))


def _saved(parts: Parts, project: ProjectId, part: str) -> Response:
    parts.standings.forget(project)
    return RedirectResponse(f"/projects/{project}/settings?saved={part}", 303)


def _done(part: str) -> str:
    return {
        "settings": _("The settings are saved. They count from the next step on."),
        "classes": _("The classes are saved."),
        "guidelines": _("The guidelines are saved. Annotators see them at once."),
        "nothing": _("Nothing was different, so nothing was changed."),
    }.get(part, "")
