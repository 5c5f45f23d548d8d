"""A thin client for Winnow's HTTP interfaces: ``Client`` for the api, ``Annotator`` for who labels through the ui."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from shared.errors import Conflict, Forbidden, Invalid, NotFound, Retryable, Unauthorized, WinnowError

_BY_STATUS: Mapping[int, type[WinnowError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: Retryable,
    502: Retryable,  # a proxy's word for a service that is away
    503: Retryable,
    504: Retryable,
}


WAIT_S = 30.0
"""How long the api is asked to wait for predictions before it answers."""


def _checked(response: httpx.Response) -> httpx.Response:
    """The response, or the error of ours that its problem+json means."""
    if response.is_success:
        return response
    try:
        problem = response.json()
        message = str(problem.get("detail") or problem.get("title") or problem)
    except ValueError:
        message = response.text[:500] or f"{response.status_code} {response.reason_phrase}"
    raise _BY_STATUS.get(response.status_code, WinnowError)(message)


class _Http:
    """A connection; errors of the network become ``Retryable``."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> None:
        self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return _checked(self._client.request(method, path, **options))
        except httpx.TransportError as error:
            raise Retryable(f"{self._client.base_url} can't be reached: {error}") from error


class Client(_Http):
    """The api, with a key. Methods raise the errors of ``shared.errors``; answers are the api's JSON."""

    def __init__(self, url: str, key: str, timeout_s: float = 120.0) -> None:
        super().__init__(url, {"Authorization": f"Bearer {key}"}, timeout_s)

    def create_project(
        self, name: str, classes: Sequence[str], settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = {"name": name, "classes": list(classes), "settings": dict(settings or {})}
        return dict(self._call("POST", "/v1/projects", json=body).json())

    def projects(self) -> Iterator[dict[str, Any]]:
        """Every project that the key may see."""
        cursor: str | None = None
        while True:
            params = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            page = self._call("GET", "/v1/projects", params=params).json()
            yield from page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return

    def project(self, name_or_id: str) -> dict[str, Any]:
        """By name or id. Raises ``NotFound``."""
        for project in self.projects():
            if name_or_id in (project["name"], str(project["id"])):
                return project
        raise NotFound(f"there is no project {name_or_id!r}")

    def upload(self, project_id: int, files: Iterable[tuple[str, bytes]], split: str = "pool") -> dict[str, Any]:
        """Send (filename, bytes) pairs in one request; the answer has a result per file."""
        parts = [("files", (name, body)) for name, body in files]
        return dict(
            self._call("POST", f"/v1/projects/{project_id}/images", params={"split": split}, files=parts).json()
        )

    def import_labels(self, project_id: int, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Known labels: ``{"sha256": hex, "class": name}`` each."""
        body = {"labels": [dict(item) for item in labels]}
        return dict(self._call("POST", f"/v1/projects/{project_id}/labels", json=body).json())

    def set_settings(self, project_id: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change some settings. Raises ``Conflict`` for those that are fixed by now."""
        return dict(self._call("PATCH", f"/v1/projects/{project_id}", json={"settings": dict(settings)}).json())

    def start(self, project_id: int) -> dict[str, Any]:
        return dict(self._call("POST", f"/v1/projects/{project_id}/start").json())

    def label_rest(self, project_id: int) -> dict[str, Any]:
        """Have people label what has no label. Raises ``Conflict`` where nothing is left."""
        return dict(self._call("POST", f"/v1/projects/{project_id}/label-rest").json())

    def pause(self, project_id: int) -> dict[str, Any]:
        return dict(self._call("POST", f"/v1/projects/{project_id}/pause").json())

    def state(self, project_id: int) -> dict[str, Any]:
        return dict(self._call("GET", f"/v1/projects/{project_id}/state").json())

    def requeue(self, project_id: int) -> list[dict[str, Any]]:
        """Give the project's dead jobs another life; returns them."""
        return list(self._call("POST", f"/v1/projects/{project_id}/jobs/requeue").json()["items"])

    def models(self, project_id: int) -> list[dict[str, Any]]:
        """Every model in order of rounds, with its metrics."""
        return list(self._call("GET", f"/v1/projects/{project_id}/checkpoints").json()["items"])

    def promote(self, project_id: int, checkpoint_id: int) -> dict[str, Any]:
        """Put a model to use. Raises ``NotFound``, ``Conflict`` if its weights were given up."""
        return dict(self._call("POST", f"/v1/projects/{project_id}/checkpoints/{checkpoint_id}/promote").json())

    def roll_back(self, project_id: int) -> dict[str, Any]:
        """Take the last promotion back. Raises ``Conflict`` if there is none."""
        return dict(self._call("POST", f"/v1/projects/{project_id}/checkpoints/rollback").json())

    def compare_models(self, project_id: int, a: int, b: int) -> dict[str, Any]:
        """What model ``b`` gains over ``a`` on the holdout."""
        return dict(self._call("GET", f"/v1/projects/{project_id}/checkpoints/compare?a={a}&b={b}").json())

    def model_file(self, project_id: int, checkpoint_id: int, name: str) -> bytes:
        """``model.safetensors`` or ``checkpoint.json`` of a model."""
        return self._call("GET", f"/v1/projects/{project_id}/checkpoints/{checkpoint_id}/{name}").content

    def predict(
        self,
        project_id: int,
        files: Iterable[tuple[str, bytes]] = (),
        image_ids: Sequence[int] = (),
        patience_s: float = 600.0,
    ) -> dict[str, Any]:
        """What the model in use says of (filename, bytes) pairs and of images of the project, at most 100 together.

        Waits until it has said so. Raises ``Conflict`` if there is no model or it fails, ``Retryable`` if no scorer
        got to it within ``patience_s`` seconds.
        """
        deadline = time.monotonic() + patience_s
        parts = [("files", (name, body)) for name, body in files]
        params = {"wait_s": min(patience_s, WAIT_S), "image_id": list(image_ids)}
        answer = self._call("POST", f"/v1/projects/{project_id}/predict", params=params, files=parts or None)
        while answer.status_code == httpx.codes.ACCEPTED:
            if time.monotonic() > deadline:
                raise Retryable(f"{answer.json()['detail']}; is a scorer at work?")
            time.sleep(float(answer.headers["Retry-After"]))
            answer = self._call("GET", answer.headers["Location"])
        return dict(answer.json())

    def cancel_job(self, project_id: int, job_id: int) -> dict[str, Any]:
        """End a job that waits or runs; ``requeue`` begins it again. Raises ``Conflict`` if it has ended."""
        return dict(self._call("POST", f"/v1/projects/{project_id}/jobs/{job_id}/cancel").json())

    def export(self, project_id: int, form: str, out: Path) -> int:
        """Stream ``export.csv`` or ``export.zip`` to a file; returns the bytes written. No file is left half done."""
        part = out.with_name(out.name + ".part")
        try:
            with (
                self._client.stream("GET", f"/v1/projects/{project_id}/export.{form}") as response,
                part.open("wb") as target,
            ):
                if not response.is_success:
                    response.read()
                    _checked(response)
                for chunk in response.iter_bytes():
                    target.write(chunk)
        except httpx.TransportError as error:
            raise Retryable(f"the export broke off: {error}") from error
        return part.replace(out).stat().st_size


@dataclass(frozen=True, kw_only=True)
class LeasedTask:
    """A question: which class is the image at ``image_url``?"""

    task_id: int
    fence: int
    image_url: str


class Annotator(_Http):
    """A person's place at the ui, over the same HTTP interface as the browser's."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        super().__init__(url, None, timeout_s)

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
            _checked(response)
        if response.status_code != 303:
            raise Forbidden("wrong user name or password")

    def lease(self, project_id: int, count: int = 5) -> tuple[list[LeasedTask], dict[str, Any] | None]:
        """Tasks to answer; where there are none, why."""
        answer = self._call("POST", f"/v1/projects/{project_id}/leases", json={"count": count}).json()
        tasks = [
            LeasedTask(task_id=t["task_id"], fence=t["fence"], image_url=t["image"]["url"]) for t in answer["tasks"]
        ]
        return tasks, answer["waiting"]

    def image(self, task: LeasedTask) -> bytes:
        return self._call("GET", task.image_url).content

    def submit(self, project_id: int, task: LeasedTask, class_id: int, key: str | None = None) -> dict[str, Any]:
        """Answer. With the same ``key`` again it is recorded once. Raises ``Conflict`` if the lease was lost."""
        return dict(
            self._call(
                "POST",
                f"/v1/projects/{project_id}/tasks/{task.task_id}/annotation",
                json={"fence": task.fence, "class_id": class_id},
                headers={"Idempotency-Key": key or str(uuid.uuid4())},
            ).json()
        )

    def state(self, project_id: int) -> dict[str, Any]:
        return dict(self._call("GET", f"/v1/projects/{project_id}/state").json())

    def classes(self, project_id: int) -> list[dict[str, Any]]:
        return list(self._call("GET", f"/v1/projects/{project_id}/classes").json())
