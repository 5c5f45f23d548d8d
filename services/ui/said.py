"""The filter by what the newest model says: the images that pass all else are looked up in the model's scores."""

from __future__ import annotations

from dataclasses import replace

from services.ui.parts import Parts
from services.ui.words import _
from shared.curation import MOST
from shared.db import browsing, images, projects, rounds
from shared.db.browsing import Filter
from shared.domain import ProjectId
from shared.errors import Invalid
from shared.opinions import opinions


def resolved(parts: Parts, project_id: ProjectId, wanted: Filter) -> Filter:
    """The filter with the images named of which the model says what is wanted, for the database to look among.

    Raises ``Invalid`` if no model has seen the images, or if more than ``MOST`` pass the rest of the filter.
    """
    if wanted.said is None:
        return wanted
    with parts.system.database.transaction() as tx:
        model = rounds.latest_scored(tx, project_id)
        column = {one.id: one.position for one in projects.classes(tx, project_id)}.get(wanted.said)
        ids = browsing.ids(tx, project_id, wanted, limit=MOST + 1)
        if len(ids) <= MOST:
            found = images.by_ids(tx, project_id, ids)
    if model is None:
        raise Invalid(_("no model has looked at the images yet, so none can be found by what it says"))
    if len(ids) > MOST:
        raise Invalid(_("what the model says can be asked of %s images at most: choose a class, too") % f"{MOST:,}")
    said = opinions(parts.system.store, project_id, model.id, found.values())
    return replace(wanted, among=tuple(one for one in ids if one in said and said[one].column == column))
