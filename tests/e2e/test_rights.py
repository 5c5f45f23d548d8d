"""The whole loop while each service has accounts of its own, with no right that it does not need."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from PIL import Image
from psycopg2.extensions import make_dsn, parse_dsn

from shared.db.roles import SERVICES, role
from shared.db.webhooks import EventType
from tests.e2e.running import PASSWORD, DigitsProject, Running, digits_project, oracle, running
from tests.e2e.test_loop import SETTINGS, finish, local_env
from tests.integration.api_support import encoded
from tests.made_secrets import MadeSecrets
from tests.receiver import Receiver, receiver
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.waiting import wait_for
from winnow.client import Annotator
from winnow.installing import install

REFUSED = re.compile(r"permission denied|must be owner|ACCESS_REFUSED|InsufficientPrivilege")
OWNER = "winnow_test_owner"
Own = Mapping[str, Mapping[str, str]]


def signed_in(url: str, user: str, password: str) -> str:
    return str(make_dsn(**{**parse_dsn(url), "user": user, "password": password}))


@pytest.fixture
def admin_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database that belongs to an owner who is no superuser; this is how its superuser gets in."""
    url = postgres.create_database()
    name = parse_dsn(url)["dbname"]
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD 'owner'; ALTER SCHEMA public OWNER TO {OWNER}")
        cursor.execute(f"ALTER DATABASE {name} OWNER TO {OWNER}; REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    yield url
    postgres.drop_database(url)
    with psycopg2.connect(postgres.url) as connection, connection.cursor() as cursor:
        for account in (*map(role, SERVICES), OWNER):
            cursor.execute(f"DROP ROLE IF EXISTS {account}")


@pytest.fixture
def accounts(admin_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Own:
    """By service, the environment that signs it in to Postgres, with the rights that ``winnow migrate`` gives it."""
    passwords = {service: uuid.uuid4().hex for service in SERVICES}
    for service, password in passwords.items():
        (tmp_path / f"postgres_{service}").write_text(password + "\n")
    monkeypatch.setenv("WINNOW_ROLES_DIR", str(tmp_path))
    for _ in range(2):  # a second time changes nothing, and must be allowed
        list(install(signed_in(admin_url, OWNER, "owner")))
    return {
        service: {"WINNOW_DATABASE_URL": signed_in(admin_url, role(service), password)}
        for service, password in passwords.items()
    }


def label_by_hand(stack: Running, project: DigitsProject) -> None:
    """What an oracle never does: let tasks go, skip one, take an answer back, sign out."""
    stack.add_user("bob")
    base = f"/v1/projects/{project.id}"
    with Annotator(stack.ui_url) as bob:
        bob.sign_in("bob", PASSWORD)
        wait_for(lambda: bool(bob.lease(project.id, 3)[0]), "tasks")
        first, second, third = bob.lease(project.id, 3)[0]
        held = {"leases": [{"task_id": each.task_id, "fence": each.fence} for each in (first, second, third)]}
        assert len(bob.call("POST", f"{base}/leases/renew", json=held).json()["held"]) == 3
        bob.submit(project.id, first, bob.classes(project.id)[0]["id"])
        again = bob.call("POST", f"{base}/undo", json={}).json()["task"]
        bob.call("POST", f"{base}/tasks/{second.task_id}/skip", json={"fence": second.fence})
        held["leases"].append({"task_id": again["task_id"], "fence": again["fence"]})
        bob.call("POST", f"{base}/leases/release", json=held)
        for page in ("/", f"/projects/{project.id}", f"/projects/{project.id}/label", f"{base}/state"):
            bob.call("GET", page)
        browse(bob, project)
        bob._client.post("/sign-out")


def browse(bob: Annotator, project: DigitsProject) -> None:
    """What a lead does at the pages."""
    here = f"/projects/{project.id}"
    with_page = {"accept": "text/html"}

    def post(path: str, **body: Any) -> None:
        answer = bob._client.post(path, **body)
        assert answer.status_code in (200, 303), answer.text

    pages = ("images", "data", "settings", "activity", "activity.csv", "data/export.csv", "flags")
    for page in ("/activity", "/system", "/projects/new", *(f"{here}/{name}" for name in pages)):
        bob.call("GET", page)
    (cell, *_) = bob.classes(project.id)
    answer = bob.call("GET", f"{here}/images?state=unlabelled", headers=with_page).text
    image = re.findall(r'name="id" value="(\d+)"', answer)[-1]
    bob.call("GET", f"{here}/images/{image}/details")
    bob.call("GET", f"{here}/images/{image}/thumb")
    for form in (
        {"action": "relabel", "class_id": cell["id"]},
        {"action": "gold"},
        {"action": "tag", "tag": "odd"},
        {"action": "untag", "tag": "odd"},
        {"action": "remove", "confirmed": "1"},
        {"action": "ask", "confirmed": "1"},
    ):
        post(f"{here}/images/actions", data={**form, "id": image})
    post(f"{here}/images/{image}/gold/remove")
    bob.call("GET", f"{here}/quality")
    post(f"{here}/settings", data={"shown": "lease_seconds", "lease_seconds": "700"})
    named = {f"name.{cell['id']}": cell["name"], f"colour.{cell['id']}": "#123456"}
    post(f"{here}/settings/classes", data=named)
    post(f"{here}/settings/guidelines", data={"text": "Digits."})
    post("/system/jobs/retry")
    post(f"{here}/data/exports", data={"form": "csv"})
    post(f"{here}/data/exports/1/delete", data={"confirmed": "1"})
    bob.call("GET", f"{here}/data/exports")
    post("/projects/new", data={"name": "other", "classes": "a\nb"})
    begun = bob.call("POST", f"{here}/data/imports", json={"expected": 1, "split": "holdout"}).json()["import_id"]
    file = {"files": ("odd.png", encoded(Image.new("L", (9, 9), 77), "PNG"), "image/png")}
    post(f"{here}/data/upload?split=holdout&class={cell['name']}&import={begun}", files=file)
    bob.call("POST", f"{here}/data/imports/{begun}/end")


def be_told(stack: Running, project: DigitsProject, there: Receiver) -> None:
    """Everything that happens is told to a listener: each service writes it down, the api delivers it."""
    told = {f"type.{one.value}": "1" for one in EventType}
    with Annotator(stack.ui_url) as bob:
        bob.sign_in("bob", PASSWORD)

        def post(path: str, **data: str) -> None:
            answer = bob._client.post(path, data=data)
            assert answer.status_code in (200, 303), answer.text

        fields = {"url": there.url(), "project": str(project.id), **told}
        post("/webhooks", **fields)
        post("/webhooks/1", **fields, enabled="1", description="ours")
        post("/webhooks/1/rotate")
        post("/webhooks/1/ping")
        for page in ("/webhooks", "/webhooks/1", "/webhooks/1/deliveries/1"):
            bob.call("GET", page)
        wait_for(lambda: bool(there.heard), "the test message")
        wait_for(lambda: bool(stack.rows("SELECT 1 FROM webhook_messages WHERE state = 'delivered'")), "its record")
        post("/webhooks/1/deliveries/1/redeliver")
        post("/webhooks", **{**fields, "url": there.url() + "/other"})
        post("/webhooks/2/delete", confirmed="1")


def manage(stack: Running, project: DigitsProject, folder: Path) -> None:
    """What integrations do, beyond uploading."""
    with stack.client() as client:
        client.pause(project.id)
        client.set_settings(project.id, {"seed": 7})
        client.start(project.id)
        client.requeue(project.id)
        for part in ("", "/state", "/rounds", "/checkpoints", "/jobs", "/events", "/images"):
            client.call("GET", f"/v1/projects/{project.id}{part}")
        (image,) = client.call("GET", f"/v1/projects/{project.id}/images?limit=1").json()["items"]
        for part in ("", "/content", "/prediction"):
            client.call("GET", f"/v1/projects/{project.id}/images/{image['id']}{part}")
        tagged = {"image_ids": [image["id"]], "tags": ["odd"]}
        for done in ("tag", "untag"):
            client.call("POST", f"/v1/projects/{project.id}/images:{done}", json=tagged)
        client.call("GET", f"/v1/projects/{project.id}/tags")
        file = client.call("GET", f"/v1/projects/{project.id}/images/{image['id']}/content").content
        assert client.predict(project.id, [("copy.png", file)], [image["id"]])["failed"] == 0
        for form in ("csv", "zip"):
            client.export(project.id, form, folder / f"export.{form}")
            asked = client.prepare_export(project.id, form)["id"]
            ready = client.await_export(project.id, asked, 60)
            assert client.download_export(project.id, ready, folder / f"prepared.{form}") == ready["bytes"]
            client.delete_export(project.id, asked)


def loop(stack: Running, folder: Path) -> None:
    with receiver() as there:
        _loop(stack, folder, there)
        told = {json.loads(heard.body)["type"] for heard in there.heard}
    assert {"annotation.submitted", "round.completed", "project.stopped", "export.ready"} <= told


def _loop(stack: Running, folder: Path, there: Receiver) -> None:
    project = digits_project(stack, pool=300, holdout=150, **SETTINGS)
    label_by_hand(stack, project)
    be_told(stack, project, there)
    annotator = oracle(stack, project, "ann")
    done = threading.Event()
    thread = annotator.in_thread(done.is_set)
    wait_for(lambda: bool(stack.rows("SELECT 1 FROM checkpoints WHERE scored_at IS NOT NULL")), "a scored model", 120)
    manage(stack, project, folder)
    finish(stack, project)
    done.set()
    thread.join(30)
    for url in (stack.ui_url, stack.api_url):
        with Annotator(url) as anybody:
            anybody.call("GET", "/readyz")
            anybody.call("GET", "/metrics")


def refusals(folder: Path) -> list[str]:
    lines = [line for log in (folder / "logs").glob("*.log") for line in log.read_text().splitlines()]
    assert any("job.done" in line for line in lines), "the logs are those of services that worked"
    return [line for line in lines if REFUSED.search(line)]


def environment(folder: Path, **more: str) -> dict[str, Any]:
    """Retention at work as well: it deletes while the loop runs."""
    allowed = {"WINNOW_WEBHOOK_ALLOW_NETWORKS": '["127.0.0.0/8"]', "WINNOW_WEBHOOK_POLL_S": "0.1"}
    kept = {"WINNOW_RETENTION_SCORES": "1", "WINNOW_RETENTION_WEIGHTS": "1", "WINNOW_RETENTION_EVERY_S": "1"}
    return {**local_env(folder), **allowed, **kept, **more}


def test_the_loop_with_an_account_in_postgres_for_each_service(admin_url: str, accounts: Own, tmp_path: Path) -> None:
    with running(admin_url, environment(tmp_path), tmp_path, accounts) as stack:
        loop(stack, tmp_path)
    assert refusals(tmp_path) == []


def test_the_loop_with_an_account_in_rabbitmq_for_each_service_too(
    admin_url: str, accounts: Own, deployed_rabbit: RabbitServer, deployed_secrets: MadeSecrets, tmp_path: Path
) -> None:
    own = {
        service: {
            **accounts[service],
            "WINNOW_BUS_URL": deployed_rabbit.url_of(service, deployed_secrets[f"rabbitmq_{service}"]),
        }
        for service in SERVICES
    }
    with running(admin_url, environment(tmp_path, WINNOW_BUS_KIND="amqp"), tmp_path, own) as stack:
        loop(stack, tmp_path)
    assert refusals(tmp_path) == []
