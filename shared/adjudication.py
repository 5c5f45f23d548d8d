"""Reviewers decide where people disagreed, and ask for second opinions.

They decide blind: what the others said is told only when it is asked for, and that it was is recorded. Nobody decides
about an image that they have answered themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import adjudication as rows
from shared.db import events, labels, projects, questions, tasks
from shared.db.adjudication import Told
from shared.db.labels import ImageLabel
from shared.db.pool import Tx
from shared.db.questions import Known, Question
from shared.domain import ClassId, ImageId, ProjectId, ProjectState, QuestionId, QuestionState, UserId
from shared.errors import Conflict, Invalid, Retryable
from shared.jobs import Ledger
from shared.labelling import Submitted
from shared.rounds import Rounds
from shared.telemetry import logger

log = logger(__name__)
MOST = 1000
_NEWEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """What people said, each with their record where the answer is known, and the label as it stands, if any."""

    answers: Sequence[tuple[Told, Known | None]]
    label: ImageLabel | None


class Adjudication:
    """Thread-safe. Every method raises ``NotFound`` for what isn't the project's."""

    def __init__(self, ledger: Ledger, rounds: Rounds) -> None:
        self._ledger = ledger
        self._rounds = rounds

    def queue(
        self, project_id: ProjectId, user_id: UserId, *, after: int = 0, limit: int
    ) -> tuple[list[Question], int]:
        """What this reviewer may decide, in order of id beyond ``after``; and how many wait for anybody."""
        with self._ledger.transaction() as tx:
            projects.get(tx, project_id)
            found = rows.queue(tx, project_id, user_id, after=after, limit=limit)
            return found, rows.waiting(tx, project_id)

    def reveal(self, project_id: ProjectId, user_id: UserId, question_id: QuestionId) -> Revealed:
        """What the others said. That it was looked at is recorded."""
        with self._ledger.transaction() as tx:
            question = questions.get(tx, project_id, question_id)
            told = rows.answers(tx, question_id)
            records = questions.skills(tx, project_id, [one.user_id for one in told])
            data = {"question": question_id, "image_ids": [question.image_id]}
            events.record(tx, project_id, f"user:{user_id}", "adjudication.revealed", data)
            label = labels.of_image(tx, question.image_id)
        return Revealed(answers=[(one, records.get(one.user_id)) for one in told], label=label)

    def decide(
        self,
        project_id: ProjectId,
        user_id: UserId,
        question_id: QuestionId,
        class_id: ClassId,
        *,
        key: str,
        duration_ms: int | None = None,
    ) -> Submitted:
        """The reviewer's answer is the label. ``key`` makes it once.

        Raises ``Conflict`` if it was settled meanwhile, if this person has answered about the image, or if ``key`` was
        used for another answer; ``Invalid`` for a class of another project.
        """
        with self._ledger.transaction() as tx:
            if not projects.has_class(tx, project_id, class_id):
                raise Invalid(f"class {class_id} is not one of this project's")
            image_id = questions.get(tx, project_id, question_id).image_id
            question = questions.lock(tx, question_id)
            before = tasks.annotation_by_key(tx, user_id, key)
            if before is not None:
                if (before.image_id, before.class_id) != (image_id, class_id):
                    raise Conflict("this idempotency key was used for another answer")
                return Submitted(annotation=before, replayed=True)
            if question.state is not QuestionState.DISAGREED:
                raise Conflict(f"this question is {question.state.value}: there is nothing to decide any more")
            if rows.has_answered(tx, image_id, user_id):
                raise Conflict("you answered about this image yourself: another reviewer decides")
            task = rows.add_task(tx, project_id, image_id, user_id)
            annotation = tasks.add_annotation(tx, task, user_id, class_id, key=key, duration_ms=duration_ms)
            rows.close_copies(tx, question_id)
            labels.put_human(tx, annotation)
            questions.set_state(
                tx, question_id, QuestionState.ADJUDICATED, answered=question.answered, decided_by=user_id
            )
            data = {"question": question_id, "annotation": annotation.id, "class_id": class_id, "image_ids": [image_id]}
            events.record(tx, project_id, f"user:{user_id}", "adjudication.decided", data)
            audit = questions.is_audit(tx, question_id)
        if audit:
            self._judge(project_id)
        return Submitted(annotation=annotation, replayed=False)

    def _judge(self, project_id: ProjectId) -> None:
        """What the decision says of the model's labels. It is committed: if this fails, the next scoring does it."""
        try:
            self._rounds.audited(project_id)
        except (Retryable, Conflict) as error:
            log.warning("autolabel.judge_failed", project_id=project_id, error=str(error))

    def ask_second_opinions(
        self, project_id: ProjectId, user_id: UserId, image_ids: Sequence[ImageId]
    ) -> list[ImageId]:
        """Ask another person about each image, who isn't told that it has a label. Returns those that are asked.

        Where the answer differs from the label, a reviewer decides; the label stands until then. Left out are images
        without a label by people, and those that are being asked about. Raises ``Conflict`` for a project that was
        never started, ``Invalid`` for more than ``MOST`` images.
        """
        if len(image_ids) > MOST:
            raise Invalid(f"second opinions can be asked for {MOST:,} images at a time")
        with self._ledger.transaction() as tx:
            if projects.lock(tx, project_id).state is ProjectState.DRAFT:
                raise Conflict("nothing is asked before the project is started")
            asked = rows.ask_second_opinions(tx, project_id, user_id, image_ids)
            _record_asked(tx, project_id, user_id, asked)
        return asked

    def opinions(self, project_id: ProjectId, *, before: int | None = None, limit: int) -> list[Question]:
        """Second opinions with an id below ``before``, the newest first."""
        with self._ledger.transaction() as tx:
            projects.get(tx, project_id)
            return rows.opinions(tx, project_id, before=_NEWEST if before is None else before, limit=limit)


def _record_asked(tx: Tx, project_id: ProjectId, user_id: UserId, asked: Sequence[ImageId]) -> None:
    if asked:
        data = {"images": len(asked), "image_ids": list(asked)}
        events.record(tx, project_id, f"user:{user_id}", "second_opinions.asked", data)
