"""The API over a real database and store, and clients that hold keys of it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from services.api.app import create_app
from shared.credentials import new_api_key
from shared.db import users
from shared.domain import ProjectId, Scope
from shared.settings import ApiSettings
from shared.system import System
from tests.world import open_system

Files = Sequence[tuple[str, bytes]]


def add_key(system: System, *scopes: Scope, project: int | None = None) -> str:
    """A new key's secret."""
    key = new_api_key()
    with system.database.transaction() as tx:
        limit = None if project is None else ProjectId(project)
        users.add_key(tx, name="test", prefix=key.prefix, key_sha256=key.sha256, scopes=scopes, project_id=limit)
    return key.secret


@dataclass
class Api:
    """``client`` holds a key that may do everything."""

    system: System
    client: TestClient

    def holding(self, *scopes: Scope, project: int | None = None) -> TestClient:
        """A client whose key has these scopes only."""
        headers = {"Authorization": f"Bearer {add_key(self.system, *scopes, project=project)}"}
        return TestClient(self.client.app, headers=headers)

    def new_project(self, name: str = "birds", classes: Sequence[str] = ("heron", "swan"), **settings: Any) -> int:
        body = {"name": name, "classes": list(classes), "settings": settings}
        created = self.client.post("/v1/projects", json=body)
        assert created.status_code == 201, created.text
        return int(created.json()["id"])

    def upload(self, project: int, files: Files, **query: str) -> Response:
        parts = [("files", file) for file in files]
        answer: Response = self.client.post(f"/v1/projects/{project}/images", params=query, files=parts)
        return answer


@contextmanager
def open_api(database_url: str, folder: Path, **settings: Any) -> Iterator[Api]:
    with open_system(database_url, folder) as system:
        app = create_app(system, ApiSettings(**settings))
        headers = {"Authorization": f"Bearer {add_key(system, Scope.MANAGE)}"}
        with TestClient(app, headers=headers) as client:
            yield Api(system, client)


def picture(seed: int, width: int = 24, height: int = 16, kind: str = "PNG", **options: Any) -> bytes:
    """An image file like no other seed's."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind, **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
