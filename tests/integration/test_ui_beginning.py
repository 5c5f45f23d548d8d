"""The first user of a stack, and a project in three steps or in one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.ui import beginning, sample
from services.ui.app import create_app
from shared.db import events, images, labels, projects, users
from shared.db.events import Wanted
from shared.domain import ProjectId, ProjectState
from shared.settings import UiSettings
from shared.system import System
from tests.integration.api_support import picture
from tests.integration.ui_support import ELSEWHERE, PAGE, Ui, open_ui, text_of
from tests.world import open_system

PERSON = {"username": "Lead", "display_name": "Lee D.", "password": "long enough", "again": "long enough"}


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def here(system: System) -> TestClient:
    """A browser on the service's own machine."""
    return at(system, "http://127.0.0.1:8080", "127.0.0.1")


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


def at(system: System, address: str, client: str) -> TestClient:
    app = create_app(system, UiSettings())
    return TestClient(app, base_url=address, client=(client, 50000), follow_redirects=False)


def count_users(system: System) -> int:
    with system.database.transaction() as tx:
        return len(tx.all("SELECT id FROM users"))


def test_a_stack_without_users_leads_to_its_first(system: System, here: TestClient) -> None:
    assert here.get("/").headers["location"].startswith("/sign-in")
    assert here.get("/sign-in").headers["location"] == "/welcome"
    assert 'name="code"' not in here.get("/welcome").text
    made = here.post("/welcome", data=PERSON)
    assert (made.status_code, made.headers["location"]) == (303, "/")
    assert "Lee D." in here.get("/").text and "How Winnow works" in here.get("/").text
    with system.database.transaction() as tx:
        (event,) = events.search(tx, Wanted(kind="user.added"))
    assert event.data["username"] == "lead"


def test_there_is_only_one_first_user(system: System, here: TestClient) -> None:
    here.post("/welcome", data=PERSON)
    second = at(system, "http://127.0.0.1:8080", "127.0.0.1")
    assert second.get("/welcome").headers["location"] == "/sign-in"
    assert second.post("/welcome", data={**PERSON, "username": "mallory"}).headers["location"] == "/sign-in"
    with system.database.transaction() as tx:
        assert users.add_first(tx, "mallory", "M", "hash") is None
    assert count_users(system) == 1


@pytest.mark.parametrize(
    ("address", "client", "headers"),
    [
        ("http://labels.example.org", "10.0.0.7", {}),
        ("http://127.0.0.1:8080", "127.0.0.1", {"x-forwarded-for": "10.0.0.7"}),
        ("http://evil.test", "127.0.0.1", {}),
    ],
)
def test_who_comes_from_elsewhere_needs_the_code_from_the_log(
    system: System, address: str, client: str, headers: dict[str, str]
) -> None:
    far = at(system, address, client)
    assert 'name="code"' in far.get("/welcome", headers=headers).text
    for code in ("", "guess", "é"):
        refused = far.post("/welcome", data={**PERSON, "code": code}, headers=headers)
        assert refused.status_code == 422 and "code is not the one" in text_of(refused.text)
    assert count_users(system) == 0
    assert far.post("/welcome", data={**PERSON, "code": beginning._CODE}, headers=headers).status_code == 303


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"again": "different"}, "passwords differ"),
        ({"password": "short", "again": "short"}, "between 8 and 1000"),
        ({"username": "Ann Lee"}, "made of a-z"),
        ({"username": ""}, "made of a-z"),
    ],
)
def test_what_can_t_be_is_said_and_what_was_typed_stays(
    system: System, here: TestClient, changed: dict[str, str], says: str
) -> None:
    refused = here.post("/welcome", data={**PERSON, **changed})
    assert refused.status_code == 422 and says in text_of(refused.text) and "Lee D." in refused.text
    assert count_users(system) == 0


def state(ui: Ui, project: int) -> ProjectState:
    with ui.system.database.transaction() as tx:
        return projects.get(tx, ProjectId(project)).state


def test_a_project_in_three_steps(ui: Ui) -> None:
    form = {"name": " Birds ", "classes": "heron\r\n\r\nswan\r\n", "kind": "small"}
    made = ui.ann.post("/projects/new", data=form)
    assert made.headers["location"] == "/projects/1/data"
    assert "Step" not in made.text and "2 · The images" in ui.ann.get("/projects/1/data").text
    assert "nothing to ask about yet" in ui.ann.get("/projects/1/begin").text
    files = [("files", (f"{seed}.png", picture(seed), "image/png")) for seed in range(6)]
    ui.ann.post("/projects/1/data/upload", files=files)
    assert "The 6 images of the pool" in text_of(ui.ann.get("/projects/1/begin").text)
    started = ui.ann.post("/projects/1/begin", data={"initial": "2", "batch_size": "2", "label_budget": "5"})
    assert (started.status_code, started.headers["location"]) == (303, "/projects/1")
    assert state(ui, 1) is ProjectState.RUNNING
    with ui.system.database.transaction() as tx:
        settings = projects.get(tx, ProjectId(1)).settings
        assert [one.name for one in projects.classes(tx, ProjectId(1))] == ["heron", "swan"]
    assert (settings.initial, settings.batch_size, settings.label_budget, settings.image_size) == (2, 2, 5, 32)
    assert ui.ann.get("/projects/1/begin").headers["location"] == "/projects/1"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"name": "", "classes": "a\nb"}, "needs a name"),
        ({"name": "Birds", "classes": "heron"}, "at least two classes"),
        ({"name": "Birds", "classes": "a\na"}, "a name of its own"),
        ({"name": "taken", "classes": "a\nb"}, "of that name already"),
        ({"name": "Birds", "classes": "\n".join(map(str, range(1001)))}, "1,000 classes at most"),
    ],
)
def test_a_project_that_can_t_be_is_refused_with_what_was_typed(ui: Ui, form: dict[str, str], says: str) -> None:
    ui.ann.post("/projects/new", data={"name": "taken", "classes": "a\nb"})
    refused = ui.ann.post("/projects/new", data=form, headers=PAGE)
    assert refused.status_code == 422 and says in text_of(refused.text)
    assert form["name"] in refused.text


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"initial": "0", "batch_size": "2"}, "Some fields need another look"),
        ({"initial": "2", "batch_size": "2", "holdout_size": "6"}, "leaves nothing"),
    ],
)
def test_a_start_that_can_t_be_leaves_a_draft(ui: Ui, form: dict[str, str], says: str) -> None:
    ui.ann.post("/projects/new", data={"name": "Birds", "classes": "a\nb"})
    files = [("files", (f"{seed}.png", picture(seed), "image/png")) for seed in range(6)]
    ui.ann.post("/projects/1/data/upload", files=files)
    refused = ui.ann.post("/projects/1/begin", data=form)
    assert refused.status_code == 422 and says in text_of(refused.text)
    assert state(ui, 1) is ProjectState.DRAFT


def test_the_sample_is_there_in_one_click_with_its_holdout_known(ui: Ui) -> None:
    made = ui.ann.post("/projects/new/sample")
    assert made.headers["location"] == "/projects/1" and state(ui, 1) is ProjectState.RUNNING
    with ui.system.database.transaction() as tx:
        counted, known = images.counts(tx, ProjectId(1)), labels.counts(tx, ProjectId(1))
    assert (counted.total, counted.holdout) == (1797, 500)
    assert (known.holdout, known.pool) == (500, 0)
    assert ui.ann.post("/projects/new/sample").status_code == 409


def test_where_there_is_no_sample_there_is_no_button(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Make the sample project" in ui.ann.get("/").text
    monkeypatch.setattr(sample, "available", lambda: False)
    assert "Make the sample project" not in ui.ann.get("/").text
    assert ui.ann.post("/projects/new/sample").status_code == 409


def test_strangers_and_other_sites_are_refused(ui: Ui) -> None:
    for path in ("/projects/new", "/projects/new/sample", "/projects/1/begin"):
        assert ui.stranger().post(path).status_code == 401
        assert ui.ann.post(path, headers=ELSEWHERE).status_code == 403
    assert ui.stranger().post("/welcome", headers=ELSEWHERE).status_code == 403
    assert ui.ann.get("/projects/999/begin").status_code == 404
