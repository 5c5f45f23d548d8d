"""A person's place at the ui."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from shared.errors import Forbidden, Retryable
from winnow.client.http import Http, checked


@dataclass(frozen=True, kw_only=True)
class LeasedTask:
    """A question: which class is the image at ``image_url``?"""

    task_id: int
    fence: int
    image_url: str


class Annotator(Http):
    """A person's place at the ui, over the same HTTP interface as the browser's."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        super().__init__(url, None, timeout_s, tries=1)

    def sign_in(self, username: str, password: str) -> None:
        """Raises ``Forbidden`` for a wrong name or password."""
        try:
            form = {"username": username, "password": password}
            response = self._client.post("/sign-in", data=form)
        except httpx.TransportError as error:
            raise Retryable(f"{self._client.base_url} can't be reached: {error}") from error
        if response.status_code == 429:
            raise Retryable("too many failed sign-ins; try again later")
        if response.status_code >= 500:
            checked(response)
        if response.status_code != 303:
            raise Forbidden("wrong user name or password")

    def lease(self, project_id: int, count: int = 5) -> tuple[list[LeasedTask], dict[str, Any] | None]:
        """Tasks to answer; where there are none, why."""
        answer = self.call("POST", f"/v1/projects/{project_id}/leases", json={"count": count}).json()
        tasks = [
            LeasedTask(task_id=t["task_id"], fence=t["fence"], image_url=t["image"]["url"]) for t in answer["tasks"]
        ]
        return tasks, answer["waiting"]

    def image(self, task: LeasedTask) -> bytes:
        return self.call("GET", task.image_url).content

    def submit(self, project_id: int, task: LeasedTask, class_id: int, key: str | None = None) -> dict[str, Any]:
        """Answer. With the same ``key`` again it is recorded once. Raises ``Conflict`` if the lease was lost."""
        return dict(
            self.call(
                "POST",
                f"/v1/projects/{project_id}/tasks/{task.task_id}/annotation",
                json={"fence": task.fence, "class_id": class_id},
                headers={"Idempotency-Key": key or str(uuid.uuid4())},
            ).json()
        )

    def state(self, project_id: int) -> dict[str, Any]:
        return dict(self.call("GET", f"/v1/projects/{project_id}/state").json())

    def classes(self, project_id: int) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/v1/projects/{project_id}/classes").json())
