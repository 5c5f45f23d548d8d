"""Labels looked at again: kept, or corrected, each once however often it is sent, and taken back as it was said.

A correction is an answer of the reviewer's own and becomes the label, as in ``shared.curation``; a label that was right
stays whose it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from shared.db import curation as labels
from shared.db import events, projects
from shared.db import reviews as rows
from shared.db.reviews import Review
from shared.domain import ClassId, ImageId, LabelSource, ProjectId, UserId
from shared.errors import Conflict, Invalid, Retryable
from shared.jobs import Ledger
from shared.metrics import LABELS
from shared.rounds import Rounds
from shared.telemetry import logger

log = logger(__name__)
MOST = 1_000
"""Images of one action."""


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """``replayed``: it had been recorded before, and nothing changed now."""

    reviews: list[Review]
    replayed: bool = False

    @property
    def corrected(self) -> list[ImageId]:
        return [one.image_id for one in self.reviews if one.corrected]


class Reviewing:
    """Thread-safe. Methods raise ``NotFound`` for an unknown project."""

    def __init__(self, ledger: Ledger, rounds: Rounds) -> None:
        self._ledger = ledger
        self._rounds = rounds

    def say(self, project_id: ProjectId, user_id: UserId, said: Mapping[ImageId, ClassId], *, key: str) -> Reviewed:
        """These images are of these classes. Where the label says so, it is kept and not asked about again; where it
        says otherwise, it is corrected, and a question open about the image is closed.

        Images and classes of other projects are passed over. Raises ``Invalid`` for none or more than ``MOST`` images,
        ``Conflict`` if ``key`` was used for something else.
        """
        if not 1 <= len(said) <= MOST:
            raise Invalid(f"from 1 to {MOST:,} images can be reviewed at a time")
        with self._ledger.transaction() as tx:
            projects.lock(tx, project_id)
            before = rows.said_before(tx, project_id, user_id, key)
            if before:
                if any(said.get(one.image_id) != one.class_id for one in before):
                    raise Conflict("this key was used for other images or classes")
                return Reviewed(reviews=before, replayed=True)
            made = rows.add(tx, project_id, user_id, said, key)
            wrong: dict[ClassId, list[ImageId]] = defaultdict(list)
            for one in made:
                if one.corrected:
                    wrong[one.class_id].append(one.image_id)
            for class_id, images in sorted(wrong.items()):
                changed = labels.correct(tx, project_id, images, user_id, class_id)
                rows.corrected(tx, user_id, key, changed)
                data = {"images": len(changed), "class_id": class_id, "image_ids": changed}
                events.record(tx, project_id, f"user:{user_id}", "labels.corrected", data)
                tx.after_commit(partial(LABELS.labels(str(project_id), LabelSource.HUMAN.value).inc, len(changed)))
            kept = [one.image_id for one in made if not one.corrected]
            if kept:
                data = {"images": len(kept), "image_ids": kept}
                events.record(tx, project_id, f"user:{user_id}", "labels.kept", data)
        if wrong:
            self._nudge(project_id)
        return Reviewed(reviews=made)

    def undo(self, project_id: ProjectId, user_id: UserId, *, key: str) -> list[ImageId]:
        """Take back what this person said under ``key``: the images. Labels are again what they were before, but for
        those that somebody has changed since. Raises ``Conflict`` if there is nothing to take back."""
        with self._ledger.transaction() as tx:
            projects.lock(tx, project_id)
            images, back = rows.undo(tx, project_id, user_id, key)
            if not images:
                raise Conflict("this was taken back already, or never said")
            data = {"images": len(images), "labels": len(back), "image_ids": images}
            events.record(tx, project_id, f"user:{user_id}", "labels.review_undone", data)
        return images

    def _nudge(self, project_id: ProjectId) -> None:
        """The labels are committed: if the round can't move on now, the sweeper does it."""
        try:
            self._rounds.nudge(project_id)
        except (Retryable, Conflict) as error:
            log.warning("round.nudge_failed", project_id=project_id, error=str(error))
