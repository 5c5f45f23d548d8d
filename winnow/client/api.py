"""The api, with a key that manages projects."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from shared.errors import Conflict, NotFound, Retryable
from winnow.client.http import Http, checked, pause_s

WAIT_S = 30.0
"""How long the api is asked to wait for predictions before it answers."""
Watch = Callable[[float], None]
"""Is told now and then how far something is, from 0 to 1."""


def _unwatched(share: float) -> None:
    pass


class Client(Http):
    """The api, with a key. Methods raise the errors of ``shared.errors``; answers are the api's JSON."""

    def __init__(self, url: str, key: str, timeout_s: float = 120.0) -> None:
        super().__init__(url, {"Authorization": f"Bearer {key}"}, timeout_s)

    def create_project(
        self, name: str, classes: Sequence[str], settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = {"name": name, "classes": list(classes), "settings": dict(settings or {})}
        return dict(self.call("POST", "/v1/projects", json=body).json())

    def projects(self) -> Iterator[dict[str, Any]]:
        """Every project that the key may see."""
        return self.pages("/v1/projects")

    def project(self, name_or_id: str) -> dict[str, Any]:
        """By name or id. Raises ``NotFound``."""
        for project in self.projects():
            if name_or_id in (project["name"], str(project["id"])):
                return project
        raise NotFound(f"there is no project {name_or_id!r}")

    def upload(self, project_id: int, files: Iterable[tuple[str, bytes]], split: str = "pool") -> dict[str, Any]:
        """Send (filename, bytes) pairs in one request; the answer has a result per file."""
        parts = [("files", (name, body)) for name, body in files]
        return dict(self.call("POST", f"/v1/projects/{project_id}/images", params={"split": split}, files=parts).json())

    def import_labels(self, project_id: int, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Known labels: ``{"sha256": hex, "class": name}`` each."""
        body = {"labels": [dict(item) for item in labels]}
        return dict(self.call("POST", f"/v1/projects/{project_id}/labels", json=body).json())

    def set_settings(self, project_id: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change some settings. Raises ``Conflict`` for those that are fixed by now."""
        return dict(self.call("PATCH", f"/v1/projects/{project_id}", json={"settings": dict(settings)}).json())

    def start(self, project_id: int) -> dict[str, Any]:
        return dict(self.call("POST", f"/v1/projects/{project_id}/start").json())

    def label_rest(self, project_id: int) -> dict[str, Any]:
        """Have people label what has no label. Raises ``Conflict`` where nothing is left."""
        return dict(self.call("POST", f"/v1/projects/{project_id}/label-rest").json())

    def pause(self, project_id: int) -> dict[str, Any]:
        return dict(self.call("POST", f"/v1/projects/{project_id}/pause").json())

    def state(self, project_id: int) -> dict[str, Any]:
        return dict(self.call("GET", f"/v1/projects/{project_id}/state").json())

    def requeue(self, project_id: int) -> list[dict[str, Any]]:
        """Give the project's dead jobs another life; returns them."""
        return list(self.call("POST", f"/v1/projects/{project_id}/jobs/requeue").json()["items"])

    def models(self, project_id: int) -> list[dict[str, Any]]:
        """Every model in order of rounds, with its metrics."""
        return list(self.call("GET", f"/v1/projects/{project_id}/checkpoints").json()["items"])

    def promote(self, project_id: int, checkpoint_id: int) -> dict[str, Any]:
        """Put a model to use. Raises ``NotFound``, ``Conflict`` if its weights were given up."""
        return dict(self.call("POST", f"/v1/projects/{project_id}/checkpoints/{checkpoint_id}/promote").json())

    def roll_back(self, project_id: int) -> dict[str, Any]:
        """Take the last promotion back. Raises ``Conflict`` if there is none."""
        return dict(self.call("POST", f"/v1/projects/{project_id}/checkpoints/rollback").json())

    def compare_models(self, project_id: int, a: int, b: int) -> dict[str, Any]:
        """What model ``b`` gains over ``a`` on the holdout."""
        return dict(self.call("GET", f"/v1/projects/{project_id}/checkpoints/compare?a={a}&b={b}").json())

    def model_file(self, project_id: int, checkpoint_id: int, name: str) -> bytes:
        """``model.safetensors`` or ``checkpoint.json`` of a model."""
        return self.call("GET", f"/v1/projects/{project_id}/checkpoints/{checkpoint_id}/{name}").content

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
        answer = self.call("POST", f"/v1/projects/{project_id}/predict", params=params, files=parts or None)
        while answer.status_code == httpx.codes.ACCEPTED:
            if time.monotonic() > deadline:
                raise Retryable(f"{answer.json()['detail']}; is a scorer at work?")
            time.sleep(float(answer.headers["Retry-After"]))
            answer = self.call("GET", answer.headers["Location"])
        return dict(answer.json())

    def create_webhook(self, url: str, types: Sequence[str], project_id: int | None = None) -> dict[str, Any]:
        """Be told of events at ``url``; the answer has the secret, this once. None: of every project."""
        body = {"url": url, "types": list(types), "project_id": project_id}
        return dict(self.call("POST", "/v1/webhooks", json=body).json())

    def delete_webhook(self, webhook_id: int) -> None:
        self.call("DELETE", f"/v1/webhooks/{webhook_id}")

    def operation(self, place: str) -> dict[str, Any]:
        """How work goes that was answered with 202: ``place`` is its ``Location``, or the id of an operation."""
        path = place if place.startswith("/") else f"/v1/operations/{place}"
        return dict(self.call("GET", path).json())

    def await_operation(self, place: str, patience_s: float = 600.0) -> dict[str, Any]:
        """The operation once it is over, well or not. Raises ``Retryable`` if it isn't within ``patience_s``."""
        deadline = time.monotonic() + patience_s
        while (found := self.operation(place))["state"] == "running":
            if time.monotonic() > deadline:
                raise Retryable(f"{found['kind']} {found['id']} is still under way")
            time.sleep(1.0)
        return found

    def cancel_job(self, project_id: int, job_id: int) -> dict[str, Any]:
        """End a job that waits or runs; ``requeue`` begins it again. Raises ``Conflict`` if it has ended."""
        return dict(self.call("POST", f"/v1/projects/{project_id}/jobs/{job_id}/cancel").json())

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
                    checked(response)
                for chunk in response.iter_bytes():
                    target.write(chunk)
        except httpx.TransportError as error:
            raise Retryable(f"the export broke off: {error}") from error
        return part.replace(out).stat().st_size

    def prepare_export(self, project_id: int, form: str) -> dict[str, Any]:
        """Have a ``csv`` or ``zip`` made while nobody waits; the answer has its id."""
        return dict(self.call("POST", f"/v1/projects/{project_id}/exports", json={"format": form}).json())

    def exports(self, project_id: int) -> Iterator[dict[str, Any]]:
        """The newest first, deleted ones too."""
        return self.pages(f"/v1/projects/{project_id}/exports")

    def await_export(
        self, project_id: int, export_id: int, patience_s: float = 24 * 3600.0, watch: Watch = _unwatched
    ) -> dict[str, Any]:
        """The export once it is ready. Raises ``Conflict`` if it failed, ``NotFound`` if it was deleted, ``Retryable``
        if it isn't ready within ``patience_s`` seconds."""
        deadline = time.monotonic() + patience_s
        while True:
            found = dict(self.call("GET", f"/v1/projects/{project_id}/exports/{export_id}").json())
            if found["state"] == "ready":
                return found
            if found["state"] == "failed":
                raise Conflict(f"export {export_id} failed: {found['error']}")
            if time.monotonic() > deadline:
                raise Retryable(f"export {export_id} is still being prepared")
            watch(found["progress"])
            time.sleep(1.0)

    def download_export(self, project_id: int, export: Mapping[str, Any], out: Path, watch: Watch = _unwatched) -> int:
        """The file of one that is ready; returns its bytes. A connection that breaks off goes on where it was.

        Nothing is left half done, and what came is compared with the export's digest. Raises ``Retryable`` when it
        breaks off too often without a byte in between.
        """
        part, failures = out.with_name(out.name + ".part"), 0
        digest, written = hashlib.sha256(), 0
        try:
            with part.open("wb") as target:
                while written < export["bytes"]:
                    try:
                        for chunk in self._rest(export, written):
                            target.write(chunk)
                            digest.update(chunk)
                            written += len(chunk)
                            failures = 0 if chunk else failures
                            watch(written / export["bytes"])
                    except (httpx.TransportError, Retryable) as error:
                        failures += 1
                        if failures >= self._tries:
                            raise Retryable(f"the download broke off at byte {written}: {error}") from error
                        self._sleep(pause_s(failures))
            if digest.hexdigest() != export["sha256"]:
                raise Retryable(f"export {export['id']} came damaged: download it again")
            return part.replace(out).stat().st_size
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def delete_export(self, project_id: int, export_id: int) -> None:
        self.call("DELETE", f"/v1/projects/{project_id}/exports/{export_id}")

    def _rest(self, export: Mapping[str, Any], start: int) -> Iterator[bytes]:
        """An export's bytes from ``start``."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": f'"{export["sha256"]}"'}
        with self._client.stream("GET", export["file"], headers=headers) as response:
            if not response.is_success:
                response.read()
                checked(response)
            if start and response.status_code != httpx.codes.PARTIAL_CONTENT:
                raise Conflict(f"export {export['id']} is another one by now")
            yield from response.iter_bytes()
