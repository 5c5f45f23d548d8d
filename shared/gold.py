"""Gold: images whose answer is known, mixed in among the others to measure who answers.

They are opened in the same statement as the questions around them, with as many copies and a place in the queue like
theirs. Everybody sees each at most once, and an answer to one gives no label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.db import events, projects
from shared.db import gold as rows
from shared.db.pool import Tx
from shared.domain import ImageId, NewTask, Project, ProjectId, TaskKind


def mix(tx: Tx, project: Project, new: Sequence[NewTask], *, seed: int) -> list[NewTask]:
    """The new tasks with gold among them, as many as make ``gold_rate`` of them all, in order of priority.

    Each is put beside a random one of the others and says the same of its strategy and score. Fewer are mixed in where
    fewer images are known. Call before the tasks are opened, and after those that nobody holds were retired.
    """
    rate = project.settings.gold_rate
    wanted = round(len(new) * rate / (1 - rate))
    known = rows.least_asked(tx, project.id, count=wanted, seed=seed) if wanted else []
    if not known:
        return list(new)
    rng = np.random.default_rng([seed, project.id])
    beside = [new[int(i)] for i in rng.integers(len(new), size=len(known))]
    golds = [
        NewTask(
            image_id=image_id,
            kind=TaskKind.GOLD,
            priority=near.priority + float(rng.uniform(-0.5, 0.5)),
            strategy=near.strategy,
            score=near.score,
        )
        for image_id, near in zip(known, beside, strict=True)
    ]
    return sorted([*new, *golds], key=lambda task: task.priority)


def mark(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId], actor: str) -> list[ImageId]:
    """The present labels of images are their known answers; returns those that a person or an import has labelled.

    Raises ``NotFound`` for an unknown project.
    """
    projects.lock(tx, project_id)
    changed = rows.mark(tx, project_id, image_ids, actor)
    _record(tx, project_id, actor, "gold.marked", changed)
    return changed


def unmark(tx: Tx, project_id: ProjectId, image_ids: Sequence[ImageId], actor: str) -> list[ImageId]:
    """They are asked as gold no more, and answers to them measure nobody; returns those that were gold."""
    projects.lock(tx, project_id)
    changed = rows.unmark(tx, project_id, image_ids)
    _record(tx, project_id, actor, "gold.unmarked", changed)
    return changed


def _record(tx: Tx, project_id: ProjectId, actor: str, kind: str, changed: Sequence[ImageId]) -> None:
    if changed:
        events.record(tx, project_id, actor, kind, {"images": len(changed), "image_ids": list(changed)})
