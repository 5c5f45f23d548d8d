"""How a vendor does in a project, as those who order from it are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db import gold, labels
from shared.domain import ProjectId, RoundMode
from shared.vendor_record import vendor_record
from tests.integration.api_support import Api, open_api
from tests.integration.batch_support import Deal, answers, new_deal, vendor_key
from tests.world import World, build

PRICE = {"amount": "0.10", "per": "label", "currency": "EUR"}


@pytest.fixture
def api(migrated_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with open_api(migrated_database_url, tmp_path) as opened:
        yield opened


def with_gold(api: Api) -> World:
    """Twenty questions, and eight images whose answer, "a", is known."""
    world = build(api.system, pool=40, mode=RoundMode.STRICT, initial=20, gold_rate=0.2)
    with api.system.ledger.transaction() as tx:
        known = {image.sha256: world.classes[0].id for image in world.images[-8:]}
        gold.mark(tx, world.id, labels.import_known(tx, world.id, known), "test")
    world.start()
    world.do_embed()
    world.do_select()
    return world


def said(deal: Deal, annotator: str, class_: str, duration_ms: int) -> None:
    """This person answers all that they may be asked, each alike."""
    leased = deal.lease(annotator=annotator)
    deal.send([{**one, "duration_ms": duration_ms} for one in answers(leased, class_)])


def record(deal: Deal) -> Any:
    found = deal.api.client.get(f"/v1/projects/{deal.world.id}/vendors/{vendor_of(deal)}")
    assert found.status_code == 200, found.text
    return found.json()


def vendor_of(deal: Deal) -> int:
    items = deal.api.client.get("/v1/vendors").json()["items"]
    return int(next(one["id"] for one in items if one["name"] == "Acme"))


def test_a_vendors_figures_and_its_peoples_add_up(api: Api) -> None:
    deal = new_deal(api, with_gold(api), size=4, overlap=2, price=PRICE)
    said(deal, "maria", "a", 1000)
    said(deal, "tom", "b", 3000)
    told = api.client.get(f"{deal.path}/annotations").json()["items"]
    toms = [one["id"] for one in told if one["annotator"] == "tom"]
    marias = [one["id"] for one in told if one["annotator"] == "maria"]
    api.client.post(f"{deal.path}/annotations:accept", json={"annotation_ids": marias})
    api.client.post(f"{deal.path}/annotations:reject", json={"annotation_ids": toms[:2], "reason": "look again"})
    found = record(deal)
    whole, people = found["figures"], {one["annotator"]: one["figures"] for one in found["people"]}
    assert (whole["answered"], whole["accepted"], whole["rejected"]) == (8, 5, 2)
    assert (whole["acceptance"]["right"], whole["acceptance"]["answers"]) == (5, 7)
    assert 0 < whole["acceptance"]["low"] < 5 / 7 < whole["acceptance"]["high"] < 1
    assert people["maria"]["acceptance"]["share"] == 1.0 and people["tom"]["acceptance"]["share"] == 0.0
    assert (people["maria"]["gold"]["right"], people["maria"]["gold"]["answers"]) == (1, 1)
    assert (people["tom"]["gold"]["right"], people["tom"]["gold"]["answers"]) == (0, 1), "rejected or not"
    assert (whole["gold"]["right"], whole["gold"]["answers"]) == (1, 2)
    assert (people["maria"]["median_s"], people["tom"]["median_s"]) == (1.0, 3.0)
    assert whole["spent"] == {"EUR": "0.80"} and people["tom"]["spent"] == {"EUR": "0.30"}
    assert found["whole"] == {"EUR": "0.80"}
    (batch,) = found["batches"]
    assert (batch["id"], batch["counts"]["answered"], batch["cost"]["spent"]) == (deal.id, 8, "0.80")


def test_several_batches_are_added_up_by_currency_and_drafts_left_out(api: Api) -> None:
    first = new_deal(api, with_gold(api), size=4, price=PRICE)
    second = Deal(api, first.vendor, first.world, _another(first, "more", {**PRICE, "currency": "USD"}))
    _another(first, "a draft", PRICE)
    second.do("open")
    first.answer()
    second.answer(1)
    found = record(first)
    assert [one["name"] for one in found["batches"]] == ["more", "herons"]
    assert found["figures"]["spent"] == {"EUR": "0.50", "USD": "0.10"}
    assert found["whole"]["EUR"] == "0.50", "what has ended costs what was spent"
    assert float(found["whole"]["USD"]) == pytest.approx(0.4), "its four images, when they are answered"
    assert found["people"][0]["annotator"] is None


def _another(deal: Deal, name: str, price: dict[str, str]) -> int:
    body = {"name": name, "vendor": "Acme", "size": 4, "price": price}
    made = deal.api.client.post(f"/v1/projects/{deal.world.id}/batches", json=body)
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def test_a_vendor_without_work_has_empty_figures_and_who_is_none_is_not_found(api: Api) -> None:
    deal = new_deal(api)
    vendor_key(api.system, "Umbra")
    with api.system.database.transaction() as tx:
        row = tx.one("SELECT id FROM users WHERE kind = 'vendor' AND display_name = 'Umbra'")
        assert row is not None
        found = vendor_record(tx, ProjectId(deal.world.id), row["id"])
    assert (found.figures.answered, found.figures.acceptance.share, found.people, found.batches) == (0, None, [], [])
    ann = deal.world.user().id
    assert api.client.get(f"/v1/projects/{deal.world.id}/vendors/{ann}").status_code == 404


def test_who_is_paused_is_named_with_the_reason(api: Api) -> None:
    deal = new_deal(api, with_gold(api), size=4)
    deal.answer(2, annotator="maria")
    with api.system.ledger.transaction() as tx:
        tx.run(
            "INSERT INTO memberships (project_id, user_id, role, paused_at, pause_reason) "
            "SELECT %(project)s, id, 'annotator', now(), 'too fast' FROM users WHERE external_id = 'maria'",
            {"project": deal.world.id},
        )
    (maria,) = record(deal)["people"]
    assert (maria["pause_reason"], maria["figures"]["answered"]) == ("too fast", 2)
