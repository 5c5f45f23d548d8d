"""Batches for vendors, as those who order them see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from winnow.client.api import Client
from winnow.client.http import Http


class Orders:
    """The batches of one project, through a client whose key may manage it. Answers are the api's JSON."""

    def __init__(self, client: Client, project_id: int) -> None:
        self._http: Http = client
        self._place = f"/v1/projects/{project_id}/batches"
        self._vendors = f"/v1/projects/{project_id}/vendors"

    def create(self, name: str, vendor: str, size: int, **terms: Any) -> dict[str, Any]:
        """A draft. ``terms``: ``fill``, ``overlap``, ``instructions``, ``deadline``, ``price``, ``external_id``."""
        body = {"name": name, "vendor": vendor, "size": size, **terms}
        return dict(self._http.call("POST", self._place, json=body).json())

    def all(self) -> Iterator[dict[str, Any]]:
        return self._http.pages(self._place)

    def get(self, batch_id: int) -> tuple[dict[str, Any], str]:
        """The batch, and its version for ``change``."""
        answer = self._http.call("GET", f"{self._place}/{batch_id}")
        return dict(answer.json()), answer.headers["ETag"]

    def change(self, batch_id: int, version: str | None = None, **terms: Any) -> dict[str, Any]:
        """Raises ``Conflict`` if somebody has changed it since ``version``."""
        headers = {} if version is None else {"If-Match": version}
        return dict(self._http.call("PATCH", f"{self._place}/{batch_id}", json=terms, headers=headers).json())

    def open(self, batch_id: int) -> dict[str, Any]:
        """Where a strategy is still to choose, ``Client.await_operation(f"fill-{batch_id}")`` waits for that."""
        return self._do(batch_id, "open")

    def pause(self, batch_id: int) -> dict[str, Any]:
        return self._do(batch_id, "pause")

    def resume(self, batch_id: int) -> dict[str, Any]:
        return self._do(batch_id, "resume")

    def cancel(self, batch_id: int) -> dict[str, Any]:
        """``Client.await_operation(f"cancel-{batch_id}")`` waits for its end and has the counts."""
        return self._do(batch_id, "cancel")

    def stats(self, batch_id: int) -> dict[str, Any]:
        return dict(self._http.call("GET", f"{self._place}/{batch_id}/stats").json())

    def cost(self, batch_id: int) -> dict[str, Any]:
        return dict(self._http.call("GET", f"{self._place}/{batch_id}/cost").json())

    def vendor(self, vendor_id: int) -> dict[str, Any]:
        """What the vendor did in the project, how well, and what it costs."""
        return dict(self._http.call("GET", f"{self._vendors}/{vendor_id}").json())

    def annotations(self, batch_id: int, verdict: str | None = None) -> Iterator[dict[str, Any]]:
        """The newest first; ``verdict``: ``accepted``, ``rejected`` or ``undecided``."""
        chosen = {} if verdict is None else {"verdict": verdict}
        return self._http.pages(f"{self._place}/{batch_id}/annotations", **chosen)

    def accept(self, batch_id: int, annotation_ids: Sequence[int]) -> list[dict[str, Any]]:
        body = {"annotation_ids": list(annotation_ids)}
        return list(
            self._http.call("POST", f"{self._place}/{batch_id}/annotations:accept", json=body).json()["results"]
        )

    def reject(self, batch_id: int, annotation_ids: Sequence[int], reason: str) -> list[dict[str, Any]]:
        """The answers no longer stand, and their images are asked again."""
        body = {"annotation_ids": list(annotation_ids), "reason": reason}
        return list(
            self._http.call("POST", f"{self._place}/{batch_id}/annotations:reject", json=body).json()["results"]
        )

    def _do(self, batch_id: int, action: str) -> dict[str, Any]:
        return dict(self._http.call("POST", f"{self._place}/{batch_id}:{action}").json())
