"""What several answers come to, on values alone."""

from __future__ import annotations

import pytest

from shared.db.questions import Copies
from shared.domain import ClassId, Overlap, UserId
from shared.overlap import Outcome, Verdict, decide

THREE, AGREE = Overlap(copies=3, most=3), Overlap(copies=2, most=4)
NONE_LIVE = Copies(live=0, asked=3)


def verdict(answers: str, asked: Overlap = THREE, copies: Copies | None = None, weights: str = "") -> Verdict:
    """``answers`` names a class by a letter for each person; ``weights`` are digits, 1 if left out."""
    said = [(UserId(n), ClassId(ord(letter))) for n, letter in enumerate(answers)]
    heavy = [float(w) for w in weights or "1" * len(said)]
    return decide(said, asked, copies or Copies(live=0, asked=len(said)), heavy)


def test_nothing_is_decided_while_somebody_may_still_answer() -> None:
    assert verdict("aa", copies=Copies(live=1, asked=3)).outcome is Outcome.WAIT


@pytest.mark.parametrize(("answers", "share"), [("aaa", 1.0), ("aba", 2 / 3)])
def test_most_answers_make_the_label_with_their_share_of_the_weight(answers: str, share: float) -> None:
    found = verdict(answers)
    assert (found.outcome, found.class_id, found.confidence) == (Outcome.LABEL, ord("a"), pytest.approx(share))


@pytest.mark.parametrize("answers", ["abc", "ab", "a"])
def test_a_tie_and_too_few_answers_come_before_a_reviewer(answers: str) -> None:
    assert verdict(answers, weights="9" + "1" * (len(answers) - 1)).outcome is Outcome.DISAGREED


def test_a_good_record_does_not_outvote_the_others_but_sends_them_to_a_reviewer() -> None:
    assert verdict("abb", weights="911").outcome is Outcome.DISAGREED


def test_answers_that_all_weigh_nothing_decide_nothing() -> None:
    assert verdict("aab", weights="000").outcome is Outcome.DISAGREED


def test_until_agreement_one_more_is_asked_for_where_people_disagree() -> None:
    assert verdict("ab", AGREE).outcome is Outcome.ONE_MORE
    assert verdict("aba", AGREE).outcome is Outcome.LABEL


def test_until_agreement_goes_no_further_than_the_most() -> None:
    assert verdict("abc", AGREE).outcome is Outcome.ONE_MORE
    assert verdict("abcd", AGREE).outcome is Outcome.DISAGREED


def test_what_nobody_could_tell_is_given_up() -> None:
    assert verdict("", copies=NONE_LIVE).outcome is Outcome.GIVEN_UP
