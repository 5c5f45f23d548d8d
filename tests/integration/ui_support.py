"""The ui over a real database and store, and people who are signed in to it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi.testclient import TestClient

from services.ui.app import create_app
from shared.db import events
from shared.db.events import Event, Wanted
from shared.domain import ProjectId
from shared.settings import UiSettings
from shared.system import System
from tests.browser.gallery import PASSWORD, add_user
from tests.world import open_system

ELSEWHERE = {"Origin": "https://evil.test"}
PAGE = {"accept": "text/html"}


@dataclass
class Ui:
    """``ann`` is signed in."""

    system: System
    ann: TestClient

    def events(self, project: ProjectId | None) -> list[Event]:
        """The newest first."""
        with self.system.database.transaction() as tx:
            return events.search(tx, Wanted(project_id=project))

    def stranger(self) -> TestClient:
        return TestClient(self.ann.app, follow_redirects=False)


@contextmanager
def open_ui(database_url: str, folder: Path, **settings: object) -> Iterator[Ui]:
    with open_system(database_url, folder) as system:
        add_user(system, "ann", "Ann Lee")
        client = TestClient(create_app(system, UiSettings(**settings)), follow_redirects=False)  # type: ignore[arg-type]
        client.post("/sign-in", data={"username": "ann", "password": PASSWORD})
        yield Ui(system, client)


def text_of(page: str) -> str:
    """What a page says, without its tags and with single spaces."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))
