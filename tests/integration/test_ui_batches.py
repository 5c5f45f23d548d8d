"""The pages on which a project's manager orders from vendors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import batches
from shared.domain import BatchId, BatchState
from tests.integration.batch_support import started, vendor_key
from tests.integration.ui_support import Ui, open_ui
from tests.world import World

NEW = {"name": "Digits", "vendor": "1", "size": "8", "overlap": "1", "fill": "selection", "amount": "0.05"}


@pytest.fixture
def ui(migrated_database_url: str, tmp_path: Path) -> Iterator[Ui]:
    with open_ui(migrated_database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def world(ui: Ui) -> World:
    vendor_key(ui.system, "Acme Labels")
    return started(ui.system)


def vendor_of(world: World) -> str:
    with world.system.database.transaction() as tx:
        row = tx.one("SELECT id FROM users WHERE kind = 'vendor'")
    assert row is not None
    return str(row["id"])


def test_a_batch_is_made_and_opened(ui: Ui, world: World) -> None:
    place = f"/projects/{world.id}/batches"
    made = ui.ann.post(place, data={**NEW, "vendor": vendor_of(world)})
    assert made.status_code == 303
    assert "sees it once it is open" in ui.ann.get(made.headers["location"]).text
    assert ui.ann.post(f"{place}/1/open").status_code == 303
    with world.system.database.transaction() as tx:
        batch = batches.get(tx, BatchId(1))
        assert (batch.state, batches.counts(tx, batch.id).open) == (BatchState.OPEN, 8)
    again = ui.ann.post(f"{place}/1/open")
    assert again.status_code == 409 and "only a draft" in again.text
    assert "Digits" in ui.ann.get(place).text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": "many"}, "The size is a number"),
        ({"name": " "}, "Give the batch a name"),
        ({"amount": "nan"}, "The price is an amount"),
        ({"amount": "1", "currency": "EURO"}, "three letters"),
        ({"deadline": "soon"}, "The deadline is a date"),
        ({"overlap": "99"}, "1 to 25 people"),
        ({"fill": "guesswork"}, "A batch is filled by"),
        ({"vendor": "999"}, "Choose a vendor"),
    ],
)
def test_what_can_not_be_meant_is_said_and_what_was_typed_stays(
    ui: Ui, world: World, wrong: dict[str, str], said: str
) -> None:
    answer = ui.ann.post(f"/projects/{world.id}/batches", data={**NEW, "vendor": vendor_of(world), **wrong})
    assert answer.status_code == 422 and said in answer.text
    assert f'value="{({**NEW, **wrong})["size"]}"' in answer.text


def test_without_a_vendor_it_is_said_how_one_comes(ui: Ui) -> None:
    world = started(ui.system)
    page = ui.ann.get(f"/projects/{world.id}/batches").text
    assert "There is no vendor yet" in page and 'class="button" href="/people"' in page
