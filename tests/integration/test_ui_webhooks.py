"""The pages of webhooks: made, tried, looked at, changed, deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from standardwebhooks import Webhook

from services.ui.passwords import hash_password
from shared.db import members, users
from shared.db.webhooks import EventType
from shared.domain import ProjectId, Role
from tests.browser.gallery import PASSWORD
from tests.integration.ui_support import PAGE, Ui, open_ui, text_of
from tests.integration.webhooks_support import LOOPBACK, Post
from tests.receiver import Receiver, Reply, receiver
from tests.world import build

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
FORM = {"type.round.completed": "1", "type.model.promoted": "1"}


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ui]:
    monkeypatch.setenv("WINNOW_WEBHOOK_ALLOW_NETWORKS", f'["{LOOPBACK[0]}"]')
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def signed_in(ui: Ui, name: str, project: ProjectId, role: Role) -> TestClient:
    """Somebody who is this in one project and nothing elsewhere."""
    with ui.system.database.transaction() as tx:
        user = users.add(tx, name, name.title(), hash_password(PASSWORD))
        members.put(tx, project, user.id, role)
    client = ui.stranger()
    client.post("/sign-in", data={"username": name, "password": PASSWORD})
    return client


def test_one_is_made_tried_and_its_message_delivered_again(ui: Ui, there: Receiver) -> None:
    world = build(ui.system, pool=1, name="Garden")
    there.reply = lambda heard: Reply(500, body=b"<b>not today</b>")
    made = ui.ann.post("/webhooks", data={**FORM, "url": there.url(), "project": str(world.id), "description": "ours"})
    (secret,) = set(SECRET.findall(made.text))
    assert "Told of what happens in Garden." in text_of(made.text)
    assert SECRET.search(ui.ann.get("/webhooks/1").text) is None
    ui.ann.post("/webhooks/1/ping")
    post = Post.of(ui.system, ProjectId(world.id))
    post.step()
    log = text_of(ui.ann.get("/webhooks/1").text)
    assert "webhook.ping #1" in log and "given up" in log and "500" in log
    delivery = ui.ann.get("/webhooks/1/deliveries/1").text
    assert "&lt;b&gt;not today&lt;/b&gt;" in delivery
    there.reply = lambda heard: Reply()
    assert ui.ann.post("/webhooks/1/deliveries/1/redeliver").status_code == 303
    post.step()
    assert "delivered" in text_of(ui.ann.get("/webhooks/1").text)
    for heard in there.heard:
        Webhook(secret).verify(heard.body, dict(heard.headers))


def test_what_was_typed_stays_where_it_is_refused(ui: Ui) -> None:
    refused = ui.ann.post("/webhooks", data={**FORM, "url": "https://169.254.169.254/", "description": "ours"})
    assert refused.status_code == 422
    assert "not a public address" in refused.text
    assert 'value="https://169.254.169.254/"' in refused.text
    assert re.search(r'name="type\.round\.completed" value="1" checked', refused.text)
    for form in ({"url": "http://127.0.0.1:9/"}, {**FORM, "url": "http://127.0.0.1:9/", "project": "x"}):
        assert ui.ann.post("/webhooks", data=form).status_code == 422
    assert ui.system.webhooks.page(limit=10) == []


def test_a_change_takes_what_the_form_says(ui: Ui) -> None:
    ui.ann.post("/webhooks", data={**FORM, "url": "http://127.0.0.1:9/"})
    form = {"url": "http://127.0.0.1:10/", "type.project.stopped": "1", "description": "theirs"}
    assert ui.ann.post("/webhooks/1", data=form).status_code == 303
    (found,) = ui.system.webhooks.page(limit=10)
    assert (found.url, found.enabled, found.description) == (form["url"], False, "theirs")
    assert list(found.types) == [EventType.PROJECT_STOPPED]
    assert "It is off: somebody disabled it." in text_of(ui.ann.get("/webhooks/1").text)
    refused = ui.ann.post("/webhooks/1", data={**form, "url": "nonsense"})
    assert refused.status_code == 422 and "Nothing was saved" in refused.text


def test_a_new_secret_is_shown_once_and_deletion_is_confirmed(ui: Ui) -> None:
    first = SECRET.findall(ui.ann.post("/webhooks", data={**FORM, "url": "http://127.0.0.1:9/"}).text)
    second = SECRET.findall(ui.ann.post("/webhooks/1/rotate").text)
    assert len(second) == 1 and first != second
    assert ui.ann.post("/webhooks/1/delete").status_code == 422
    assert ui.ann.post("/webhooks/1/delete", data={"confirmed": "1"}).status_code == 303
    assert ui.ann.get("/webhooks/1", headers=PAGE).status_code == 404
    told = text_of(ui.ann.get("/activity").text)
    assert "Ann Lee made webhook 1, to http://127.0.0.1:9/" in told
    assert "gave webhook 1 a new secret" in told and "deleted webhook 1" in told


def test_deliveries_come_in_pages(ui: Ui) -> None:
    ui.ann.post("/webhooks", data={**FORM, "url": "http://127.0.0.1:9/"})
    for _ in range(51):
        ui.system.webhooks.ping(1, actor="test")
    first = ui.ann.get("/webhooks/1").text
    older = re.search(r'href="(/webhooks/1\?before=\d+)"', first)
    assert older is not None and "webhook.ping" in first
    assert ui.ann.get(older[1]).text.count('/webhooks/1/deliveries/1"') == 1


def test_a_manager_sees_to_the_webhooks_of_their_projects_and_knows_of_no_other(ui: Ui) -> None:
    mine, other = build(ui.system, pool=1, name="Garden"), build(ui.system, pool=1, name="Harbour")
    for project in ("", str(mine.id), str(other.id)):
        ui.ann.post("/webhooks", data={**FORM, "url": "http://127.0.0.1:9/", "project": project})
    bob = signed_in(ui, "bob", mine.id, Role.MANAGER)
    page = bob.get("/webhooks").text
    assert "/webhooks/2" in page and "/webhooks/1" not in page and "/webhooks/3" not in page
    assert "Harbour" not in page and "all projects" not in page
    assert [bob.get(f"/webhooks/{one}", headers=PAGE).status_code for one in (1, 2, 3)] == [404, 200, 404]
    assert [bob.post(f"/webhooks/{one}/ping").status_code for one in (1, 2, 3)] == [404, 303, 404]
    form = {**FORM, "url": "http://127.0.0.1:9/"}
    assert bob.post("/webhooks", data={**form, "project": str(mine.id)}).status_code == 200
    assert bob.post("/webhooks", data={**form, "project": str(other.id)}).status_code == 422
    assert bob.post("/webhooks", data=form).status_code == 422
    assert len(ui.system.webhooks.page(limit=10)) == 4


def test_a_reviewer_has_no_business_with_webhooks(ui: Ui) -> None:
    cat = signed_in(ui, "cat", build(ui.system, pool=1).id, Role.REVIEWER)
    assert (cat.get("/webhooks").status_code, cat.post("/webhooks", data=FORM).status_code) == (403, 403)
    assert 'href="/webhooks"' not in cat.get("/").text


def test_nobody_gets_there_who_is_not_signed_in(ui: Ui) -> None:
    stranger = ui.stranger()
    assert stranger.get("/webhooks").status_code == 303
    assert stranger.post("/webhooks", data={**FORM, "url": "http://127.0.0.1:9/"}).status_code == 401
