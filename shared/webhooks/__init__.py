"""Webhooks: telling addresses outside of what happens, as Standard Webhooks 1.0 says (standardwebhooks.com).

``emit`` writes to the outbox and needs nothing but the database, so every service may use it. Only the api delivers.
"""

from __future__ import annotations

from shared.db.webhooks import EventType
from shared.webhooks.outbox import emit, emit_each

__all__ = ["EventType", "emit", "emit_each"]
