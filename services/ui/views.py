"""What the calls of the labelling page and of the grid answer with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from services.ui.standing import Standing, counted_by_answers
from shared.db import images, tasks
from shared.db.pool import Tx
from shared.db.tasks import Lease
from shared.domain import Image, ProjectId, Task, TaskId, User

MOST_LEASES = 100
BIGGEST_INT, BIGGEST_ID = 2**31 - 1, 2**63 - 1


class ImageView(BaseModel):
    id: int
    url: str
    width: int
    height: int


class TaskView(BaseModel):
    """A question. Whether it is a query or of the holdout, and what chose it, would sway the answer: it isn't said."""

    task_id: int
    fence: int
    lease_until: datetime
    image: ImageView


class MyProgress(BaseModel):
    """``share``, ``done`` and ``total`` are of the round's present step. ``labels`` and ``done`` are answers where some
    give no label."""

    answered_by_me: int
    labels: int
    round: int | None
    step: str | None
    share: float | None
    done: int | None
    total: int | None
    unit: str | None


class HeldLease(BaseModel):
    task_id: int = Field(ge=1, le=BIGGEST_ID)
    fence: int = Field(ge=0, le=BIGGEST_INT)

    def lease(self) -> Lease:
        return Lease(task_id=TaskId(self.task_id), fence=self.fence)


def image_view(image: Image) -> ImageView:
    return ImageView(
        id=image.id,
        url=f"/projects/{image.project_id}/images/{image.id}",
        width=image.width,
        height=image.height,
    )


def task_views(tx: Tx, project_id: ProjectId, leased: Sequence[Task]) -> list[TaskView]:
    """In the same order."""
    pictures = images.by_ids(tx, project_id, [task.image_id for task in leased])
    return [
        TaskView(
            task_id=task.id,
            fence=task.fence,
            lease_until=task.lease_until or datetime.now(UTC),
            image=image_view(pictures[task.image_id]),
        )
        for task in leased
    ]


def my_progress(tx: Tx, standing: Standing, user: User) -> MyProgress:
    answered = tasks.answered_by(tx, standing.overview.project.id, user.id)
    now, step = standing.overview, standing.progress
    counted = counted_by_answers(now.project.settings)
    return MyProgress(
        answered_by_me=answered,
        labels=now.labels.answers if counted else now.labels.pool + now.labels.holdout,
        round=now.round.number if now.round else None,
        step=now.round.state.value if now.round else None,
        share=step.share if step else None,
        done=step.done if step else None,
        total=step.total if step else None,
        unit=step.unit if step else None,
    )
