"""Passwords are hashed so that only who knows one gets in."""

from __future__ import annotations

import pytest

from services.ui.passwords import hash_password, is_outdated, verify_password
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
