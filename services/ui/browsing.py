"""The images of a project: a list that is searched and acted on, and the page of one image with its history."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Annotated
from urllib.parse import parse_qsl

import numpy as np
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.ui import filtering
from services.ui.bulk import AT_ONCE, OF_REVIEWERS, Action, do, said
from services.ui.chronicle import chronicle
from services.ui.parts import ImagePath, Parts, PartsOf, ProjectPath
from services.ui.permits import Browses, Reviews
from services.ui.said import resolved
from services.ui.sessions import SignedInAs
from services.ui.words import _
from shared import arrays
from shared.access import Permission, require
from shared.curation import MAY_NOT_MOVE, MOST, may_move
from shared.db import browsing, gold, images, labels, projects, rounds, tags
from shared.db.browsing import ALL, ENOUGH, Filter, Standing
from shared.domain import CheckpointId, Class, ClassId, Image, ImageId, LabelSource, ProjectId, User
from shared.errors import Invalid, NotFound
from shared.imaging import FORMATS
from shared.store.base import scores_prefix
from shared.tagging import LONGEST, clean

router = APIRouter(include_in_schema=False)
PAGE = 60
_BIGGEST_ID = 2**63 - 1


@router.get("/projects/{project_id}/images")
def images_page(request: Request, project_id: ProjectPath, parts: PartsOf, user: Browses) -> Response:
    given = request.query_params
    wanted = resolved(parts, ProjectId(project_id), filtering.parse(given))
    after = _count(given.get("after", ""))
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        classes = projects.classes(tx, project.id)
        found = browsing.page(tx, project.id, wanted, after=after, limit=PAGE + 1)
        matching = browsing.count(tx, project.id, wanted)
        annotators = browsing.annotators(tx, project.id)
        tagged = tags.of_images(tx, [one.id for one in found])
        known_tags = tags.of_project(tx, project.id)
    names = [one.name for one in known_tags]
    if wanted.tag is not None:  # in the case that the project has it in
        wanted = replace(wanted, tag=next((one for one in names if tags.same(one, wanted.tag)), wanted.tag))
    done = given.get("done", "")
    context = {
        "user": user,
        "project": project,
        "classes": classes,
        "by_id": {one.id: one for one in classes},
        "annotators": annotators,
        "formats": FORMATS,
        "standings": list(Standing),
        "sources": list(LabelSource),
        "found": found[:PAGE],
        "more": found[PAGE - 1].id if len(found) > PAGE else None,
        "after": after,
        "matching": matching,
        "enough": ENOUGH,
        "most": MOST,
        "filtered": wanted != ALL,
        "chosen": defaultdict(str, filtering.fields(wanted)),
        "query": filtering.query(wanted),
        "next_query": filtering.query(wanted, after=found[PAGE - 1].id) if len(found) > PAGE else None,
        "done": said(Action(done), _count(given.get("n", "")), given.get("named", "")) if done in set(Action) else None,
        "tagged": tagged,
        "tags": names,
        "longest_tag": LONGEST,
        "may_move": may_move(project),
        "may_not_move": MAY_NOT_MOVE,
    }
    return parts.templates.TemplateResponse(request, "images.html", context)


@router.post("/projects/{project_id}/images/actions")
def act(
    request: Request,
    project_id: ProjectPath,
    parts: PartsOf,
    user: Reviews,
    who: SignedInAs,
    action: Annotated[Action, Form()],
    id: Annotated[list[int] | None, Form()] = None,
    all: Annotated[bool, Form()] = False,
    class_id: Annotated[str, Form()] = "",
    tag: Annotated[str, Form(max_length=200)] = "",
    query: Annotated[str, Form(max_length=2000)] = "",
    confirmed: Annotated[bool, Form()] = False,
) -> Response:
    """Do something to the images chosen, or to all that pass the filter; whatever can't be undone is asked first."""
    project = ProjectId(project_id)
    if action not in OF_REVIEWERS:
        require(who, Permission.MANAGE, project)
    wanted = resolved(parts, project, filtering.parse(dict(parse_qsl(query))))
    class_wanted = _class_wanted(class_id) if action is Action.RELABEL else None
    named = clean(tag) if action in (Action.TAG, Action.UNTAG) else ""
    chosen = _chosen(parts, project, wanted, id or [], all)
    if not confirmed and (all or action not in AT_ONCE):
        return _ask(request, parts, project, user, action, chosen, class_wanted, named, wanted, all)
    changed = do(parts.system, project, user, action, chosen, class_id=class_wanted, tag=named)
    parts.standings.forget(project)
    done = filtering.query(wanted, done=action.value, n=changed, **({"named": named} if named else {}))
    return RedirectResponse(f"/projects/{project}/images?{done}", 303)


@router.get("/projects/{project_id}/images/{image_id}/details")
def image_page(
    request: Request, project_id: ProjectPath, image_id: ImagePath, parts: PartsOf, user: Browses
) -> Response:
    """An image, what is known of it, what the model thinks, and all that happened to it."""
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, ProjectId(project_id))
        image = images.get(tx, project.id, ImageId(image_id))
        classes = projects.classes(tx, project.id)
        label = labels.of_image(tx, image.id)
        entries = chronicle(tx, image, label, classes)
        before, after = browsing.neighbours(tx, project.id, image.id)
        tagged = tags.of_images(tx, [image.id]).get(image.id, [])
        known_tags = tags.of_project(tx, project.id)
        known = gold.of_image(tx, image.id)
        model = rounds.latest_scored(tx, project.id)
        numbers = {turn.id: turn.number for turn in rounds.history(tx, project.id)} if model else {}
    context: dict[str, object] = {
        "user": user,
        "project": project,
        "image": image,
        "classes": classes,
        "label": label,
        "entries": entries,
        "before": before,
        "after": after,
        "opinion": _opinion(parts, image, model.id, classes) if model else [],
        "tagged": tagged,
        "tags": [one.name for one in known_tags if one.name not in tagged],
        "longest_tag": LONGEST,
        "known": known,
        "model": model,
        "model_round": numbers.get(model.round_id) if model else None,
        "may_move": may_move(project),
        "may_not_move": MAY_NOT_MOVE,
    }
    return parts.templates.TemplateResponse(request, "image.html", context)


def _count(text: str) -> int:
    """A number from an address; 0 for what is none."""
    return min(int(text), _BIGGEST_ID) if text.isascii() and text.isdecimal() else 0


def _class_wanted(text: str) -> ClassId:
    if not _count(text):
        raise Invalid(_("choose the class that the images get"))
    return ClassId(_count(text))


def _chosen(parts: Parts, project: ProjectId, wanted: Filter, ids: list[int], all_of_them: bool) -> list[ImageId]:
    """Raises ``Invalid`` for none or too many."""
    with parts.system.database.transaction() as tx:
        projects.get(tx, project)
        if not all_of_them:
            chosen = sorted(images.by_ids(tx, project, [ImageId(i) for i in ids if 1 <= i <= _BIGGEST_ID]))
        else:
            chosen = browsing.ids(tx, project, wanted, limit=MOST + 1)
    if not chosen:
        raise Invalid(_("no image was chosen"))
    if len(chosen) > MOST:
        raise Invalid(_("more than %s images pass this filter: narrow it down first") % f"{MOST:,}")
    return chosen


def _ask(
    request: Request,
    parts: Parts,
    project_id: ProjectId,
    user: User,
    action: Action,
    chosen: list[ImageId],
    class_id: ClassId | None,
    tag: str,
    wanted: Filter,
    all_of_them: bool,
) -> Response:
    with parts.system.database.transaction() as tx:
        project = projects.get(tx, project_id)
        classes = projects.classes(tx, project_id)
    context = {
        "user": user,
        "project": project,
        "action": action.value,
        "chosen": [] if all_of_them else chosen,
        "shown": chosen[:12],
        "count": len(chosen),
        "class_id": class_id or "",
        "class_name": next((one.name for one in classes if one.id == class_id), ""),
        "tag": tag,
        "query": filtering.query(wanted),
        "all": all_of_them,
    }
    return parts.templates.TemplateResponse(request, "confirm.html", context)


def _opinion(
    parts: Parts, image: Image, checkpoint: CheckpointId, classes: list[Class]
) -> list[tuple[str, str, float]]:
    """Name, colour and probability of the likeliest classes, by the newest model; empty before it has seen it."""
    if image.shard_id is None or image.shard_row is None:
        return []
    key = scores_prefix(image.project_id, checkpoint, image.shard_id) + "probabilities.npy"
    try:
        row = arrays.load_rows(parts.system.store, key, [image.shard_row])[0]
    except NotFound:
        return []
    order = np.argsort(-row)[:5]
    return [(classes[at].name, classes[at].colour, float(row[at])) for at in order if at < len(classes)]
