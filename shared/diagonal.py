"""People's labels held against the model's: every labelled image, what people say it is and what a model says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared import arrays
from shared.db import reviews, rounds
from shared.db.pool import Database
from shared.db.reviews import Labelled
from shared.domain import CheckpointId, ImageId, ProjectId, ShardId
from shared.errors import NotFound
from shared.learning.opinions import OPINION, Opinions
from shared.store.base import OPINIONS, Store, scores_prefix


def diagonal(
    database: Database, store: Store, project_id: ProjectId, only: Sequence[ImageId] | None = None
) -> Opinions | None:
    """The labels of now against the newest model, in order of id, all or those of the images ``only``; None before
    there is a model.

    What the model said of its own labels was stored with it. Of images that were labelled since, and of all of them
    where the model is older than such notes, its scores tell. Images that it has not seen at all are left out, and so
    is the ``doubt`` of a label that is another one by now.
    """
    with database.transaction() as tx:
        key = reviews.newest_model(tx, project_id)
        scored = rounds.latest_scored(tx, project_id)
        labelled = reviews.labelled(tx, project_id, only)
    if key is None:
        return None
    try:
        noted = _ordered(arrays.load(store, key + OPINIONS))
        has_notes = True
    except NotFound:
        noted, has_notes = np.zeros(0, OPINION), False
    noted = noted[np.isin(noted["image"], labelled.images)]
    found = noted.copy()
    found["given"] = labelled.positions[np.searchsorted(labelled.images, noted["image"])]
    changed = found["given"] != noted["given"]
    found["doubt"][changed] = -1
    missing = np.flatnonzero(~np.isin(labelled.images, noted["image"]))
    if scored is None or not len(missing):
        return found
    more = _from_scores(store, project_id, scored.id, labelled, missing)
    more["unseen"] = has_notes
    return _ordered(np.concatenate((found, more)))


def _ordered(rows: Opinions) -> Opinions:
    """By image. (NumPy's own sort of whole records takes many times as long.)"""
    return rows[np.argsort(rows["image"], kind="stable")]


def _from_scores(
    store: Store, project_id: ProjectId, checkpoint: CheckpointId, labelled: Labelled, at: NDArray[np.int64]
) -> Opinions:
    """Of the labelled images ``at`` these places, what the scores of the pool say."""
    parts = [np.zeros(0, OPINION)]
    for shard in np.unique(labelled.shards[at]):
        here = at[labelled.shards[at] == shard]
        key = scores_prefix(project_id, checkpoint, ShardId(int(shard))) + "probabilities.npy"
        try:
            said = arrays.load_rows(store, key, labelled.rows[here].tolist())
        except NotFound:
            continue  # it came after the model
        one = np.zeros(len(here), OPINION)
        one["image"], one["given"], one["doubt"] = labelled.images[here], labelled.positions[here], -1
        one["said"], one["confidence"] = said.argmax(axis=1), said.max(axis=1)
        known = np.flatnonzero(one["given"] < said.shape[1])  # a class that was added since has no column
        one["own"][known] = said[known, one["given"][known]]
        said[known, one["given"][known]] = -1
        one["other"] = said.argmax(axis=1)
        parts.append(one)
    return np.concatenate(parts)
