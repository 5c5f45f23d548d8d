"""Passwords: Argon2id (RFC 9106) through argon2-cffi, with its parameters kept in the hash itself."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from shared.errors import Invalid

SHORTEST, LONGEST = 8, 1000
_HASHER = PasswordHasher()
# A hash takes 64 MiB on purpose. Many sign-ins at once must not take that many times over.
_AT_ONCE = threading.BoundedSemaphore(4)
# Somebody's random password that nobody has: what an unknown user's password is checked against.
_NOBODY = _HASHER.hash("7c1f0f0e-5f0e-4a51-9f2c-2f6a2b7d9f43")


def hash_password(password: str) -> str:
    """The text to store. Raises ``Invalid`` for a password shorter than 8 characters or longer than 1000."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(f"a password has between {SHORTEST} and {LONGEST} characters")
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is right. None, for an unknown user, is always wrong and takes as long as a wrong one."""
    with _AT_ONCE:
        try:
            _HASHER.verify(password_hash or _NOBODY, password[:LONGEST])
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
    return password_hash is not None and len(password) <= LONGEST


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with weaker parameters than are used now."""
    return _HASHER.check_needs_rehash(password_hash)
