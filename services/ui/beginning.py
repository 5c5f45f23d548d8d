"""The first steps: the first user of a new stack, and a new project in three steps or with a sample in one."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import classes as table
from services.ui import form, sample
from services.ui.parts import Parts, PartsOf, ProjectPath
from services.ui.passwords import hash_password
from services.ui.permits import Creates, Manages
from services.ui.sign_in import open_session
from services.ui.words import _
from shared.configuring import Settings, changed_settings, new_settings
from shared.db import events, projects, users
from shared.domain import Project, ProjectId, ProjectState, User
from shared.errors import Conflict, Invalid
from shared.telemetry import logger

log = logger(__name__)
router = APIRouter(include_in_schema=False)
MOST_CLASSES = 1000
_CODE = secrets.token_urlsafe(12)
"""Shown in the log only. Who reads that runs the service, and may be its first user from anywhere."""
_ASKED_AT_START = ("initial", "batch_size", "holdout_size", "label_budget", "target_accuracy")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


# The first user


@router.get("/welcome")
def welcome_page(request: Request, parts: PartsOf) -> Response:
    if not nobody_yet(parts):
        return RedirectResponse("/sign-in", 303)
    return _welcome(request, parts)


@router.post("/welcome")
def make_first_user(
    request: Request,
    parts: PartsOf,
    username: Annotated[str, Form(max_length=100)] = "",
    display_name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
    code: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Works once, for a stack without users, and only for somebody at this machine or with the code from the log."""
    if not nobody_yet(parts):
        return RedirectResponse("/sign-in", 303)
    username, typed = username.strip().lower(), {"username": username, "display_name": display_name, "code": code}
    if not is_at_this_machine(request) and not secrets.compare_digest(code.strip().encode(), _CODE.encode()):
        return _welcome(request, parts, _("The code is not the one in the log of the service."), typed)
    if password != again:
        return _welcome(request, parts, _("The two passwords differ."), typed)
    try:
        hashed = hash_password(password)
        with parts.system.database.transaction() as tx:
            added = users.add_first(tx, username, display_name.strip() or username.title(), hashed)
            if added is not None:
                events.record(tx, None, f"user:{added}", "user.added", {"user": added, "username": username})
            found = users.credentials(tx, username)
    except Invalid as error:
        said = str(error) if "password" in str(error) else _("A user name is made of a-z, 0-9 and . _ @ + -")
        return _welcome(request, parts, said, typed)
    if added is None or found is None:
        return RedirectResponse("/sign-in", 303)
    log.info("user.first", user_id=added)
    return open_session(request, parts, found.user, "/")


def nobody_yet(parts: Parts) -> bool:
    """Whether this stack has no user at all."""
    with parts.system.database.transaction() as tx:
        return not users.any_exists(tx)


def is_at_this_machine(request: Request) -> bool:
    """Whether the browser runs on this machine and meant to come here: no proxy, and no other name for it."""
    host = request.headers.get("host", "").rsplit(":", 1)[0] if request.client else ""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    try:
        local = request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        local = False
    return local and not forwarded and host in _LOCAL_NAMES


def _welcome(request: Request, parts: Parts, error: str = "", typed: Mapping[str, str] | None = None) -> Response:
    local = is_at_this_machine(request)
    if not local:
        log.warning("first_run.code", code=_CODE)
    context = {"error": error, "typed": typed or {}, "local": local}
    return parts.templates.TemplateResponse(request, "welcome.html", context, status_code=422 if error else 200)


# A new project


@router.get("/projects/new")
def new_page(request: Request, parts: PartsOf, user: Creates) -> Response:
    return _new(request, parts, user)


@router.post("/projects/new")
def make(
    request: Request,
    parts: PartsOf,
    user: Creates,
    name: Annotated[str, Form(max_length=1000)] = "",
    classes: Annotated[str, Form(max_length=300_000)] = "",
    kind: Annotated[str, Form(max_length=20)] = "photos",
) -> Response:
    """A project in draft, with the classes of as many lines."""
    typed = {"name": name, "classes": classes, "kind": kind}
    try:
        wanted = [table.class_name(line) for line in classes.splitlines() if line.strip()]
        if len(wanted) > MOST_CLASSES:
            raise Invalid(_("a project has %s classes at most") % f"{MOST_CLASSES:,}")
        settings = new_settings(Settings.model_validate(_KINDS.get(kind, {})))
        with parts.system.database.transaction() as tx:
            try:
                project = projects.create(tx, _name(name), wanted, settings)
            except Conflict:
                raise Invalid(_("there is a project of that name already")) from None
            events.record(tx, project.id, f"user:{user.id}", "project.created", {"name": project.name})
    except Invalid as error:
        return _new(request, parts, user, str(error), typed)
    return RedirectResponse(f"/projects/{project.id}/data", 303)


@router.post("/projects/new/sample")
def make_sample(parts: PartsOf, user: Creates) -> Response:
    """The digits, ready to be labelled."""
    if not sample.available():
        raise Conflict(_("there is no sample here: it comes with scikit-learn, which is not installed"))
    project = sample.make(parts.system, parts.receiver, user.id)
    return RedirectResponse(f"/projects/{project}", 303)


@router.get("/projects/{project_id}/begin")
def begin_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Manages) -> Response:
    """The last step before the start: what will happen, and the few settings that most people want to see."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    if project.state is not ProjectState.DRAFT:
        return RedirectResponse(f"/projects/{project.id}", 303)
    return _begin(request, parts, user, project)


@router.post("/projects/{project_id}/begin")
def begin(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Manages,
    initial: Annotated[str, Form(max_length=20)] = "",
    batch_size: Annotated[str, Form(max_length=20)] = "",
    holdout_size: Annotated[str, Form(max_length=20)] = "",
    label_budget: Annotated[str, Form(max_length=20)] = "",
    target_accuracy: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    typed = {
        "initial": initial,
        "batch_size": batch_size,
        "holdout_size": holdout_size,
        "label_budget": label_budget,
        "target_accuracy": target_accuracy,
        "shown": " ".join(_ASKED_AT_START),
    }
    actor = f"user:{user.id}"
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
    given, errors = form.read(project, typed)
    if errors:
        return _begin(request, parts, user, project, _("Some fields need another look."), typed, errors)
    try:
        with parts.system.ledger.transaction() as tx:
            project = projects.lock(tx, project.id)
            if given.model_fields_set:
                projects.set_settings(tx, project.id, changed_settings(project.settings, given, sealed=True))
                named = given.model_dump(mode="json", include=given.model_fields_set)
                events.record(tx, project.id, actor, "project.settings_changed", named)
            parts.system.rounds.start(tx, project.id, actor)
    except Invalid as error:
        return _begin(request, parts, user, project, str(error), typed)
    parts.standings.forget(project.id)
    return RedirectResponse(f"/projects/{project.id}", 303)


_KINDS: Mapping[str, Mapping[str, object]] = {
    "photos": {"arch": "cnn", "image_size": 64, "channels": 3},
    "small": {"arch": "cnn", "image_size": 32, "channels": 3},
    "grey": {"arch": "cnn", "image_size": 64, "channels": 1},
}
"""Safe to begin with anywhere: nothing is downloaded. Settings offer the rest until images are prepared."""


def _name(text: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Invalid(_("a project needs a name of 1 to 200 characters that can be shown"))
    return name


def _new(
    request: Request, parts: Parts, user: User, error: str = "", typed: Mapping[str, str] | None = None
) -> Response:
    context = {
        "user": user,
        "here": "projects",
        "error": error,
        "typed": typed or {"name": "", "classes": "", "kind": "photos"},
        "sample": sample.available(),
    }
    return parts.templates.TemplateResponse(request, "new.html", context, status_code=422 if error else 200)


def _begin(
    request: Request,
    parts: Parts,
    user: User,
    project: Project,
    error: str = "",
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    now = parts.standings.get(project.id).overview
    sections = form.sections(project, sealed=False, typed=typed or {}, errors=errors or {})
    fields = {one.name: one for section in sections for one in section.fields}
    shown: Sequence[form.Field] = [fields[name] for name in _ASKED_AT_START]
    context = {
        "user": user,
        "project": project,
        "images": now.images,
        "classes": now.classes,
        "fields": shown,
        "error": error,
    }
    return parts.templates.TemplateResponse(request, "begin.html", context, status_code=422 if error else 200)
