"""Takes messages from the outbox and delivers them, at least once each.

Any number of processes may run this: a message in hand is under a lease, which whoever dies leaves to run out. A few
threads make the requests; no endpoint gets more than its share of them, so one that is slow holds up nobody else.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpcore

from shared.db import events, webhooks
from shared.db.pool import Database, Tx
from shared.db.webhooks import PING, Attempt, Claimed, Endpoint
from shared.errors import Invalid, Retryable, WinnowError
from shared.metrics import WEBHOOK_ATTEMPTS, WEBHOOK_SECONDS, WEBHOOKS_DISABLED
from shared.settings import WebhookSettings
from shared.telemetry import logger
from shared.webhooks.addresses import Guard
from shared.webhooks.sending import Answer, Sender, body_of, headers_of

log = logger(__name__)
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
WAITS_S = (
    5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR,
)  # fmt: skip
"""From each attempt to the next: ten attempts over 75 hours, the schedule that Standard Webhooks suggests."""
_JITTER = 0.1
DISABLE_AFTER_S = 5 * _DAY
"""An endpoint that did nothing but fail for so long is disabled."""
_FORGET_S = 2 * _DAY
"""Longer than the longest wait: where nothing was tried for so long, failing begins anew."""
MOST_SECRETS = 5
_GONE = 410
_STOP_S = 2.0


class Deliverer:
    """Delivers from threads of its own between ``start`` and ``stop``."""

    def __init__(
        self,
        database: Database,
        settings: WebhookSettings,
        *,
        guard: Guard | None = None,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._database = database
        self._settings = settings
        self._guard = guard or Guard(settings)
        self._sender = Sender(settings)
        self._draw = draw
        self._busy: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Begin nothing more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Returns once what is under way has ended, or had a few seconds for it: others deliver what is left."""
        self.close()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_S)
        with self._changed:
            self._changed.wait_for(lambda: not self._busy.total(), timeout=_STOP_S)

    def _run(self) -> None:
        while True:
            found = 0
            try:
                found = self._begin()
            except Retryable as error:
                log.warning("webhook.claim_failed", error=str(error))
            except Exception:  # a thread that died unseen would be worse than one that fails aloud
                log.exception("webhook.claim_failed")
            with self._changed:
                if not found and not self._stopping:
                    self._changed.wait(self._settings.poll_s)
                self._changed.wait_for(lambda: self._stopping or self._busy.total() < self._settings.concurrency)
                if self._stopping:
                    return

    def _begin(self) -> int:
        """Take what is due and deliver each in a thread; how many that was."""
        settings = self._settings
        with self._changed:
            busy = list(self._busy.elements())
        with self._database.transaction() as tx:
            claimed = webhooks.claim(
                tx,
                count=settings.concurrency - len(busy),
                per_endpoint=settings.per_endpoint,
                busy=busy,
                lease_s=settings.lease_s,
            )
        with self._changed:
            self._busy.update(one.endpoint_id for one in claimed)
        for one in claimed:
            threading.Thread(target=self._deliver, args=(one,), name=f"webhook-{one.id}", daemon=True).start()
        return len(claimed)

    def _deliver(self, claimed: Claimed) -> None:
        try:
            self.attempt(claimed)
        except WinnowError as error:  # its lease runs out, and it is tried again
            log.warning("webhook.unsettled", message_id=claimed.id, error=str(error))
        except Exception:
            log.exception("webhook.unsettled", message_id=claimed.id)
        finally:
            with self._changed:
                self._busy[claimed.endpoint_id] -= 1
                self._changed.notify_all()

    def attempt(self, claimed: Claimed) -> None:
        """Make one attempt at a message in hand, and write down what became of it."""
        with self._database.transaction() as tx:
            secrets = webhooks.secrets(tx, claimed.endpoint_id, most=MOST_SECRETS)
        if not secrets:
            return  # the endpoint was deleted meanwhile
        at, began = datetime.now(UTC), time.monotonic()
        answer, trouble = self._send(claimed, secrets, at)
        seconds = time.monotonic() - began
        attempt = Attempt(
            at=at,
            duration_ms=int(seconds * 1000),
            status=answer.status if answer else None,
            error=trouble,
            excerpt=answer.excerpt if answer else "",
        )
        self._settle(claimed, attempt, answer)
        WEBHOOK_ATTEMPTS.labels("delivered" if attempt.delivered else "failed").inc()
        WEBHOOK_SECONDS.observe(seconds)
        log.info(
            "webhook.attempted",
            message_id=claimed.id,
            endpoint_id=claimed.endpoint_id,
            type=claimed.type,
            status=attempt.status,
            error=trouble,
            seconds=seconds,
        )

    def _send(self, claimed: Claimed, secrets: Sequence[str], at: datetime) -> tuple[Answer | None, str | None]:
        """The receiver's answer, or why there is none."""
        body = body_of(claimed)
        try:
            target = self._guard.look(claimed.url)  # again: a name may mean something else by now
            return self._sender.post(target, headers_of(claimed, body, secrets, at), body), None
        except Invalid as error:
            return None, str(error)
        except (httpcore.TimeoutException, TimeoutError):
            return None, f"no whole answer within {self._settings.timeout_s:g} s"
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return None, f"the request failed: {error or type(error).__name__}"

    def _settle(self, claimed: Claimed, attempt: Attempt, answer: Answer | None) -> None:
        """The endpoint's row comes before its messages' in every transaction: no two wait for each other."""
        with self._database.transaction() as tx:
            failing = None
            if attempt.delivered:
                webhooks.mark_working(tx, claimed.endpoint_id)
            elif claimed.type != PING:
                failing = webhooks.mark_failing(tx, claimed.endpoint_id, forget_s=_FORGET_S)
            webhooks.settle(tx, claimed, attempt, wait_s=self._wait_s(claimed, answer))
            if failing is not None:
                self._disable_if_due(tx, *failing, gone=attempt.status == _GONE)

    def _wait_s(self, claimed: Claimed, answer: Answer | None) -> float | None:
        """How long until the next attempt; None: there is none."""
        if claimed.type == PING or claimed.attempts >= len(WAITS_S) or (answer and answer.status == _GONE):
            return None
        wait_s = WAITS_S[claimed.attempts] * self._draw(1 - _JITTER, 1 + _JITTER)
        return max(wait_s, (answer and answer.retry_after_s) or 0.0)

    def _disable_if_due(self, tx: Tx, endpoint: Endpoint, failing_s: float, *, gone: bool) -> None:
        if not endpoint.enabled or not (gone or failing_s > DISABLE_AFTER_S):
            return
        reason = (
            "the receiver answered 410 Gone" if gone else f"it did nothing but fail for {failing_s / _DAY:.0f} days"
        )
        webhooks.disable(tx, endpoint.id, reason)
        data = {"webhook": endpoint.id, "url": endpoint.url, "reason": reason}
        events.record(tx, endpoint.project_id, "system", "webhook.disabled", data)
        tx.after_commit(WEBHOOKS_DISABLED.inc)
        log.warning("webhook.disabled", endpoint_id=endpoint.id, reason=reason)
