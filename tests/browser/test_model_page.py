"""The page of a model in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from shared.db import events, rounds
from shared.learning.metrics import evaluate
from shared.system import System
from tests.browser.conftest import Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.world import World

Visit = Callable[..., Visitor]
CLASSES = [f"digit {n}" for n in range(10)]


def measured() -> dict[str, Any]:
    """What a training that went well leaves behind; of a hundred images, some sixes are taken for eights."""
    rng = np.random.default_rng(0)
    truth = np.arange(100) % 10
    scores = rng.normal(size=(100, 10))
    scores[np.arange(100), truth] += 5
    scores[truth == 6, 8] += 5
    powers = np.exp(scores)
    reports = [
        {"epoch": n, "epochs": 10, "loss": 2 / n, "accuracy": 1 - 0.8 / n, "holdout_loss": 2.2 / n + 0.1}
        | ({"holdout_accuracy": 0.95 - 0.8 / n} if n % 2 == 0 else {})
        for n in range(1, 11)
    ]
    return {
        "labels": 40,
        "history": reports,
        "recipe": {"kind": "signs", "epochs": 10, "flip": False, "learning_rate": 0.003, "head_decay": None},
        "calibration": {"temperature": 1.37, "n": 80, "measured_on": "out-of-fold"}
        | {"ece_before": 0.081, "ece_after": 0.024, "nll_before": 0.5, "nll_after": 0.41},
        **evaluate(powers / powers.sum(axis=1, keepdims=True), truth),
    }


@pytest.fixture
def world(system: System) -> World:
    files = digits(140)
    world = open_for_labelling(hang(system, files, CLASSES, name="Digits", initial=10))
    world.answer(40, world.user("ben"))
    system.rounds.nudge(world.id)
    return world


def model_page(visitor: Visitor, world: World) -> Page:
    visitor.page.goto(f"/projects/{world.id}")
    visitor.page.get_by_role("link", name="Model of round 1").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Model of round 1")
    return visitor.page


def test_a_model_shows_how_good_it_is_and_where_it_errs(
    visit: Visit, world: World, picture_of: Callable[[Page, str], Path]
) -> None:
    world.do_train(**measured())
    page = model_page(visit(), world)
    six = page.locator("table.confusion tbody tr").nth(6)
    expect(six.get_by_role("rowheader")).to_have_text("digit 6")
    assert int(six.locator("td").nth(8).inner_text()) > 0, "sixes taken for eights"
    expect(page.get_by_text("Temperature 1.37, fitted on 80 labels")).to_be_visible()
    expect(page.get_by_role("row", name="Expected calibration error")).to_contain_text("0.0810.024")
    expect(page.get_by_role("img", name="Loss by epoch: labels, as augmented ends at 0.200")).to_be_visible()
    expect(page.get_by_role("row", name="learning_rate")).to_contain_text("0.003")
    assert picture_of(page, "model.png").stat().st_size > 20_000


def test_a_model_is_put_to_use_and_taken_out_of_it(visit: Visit, world: World) -> None:
    world.do_train(**measured())
    page = model_page(visit(), world)
    page.get_by_role("button", name="Put to use").click()
    page.get_by_role("button", name="Yes, put it to use").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model of round 1 in use")
    with world.system.database.transaction() as tx:
        used = rounds.promoted(tx, world.id)
        assert used is not None and used.id == 1
    page.get_by_role("button", name="Take out of use").click()
    page.get_by_role("button", name="Yes, take it out of use").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model of round 1")
    with world.system.database.transaction() as tx:
        assert rounds.promoted(tx, world.id) is None
        assert [event.kind for event in events.newest(tx, world.id, limit=2)] == ["model.rolled_back", "model.promoted"]


def test_what_an_older_model_does_not_tell_is_left_out(visit: Visit, world: World) -> None:
    world.do_train(labels=40)
    page = model_page(visit(), world)
    expect(page.get_by_text("Nothing was measured")).to_be_visible()
    expect(page.locator("table")).to_have_count(0)


def test_there_is_no_page_of_a_model_of_another_project(visit: Visit, world: World) -> None:
    world.do_train(**measured())
    visitor = visit()
    other = hang(world.system, digits(5), ["a", "b"], name="Other")
    response = visitor.page.goto(f"/projects/{other.id}/models/1")
    assert response is not None and response.status == 404
    visitor.complaints.clear()
