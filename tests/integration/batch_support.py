"""A project with a vendor, its key, and a batch, over the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient

from shared.credentials import new_api_key
from shared.db import users
from shared.domain import ProjectId, RoundMode, Scope
from shared.sweeper import Sweeper
from shared.system import System
from tests.integration.api_support import Api
from tests.world import World, build

TERMS: Mapping[str, Any] = {"name": "herons", "vendor": "Acme", "size": 10}


def vendor_key(system: System, name: str = "Acme", project: int | None = None) -> str:
    """A new key of a vendor, which is made if it is new."""
    key = new_api_key()
    with system.database.transaction() as tx:
        users.add_key(
            tx,
            name=name,
            prefix=key.prefix,
            key_sha256=key.sha256,
            scopes=[Scope.BATCH],
            project_id=None if project is None else ProjectId(project),
            user_id=users.vendor_named(tx, name),
        )
    return key.secret


def started(system: System, *, pool: int = 40, asked: int = 20, name: str = "letters", **settings: Any) -> World:
    """A project that runs and asks ``asked`` questions of its own."""
    world = build(system, pool=pool, name=name, **{"mode": RoundMode.STRICT, "initial": asked, **settings})
    world.start()
    world.do_embed()
    world.do_select()
    return world


@dataclass
class Deal:
    """A batch: the manager's side of it over ``api``, the vendor's over ``vendor``."""

    api: Api
    vendor: TestClient
    world: World
    id: int

    @property
    def path(self) -> str:
        return f"/v1/projects/{self.world.id}/batches/{self.id}"

    def do(self, action: str) -> Any:
        """``open``, ``pause``, ``resume`` or ``cancel``."""
        answer = self.api.client.post(f"{self.path}:{action}")
        assert answer.is_success, answer.text
        return answer.json()

    def look(self) -> Any:
        return self.api.client.get(self.path).json()

    def lease(self, count: int = 50, **body: Any) -> Any:
        answer = self.vendor.post(f"/v1/batches/{self.id}/leases", json={"count": count, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, items: Sequence[Mapping[str, Any]]) -> Any:
        answer = self.vendor.post(f"/v1/batches/{self.id}/annotations", json={"annotations": list(items)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def answer(self, count: int = 50, class_: str = "a", **lease: Any) -> Any:
        """Lease and answer; the results."""
        return self.send(answers(self.lease(count, **lease), class_))["results"]

    def sweep(self) -> None:
        system = self.api.system
        Sweeper(system.ledger, system.rounds, every_s=60).sweep()


def answers(leased: Mapping[str, Any], class_: str = "a") -> list[dict[str, Any]]:
    """An answer for each task of a lease."""
    return [{"task_id": task["task_id"], "lease": leased["lease"], "class": class_} for task in leased["tasks"]]


def new_deal(api: Api, world: World | None = None, *, opened: bool = True, **terms: Any) -> Deal:
    key = vendor_key(api.system)
    world = world or started(api.system)
    vendor = TestClient(api.client.app, headers={"Authorization": f"Bearer {key}"})
    made = api.client.post(f"/v1/projects/{world.id}/batches", json={**TERMS, **terms})
    assert made.status_code == 201, made.text
    deal = Deal(api, vendor, world, made.json()["id"])
    if opened:
        deal.do("open")
    return deal
