"""Passwords are hashed so that only who knows one gets in, and the guessing of one is slowed down."""

from __future__ import annotations

import pytest

from services.ui.passwords import hash_password, is_outdated, verify_password
from services.ui.throttle import FAILURES, WINDOW_S, Throttle
from shared.errors import Invalid


def test_only_the_right_password_is_right() -> None:
    stored = hash_password("correct horse")
    assert verify_password(stored, "correct horse")
    assert not verify_password(stored, "correct hors")


def test_the_same_password_is_never_stored_alike() -> None:
    assert hash_password("correct horse") != hash_password("correct horse")


def test_no_password_is_right_for_an_unknown_user() -> None:
    assert not verify_password(None, "")
    assert not verify_password(None, "anything at all")


def test_a_hash_that_is_none_lets_nobody_in() -> None:
    assert not verify_password("not a hash", "not a hash")


def test_a_password_that_agrees_only_up_to_the_longest_length_is_wrong() -> None:
    assert not verify_password(hash_password("x" * 1000), "x" * 1001)


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_passwords_too_short_or_too_long_are_refused(password: str) -> None:
    with pytest.raises(Invalid, match="between 8 and 1000"):
        hash_password(password)


def test_a_new_hash_is_up_to_date() -> None:
    assert not is_outdated(hash_password("correct horse"))


def test_after_too_many_failures_a_name_must_wait_at_that_address() -> None:
    throttle = Throttle()
    for second in range(FAILURES):
        assert throttle.wait_s("ann", "10.0.0.1", second) == 0
        throttle.failed("ann", "10.0.0.1", second)
    assert throttle.wait_s("ann", "10.0.0.1", FAILURES) == WINDOW_S - FAILURES
    assert throttle.wait_s("ann", "10.0.0.2", FAILURES) == 0, "nobody is locked out from elsewhere"
    assert throttle.wait_s("bob", "10.0.0.1", FAILURES) == 0
    assert throttle.wait_s("ann", "10.0.0.1", WINDOW_S) == 0, "the first failure is forgotten"


def test_a_success_forgets_the_failures() -> None:
    throttle = Throttle()
    for _ in range(FAILURES):
        throttle.failed("ann", "10.0.0.1", 0)
    throttle.succeeded("ann", "10.0.0.1")
    assert throttle.wait_s("ann", "10.0.0.1", 0) == 0


def test_very_many_names_do_not_fill_the_memory() -> None:
    throttle = Throttle()
    for number in range(10_050):
        throttle.failed(f"user{number}", "10.0.0.1", number / 1000)
    assert len(throttle._failures) == 10_000
