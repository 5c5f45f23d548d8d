"""What several answers about one image come to: a label, one more answer, or a reviewer's decision.

``decide`` is the rule, on values alone; ``settle`` carries it out within the transaction of the answer that may have
decided it. The question's row is held meanwhile, so that of two last answers at once the later one sees both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.db import labels, projects, questions
from shared.db.pool import Tx
from shared.db.questions import Copies, Question, Said
from shared.domain import ClassId, Overlap, QuestionId, QuestionKind, QuestionState, UserId
from shared.quality.skill import PRIOR_ACCURACY, accuracy, vote_weight
from shared.telemetry import logger

log = logger(__name__)


class Outcome(StrEnum):
    WAIT = "wait"
    ONE_MORE = "one_more"
    LABEL = "label"
    DISAGREED = "disagreed"
    GIVEN_UP = "given_up"
    """Nobody could tell."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``confidence``: the share of the weight of all answers that ``class_id`` has."""

    outcome: Outcome
    class_id: ClassId | None = None
    confidence: float | None = None


def decide(said: Sequence[tuple[UserId, ClassId]], asked: Overlap, copies: Copies, weights: Sequence[float]) -> Verdict:
    """What follows from the answers that stand.

    A class wins with more answers than any other and more than half of their weight: a better record breaks no tie,
    and doesn't outvote the others either; in both cases a reviewer decides. Without ``until_agreement`` all ``copies``
    must have been answered; with it as many must be for the winner, and one more is asked as long as they aren't.

    Parameters
    ----------
    weights : of each answer, not negative, see ``shared.quality.skill.vote_weight``.
    """
    if copies.live:
        return Verdict(outcome=Outcome.WAIT)
    if not said:
        return Verdict(outcome=Outcome.GIVEN_UP)
    winner, votes, share = _winner(said, weights)
    enough = votes if asked.until_agreement else len(said)
    if winner is not None and enough >= asked.copies:
        return Verdict(outcome=Outcome.LABEL, class_id=winner, confidence=share)
    if asked.until_agreement and copies.asked < asked.most:
        return Verdict(outcome=Outcome.ONE_MORE)
    return Verdict(outcome=Outcome.DISAGREED)


def _winner(
    said: Sequence[tuple[UserId, ClassId]], weights: Sequence[float]
) -> tuple[ClassId | None, int, float | None]:
    """The class that wins, its answers, and its share of the weight; None if there is none."""
    (first, votes), *others = Counter(class_id for _, class_id in said).most_common()
    if others and others[0][1] == votes:
        return None, votes, None
    total = sum(weights)
    share = sum(w for (_, c), w in zip(said, weights, strict=True) if c == first) / total if total else 0.0
    return (first, votes, share) if share > 0.5 else (None, votes, None)


def settle(tx: Tx, question_id: QuestionId) -> Question:
    """Carry out what a question's answers come to; the question as it was before.

    Nothing changes once a reviewer has decided, or something else has taken its place: the answers stay on record.
    """
    question = questions.lock(tx, question_id)
    open_to_answers = (QuestionState.ASKING, QuestionState.DISAGREED, QuestionState.RESOLVED)
    if question.state not in open_to_answers or not question.gives_label:
        return question
    said = questions.answers(tx, question_id)
    if question.kind is QuestionKind.SECOND_OPINION:
        _compare(tx, question, said)
        return question
    pairs = [(one.user_id, one.class_id) for one in said]
    verdict = decide(pairs, question.asked_of, questions.copies(tx, question_id), _weights(tx, question, said))
    _carry_out(tx, question, said, verdict)
    return question


def _carry_out(tx: Tx, question: Question, said: Sequence[Said], verdict: Verdict) -> None:
    if verdict.outcome is Outcome.LABEL and verdict.class_id is not None:
        newest = max(one.annotation_id for one in said if one.class_id == verdict.class_id)
        labels.put_consensus(
            tx,
            question.project_id,
            question.image_id,
            verdict.class_id,
            question_id=question.id,
            annotation_id=newest,
            confidence=verdict.confidence,
        )
    elif question.state is QuestionState.RESOLVED:
        labels.withdraw_consensus(tx, question.id)
    if verdict.outcome is Outcome.ONE_MORE:
        questions.ask_one_more(tx, question.id)
    questions.set_state(tx, question.id, _STATES[verdict.outcome], answered=len(said))
    if verdict.outcome is not Outcome.WAIT:
        log.info("question.settled", question_id=question.id, outcome=verdict.outcome.value, answers=len(said))


_STATES: Mapping[Outcome, QuestionState] = {
    Outcome.WAIT: QuestionState.ASKING,
    Outcome.ONE_MORE: QuestionState.ASKING,
    Outcome.LABEL: QuestionState.RESOLVED,
    Outcome.DISAGREED: QuestionState.DISAGREED,
    Outcome.GIVEN_UP: QuestionState.WITHDRAWN,
}


def _weights(tx: Tx, question: Question, said: Sequence[Said]) -> list[float]:
    """Where all say the same, nobody's record is looked at."""
    if len({one.class_id for one in said}) < 2:
        return [1.0] * len(said)
    records = questions.skills(tx, question.project_id, [one.user_id for one in said])
    expected = [
        float(accuracy(records[one.user_id].right, records[one.user_id].answers))
        if one.user_id in records
        else PRIOR_ACCURACY
        for one in said
    ]
    return [float(w) for w in vote_weight(expected, len(projects.classes(tx, question.project_id)))]


def _compare(tx: Tx, question: Question, said: Sequence[Said]) -> None:
    """A second opinion: the label stands, and is confirmed or comes before a reviewer."""
    copies = questions.copies(tx, question.id)
    label = labels.of_image(tx, question.image_id)
    if copies.live:
        state = QuestionState.ASKING
    elif not said or label is None:
        state = QuestionState.WITHDRAWN
    elif all(one.class_id == label.class_id for one in said):
        state = QuestionState.RESOLVED
    else:
        state = QuestionState.DISAGREED
    questions.set_state(tx, question.id, state, answered=len(said))
