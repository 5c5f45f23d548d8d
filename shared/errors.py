"""The errors of Winnow. Adapters turn their driver's errors into these at their edge; nothing else crosses it.

``Retryable`` and ``Permanent`` say what the ledger does with a failed job; the others say what an HTTP edge answers.
"""

from __future__ import annotations


class WinnowError(Exception):
    """Base of all. The message is written for the person who meets it."""


class Invalid(WinnowError):
    """The input can't be accepted as it is (HTTP 422)."""


class NotFound(WinnowError):
    """There is no such thing, or the caller may not know of it (HTTP 404)."""


class Conflict(WinnowError):
    """The thing is not, or no longer, in the state that the request needs (HTTP 409)."""


class Unauthorized(WinnowError):
    """The caller doesn't say who it is, or isn't believed (HTTP 401)."""


class Forbidden(WinnowError):
    """The caller is known but may not do this (HTTP 403)."""


class Retryable(WinnowError):
    """A passing fault, such as a lost connection: the same call may succeed later (HTTP 503)."""


class Permanent(WinnowError):
    """Trying again can't help: the job ends as ``dead``."""


class Diverged(Permanent):
    """A training's loss is no number any more."""


class StaleFence(Conflict):
    """The lease was lost to somebody else; what was done under it must not be published."""


class PoolEmpty(Invalid):
    """Selection was asked of a pool in which nothing is left to ask."""
