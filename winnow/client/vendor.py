"""A vendor's place at the api: lease tasks, fetch images, answer in bulk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from shared.errors import Retryable
from winnow.client.http import Http, checked

RECORDED = frozenset({"accepted", "passed_on", "replayed"})


@dataclass(frozen=True, kw_only=True)
class BatchTask:
    """A question: which class is the image at ``image_url``?"""

    task_id: int
    image_id: int
    filename: str
    image_url: str


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What one call handed out. ``token`` None: nothing, as ``waiting`` says; ask again after ``retry_after_s``."""

    token: str | None
    tasks: Sequence[BatchTask]
    classes: Sequence[str]
    state: str
    waiting: str | None
    retry_after_s: int | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``class_name`` None: nobody can tell, for ``reason``."""

    task_id: int
    lease: str
    class_name: str | None
    reason: str = ""
    external_id: str | None = None
    duration_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        said = {"class": self.class_name} if self.class_name is not None else {"cannot_tell": True}
        told = {"reason": self.reason, "external_id": self.external_id, "duration_ms": self.duration_ms}
        named = {name: value for name, value in told.items() if value not in (None, "")}
        return {"task_id": self.task_id, "lease": self.lease, **said, **named}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of an answer. ``recorded``: it is on record, now or since before."""

    task_id: int
    status: str
    annotation_id: int | None
    external_id: str | None
    detail: str | None

    @property
    def recorded(self) -> bool:
        return self.status in RECORDED


class Vendor(Http):
    """With a key that has the scope ``batch``. Whatever fails in passing is tried again; an answer counts once."""

    def __init__(self, url: str, key: str, timeout_s: float = 60.0, **options: Any) -> None:
        super().__init__(url, {"Authorization": f"Bearer {key}"}, timeout_s, **options)
        self._elsewhere = httpx.Client(timeout=timeout_s, follow_redirects=False)

    def close(self) -> None:
        self._elsewhere.close()
        super().close()

    def batches(self) -> Iterator[dict[str, Any]]:
        """All of one's own, in order of id."""
        return self.pages("/v1/batches")

    def batch(self, batch_id: int) -> dict[str, Any]:
        """What is asked, the classes and what they mean, the terms, and how far it is."""
        return dict(self.call("GET", f"/v1/batches/{batch_id}").json())

    def lease(self, batch_id: int, count: int = 50, ttl_s: int = 900, annotator: str | None = None) -> Lease:
        """Up to ``count`` tasks for ``ttl_s`` seconds. ``annotator``: one's own name for whoever will answer."""
        body = {"count": count, "ttl_s": ttl_s} | ({"annotator": annotator} if annotator else {})
        return _lease(self.call("POST", f"/v1/batches/{batch_id}/leases", json=body).json())

    def heartbeat(self, batch_id: int, lease: str, ttl_s: int = 900) -> list[int]:
        """Hold on; returns the tasks that are still held."""
        place = f"/v1/batches/{batch_id}/leases/{lease}:heartbeat"
        return list(self.call("POST", place, json={"ttl_s": ttl_s}).json()["task_ids"])

    def release(self, batch_id: int, lease: str) -> list[int]:
        """Give back what isn't answered; returns which tasks that were."""
        return list(self.call("POST", f"/v1/batches/{batch_id}/leases/{lease}:release").json()["task_ids"])

    def submit(self, batch_id: int, answers: Sequence[Answer]) -> list[Result]:
        """Up to 1,000 answers at once: what became of each, in order."""
        body = {"annotations": [one.as_json() for one in answers]}
        answer = self.call("POST", f"/v1/batches/{batch_id}/annotations", json=body).json()
        return [Result(**one) for one in answer["results"]]

    def image(self, task: BatchTask) -> bytes:
        """The bytes. The key goes to the api alone: a signed link to a store needs none."""
        if task.image_url.startswith("/"):
            return self.call("GET", task.image_url).content
        try:
            return checked(self._elsewhere.get(task.image_url)).content
        except httpx.TransportError as error:
            raise Retryable(f"the image can't be fetched: {error}") from error

    def annotations(self, batch_id: int, verdict: str | None = None) -> Iterator[dict[str, Any]]:
        """One's own answers, the newest first, each with its verdict and, if it was rejected, why."""
        chosen = {} if verdict is None else {"verdict": verdict}
        return self.pages(f"/v1/batches/{batch_id}/annotations", **chosen)


def _lease(found: Mapping[str, Any]) -> Lease:
    tasks = [
        BatchTask(task_id=t["task_id"], image_id=t["image_id"], filename=t["filename"], image_url=t["image_url"])
        for t in found["tasks"]
    ]
    until = found["expires_at"]
    return Lease(
        token=found["lease"],
        tasks=tasks,
        classes=found["classes"],
        state=found["state"],
        waiting=found["waiting"],
        retry_after_s=found["retry_after_s"],
        expires_at=None if until is None else datetime.fromisoformat(until),
    )
