"""Secrets that Winnow makes up: API keys and session tokens. Only their SHA-256 is ever stored."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

PREFIX = "wnw"


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """``secret`` is shown once; ``prefix`` names the key in lists and logs."""

    secret: str
    prefix: str
    sha256: bytes


def digest(secret: str) -> bytes:
    """32 bytes. Secrets have 256 random bits, so a plain hash can't be reversed by guessing."""
    return hashlib.sha256(secret.encode()).digest()


def new_api_key() -> NewKey:
    """Of the form ``wnw_<8 hex>_<43 characters>``; the first two parts are the prefix."""
    prefix = f"{PREFIX}_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    return NewKey(secret=secret, prefix=prefix, sha256=digest(secret))


def prefix_of(secret: str) -> str:
    """The part of an API key that may be shown."""
    return "_".join(secret.split("_")[:2])


def new_token() -> str:
    """A session token of 256 random bits."""
    return secrets.token_urlsafe(32)
