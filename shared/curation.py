"""What people do to many images at once, outside of questions: correct labels, remove them, ask again, move.

Each is one transaction under the project's lock, and one event that names the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from shared.db import curation as rows
from shared.db import events, model_labels, projects
from shared.db.model_labels import Said
from shared.db.pool import Tx
from shared.domain import CheckpointId, ClassId, ImageId, LabelSource, Project, ProjectId, ProjectState, Split, UserId
from shared.errors import Conflict, Invalid, Retryable
from shared.jobs import Ledger
from shared.metrics import LABELS
from shared.rounds import Rounds
from shared.telemetry import logger

log = logger(__name__)
MOST = 10_000
"""Images of one action."""
MAY_NOT_MOVE = (
    "images move between pool and holdout only before the project is started: after that the holdout must stay the "
    "random sample that it is, or the accuracy measured on it means nothing"
)


class Curation:
    """Every method returns the images that it changed, passes over those that aren't the project's, and raises
    ``NotFound`` for an unknown project and ``Invalid`` for more than ``MOST`` images. Thread-safe."""

    def __init__(self, ledger: Ledger, rounds: Rounds) -> None:
        self._ledger = ledger
        self._rounds = rounds

    def relabel(
        self,
        project_id: ProjectId,
        user_id: UserId,
        chosen: Sequence[ImageId],
        class_id: ClassId,
        *,
        suggested: ClassId | None = None,
    ) -> list[ImageId]:
        """Give images a class, as this person's label; ``suggested``: what the model had been seen to say of them.

        Raises ``Invalid`` for a class of another project.
        """
        with self._ledger.transaction() as tx:
            _locked(tx, project_id, chosen)
            if not projects.has_class(tx, project_id, class_id):
                raise Invalid(f"class {class_id} is not one of this project's")
            changed = rows.correct(tx, project_id, chosen, user_id, class_id, suggested)
            _record(tx, project_id, user_id, "labels.corrected", changed, class_id=class_id)
            tx.after_commit(partial(LABELS.labels(str(project_id), LabelSource.HUMAN.value).inc, len(changed)))
        self._nudge(project_id)
        return changed

    def file(
        self, project_id: ProjectId, user_id: UserId, checkpoint_id: CheckpointId, said: Sequence[Said]
    ) -> list[ImageId]:
        """Let a model label images of the pool that have no label. These labels are the model's, with its confidence,
        and stay until a person says otherwise, since this person answers for them."""
        with self._ledger.transaction() as tx:
            _locked(tx, project_id, [one.image_id for one in said])
            changed = model_labels.file(tx, project_id, checkpoint_id, user_id, said)
            _record(tx, project_id, user_id, "labels.filed", changed, checkpoint=checkpoint_id)
            tx.after_commit(partial(LABELS.labels(str(project_id), LabelSource.MODEL.value).inc, len(changed)))
        return changed

    def remove_labels(self, project_id: ProjectId, user_id: UserId, chosen: Sequence[ImageId]) -> list[ImageId]:
        """Images are unlabelled again; the answers that people gave stay on record."""
        with self._ledger.transaction() as tx:
            _locked(tx, project_id, chosen)
            changed = rows.remove_labels(tx, project_id, chosen)
            _record(tx, project_id, user_id, "labels.removed", changed)
        return changed

    def ask_again(self, project_id: ProjectId, user_id: UserId, chosen: Sequence[ImageId]) -> list[ImageId]:
        """Remove labels and ask people about the images next, ahead of everything else.

        Raises ``Conflict`` for a project that was never started: nobody is asked anything yet.
        """
        with self._ledger.transaction() as tx:
            project = _locked(tx, project_id, chosen)
            if project.state is ProjectState.DRAFT:
                raise Conflict("nothing is asked before the project is started")
            changed = rows.ask_again(tx, project_id, chosen, project.settings.asked_of)
            _record(tx, project_id, user_id, "images.asked_again", changed)
        return changed

    def move(self, project_id: ProjectId, user_id: UserId, chosen: Sequence[ImageId], split: Split) -> list[ImageId]:
        """Move images to the pool or to the holdout. Raises ``Conflict`` once the project was started."""
        with self._ledger.transaction() as tx:
            if not may_move(_locked(tx, project_id, chosen)):
                raise Conflict(MAY_NOT_MOVE)
            changed = rows.move(tx, project_id, chosen, split)
            _record(tx, project_id, user_id, "images.moved", changed, split=split.value)
        return changed

    def _nudge(self, project_id: ProjectId) -> None:
        """The labels are committed: if the round can't move on now, the sweeper does it."""
        try:
            self._rounds.nudge(project_id)
        except (Retryable, Conflict) as error:
            log.warning("round.nudge_failed", project_id=project_id, error=str(error))


def may_move(project: Project) -> bool:
    """Whether images may still change between pool and holdout."""
    return project.state is ProjectState.DRAFT


def _locked(tx: Tx, project_id: ProjectId, chosen: Sequence[ImageId]) -> Project:
    if len(chosen) > MOST:
        raise Invalid(f"{MOST:,} images can be changed at a time")
    return projects.lock(tx, project_id)


def _record(tx: Tx, project_id: ProjectId, user_id: UserId, kind: str, changed: Sequence[ImageId], **more: Any) -> None:
    if changed:
        data = {"images": len(changed), **more, "image_ids": list(changed)}
        events.record(tx, project_id, f"user:{user_id}", kind, data)
