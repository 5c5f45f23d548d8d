"""The parts of the overview: classes, confidence, labels, training, and how quickly it hears of what happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from shared import arrays
from shared.autolabelling import Predictions
from shared.db import images, rounds, tasks
from shared.domain import JobKind, RoundMode
from shared.rounds import Scored
from shared.selection.summary import map_summary
from shared.store.base import scores_prefix
from shared.system import System
from tests.browser.axe import assert_usable
from tests.browser.conftest import DESKTOP, PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.browser.test_project_page import SURE, answer, open_page, train
from tests.world import World

Visit = Callable[..., Visitor]
Shoot = Callable[[Page, str], Path]
LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
    "zoomed": {"viewport": {"width": 640, "height": 400}, "color_scheme": "light"},
}
CALIBRATED: dict[str, Any] = {
    "calibration": {
        **SURE["calibration"],
        "temperature": 1.3,
        "n": 80,
        "ece_before": 0.08,
        "ece_after": 0.02,
        "nll_before": 0.5,
        "nll_after": 0.4,
    }
}
TABS = ("Progress", "Classes", "Confidence", "Labels", "Training")
TWISTED = {4: 9, 9: 4, 3: 8}
"""Digits that the model takes for another, in one of three images."""


def said_of(world: World) -> dict[int, int]:
    """What the newest model says of each image: the truth, but for some that it takes for others."""
    truth = load_digits().target
    return {
        image.id: TWISTED.get(int(digit), int(digit)) if at % 3 == 0 else int(digit)
        for at, (image, digit) in enumerate(zip(world.images, truth, strict=False))
    }


def confusion(world: World) -> list[list[int]]:
    said, table = said_of(world), np.zeros((10, 10), int)
    for image, digit in zip(world.images, load_digits().target, strict=False):
        if image.split == "holdout":
            table[int(digit), said[image.id]] += 1
    return [[int(n) for n in row] for row in table]


def score(world: World) -> None:
    """The newest model looks at every shard; what it says is left in the store, as the scorer leaves it."""
    said, store = said_of(world), world.system.store
    rng = np.random.default_rng(3)
    with world.system.ledger.transaction() as tx:
        checkpoint = rounds.curve(tx, world.id)[-1].checkpoint_id
    job = world.next_job(JobKind.SCORE)
    with world.system.ledger.transaction() as tx:
        shard = job.payload["shard_id"]
        rows = images.in_shard(tx, shard)
        unsure = rng.random(len(rows)) < 0.15
        sure = np.where(unsure, rng.uniform(0.3, 0.6, len(rows)), rng.uniform(0.6, 1, len(rows)))
        table = np.repeat(((1 - sure) / 9)[:, None], 10, axis=1).astype(np.float32)
        table[np.arange(len(rows)), [said[one.id] for one in rows]] = sure
        arrays.save(store, scores_prefix(world.id, checkpoint, shard) + "probabilities.npy", table)
        open_ones = images.unanswered(tx, shard)
        whole = table[[place for _, place in open_ones]]
        found = Predictions(
            shard_id=shard,
            ids=np.array([one for one, _ in open_ones], np.int64),
            columns=whole.argmax(axis=1),
            confidences=whole.max(axis=1),
        )
        world.system.ledger.finish(tx, job)
        summary = map_summary(whole, whole, unsure_below=0.6)
        world.system.rounds.scored(tx, job, Scored(summary=summary, predictions=found))


@pytest.fixture
def world(system: System) -> World:
    """Five models. The last has scored the pool and labels by itself; half of its questions are answered."""
    world = hang(
        system,
        digits(620),
        [f"digit {n}" for n in range(10)],
        name="Handwritten digits",
        holdout=100,
        mode=RoundMode.STRICT,
        initial=40,
        batch_size=40,
        target_accuracy=0.97,
        label_budget=600,
        label_price=0.08,
        stop_unsure_share=0.05,
        auto_label=True,
        auto_label_random=0.0,
    )
    open_for_labelling(world)
    answer(world, 140)
    losses = [
        {"epoch": n, "loss": 2.3 * 0.8**n + 0.1, "holdout_loss": 2.3 * 0.82**n + 0.3, "accuracy": 0.9}
        for n in range(1, 31)
    ]
    for right in (71, 83, 89, 93, 94):
        system.rounds.nudge(world.id)
        train(world, right, confusion=confusion(world), history=losses, **(CALIBRATED if right == 94 else {}))
        score(world)
        world.do_select()
        answer(world, 40 if right < 94 else 23)
    return world


def choose(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()
    expect(page.get_by_role("tabpanel", name=tab, exact=True)).to_be_visible()


def test_a_lead_sees_where_the_project_stands_without_scrolling(visit: Visit, world: World, picture_of: Shoot) -> None:
    page = open_page(visit(), world)
    tiles = page.locator("#tiles")
    expect(tiles).to_contain_text("94.0%")
    expect(tiles).to_contain_text("€25.")
    expect(tiles).to_contain_text("To the target")
    expect(page.locator("#curve .scatterlayer .point")).to_have_count(5)
    expect(page.locator("#detail")).to_have_text("55%")  # audits belong to the round, too
    assert picture_of(page, "overview.png").stat().st_size > 20_000


def test_a_cell_of_the_confusion_matrix_opens_its_images(visit: Visit, world: World, picture_of: Shoot) -> None:
    page = open_page(visit(), world)
    choose(page, "Classes")
    expected = confusion(world)[4][9]
    assert expected > 0
    cell = page.locator("#matrix").get_by_role(
        "link", name=f"{expected} images of digit 4 that the model took for digit 9"
    )
    expect(cell).to_be_attached()
    expect(page.locator("#tiles")).to_contain_text("€25.")
    picture_of(page, "overview-classes.png")
    cell.click()
    expect(page.locator("#matching")).to_contain_text(f"{expected} images pass this filter")
    expect(page.locator("#found .shot")).to_have_count(expected)
    expect(page.get_by_label("The model says")).to_have_value(str(world.classes[9].id))


def test_the_galleries_show_what_the_model_is_least_sure_of_and_a_sample(
    visit: Visit, world: World, picture_of: Shoot
) -> None:
    page = open_page(visit(), world)
    choose(page, "Confidence")
    unsure = page.locator("#unsure .shot")
    expect(unsure).to_have_count(24)
    shares = [int(text.rstrip("%")) for text in page.locator("#unsure .shot-label .muted").all_inner_texts()]
    assert shares == sorted(shares) and shares[-1] <= 60
    before = page.locator("#random img").evaluate_all("all => all.map(one => one.src)")
    assert len(before) == 24
    page.get_by_role("button", name="Draw again").click()
    page.wait_for_function("before => document.querySelector('#random img').src !== before", arg=before[0])
    page.locator("#random img").last.scroll_into_view_if_needed()
    unsure.last.evaluate("one => one.scrollIntoView({block: 'end'})")
    page.wait_for_function("() => [...document.querySelectorAll('#unsure img')].every((one) => one.naturalWidth > 0)")
    picture_of(page, "overview-confidence.png")


def test_labels_are_shown_by_source_with_their_cost(visit: Visit, world: World, picture_of: Shoot) -> None:
    page = open_page(visit(), world)
    choose(page, "Labels")
    expect(page.locator("#growth-note")).to_contain_text("a person: 323, the model: ")
    expect(page.locator("#growth .scatterlayer .trace")).to_have_count(2)
    expect(page.locator("#effort")).to_contain_text("€25.84")
    picture_of(page, "overview-labels.png")


def test_the_loss_of_a_training_is_drawn_while_it_trains(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    choose(page, "Training")
    expect(page.locator("#loss-note")).to_contain_text("of the newest model")
    answer(world, waiting(world))
    world.system.rounds.nudge(world.id)
    job = world.next_job(JobKind.TRAIN)
    detail = {"epoch": 3, "epochs": 30, "losses": [[1, 2.1, 2.2], [2, 1.7, 1.9], [3, 1.234, 1.5]]}
    assert world.system.ledger.heartbeat(job, lease_s=60, progress=0.1, detail=detail)
    expect(page.locator("#loss-note")).to_have_text("now: epoch 3 of 30, loss 1.234")
    expect(page.locator("#headline")).to_have_text("Training the model")


def waiting(world: World) -> int:
    with world.system.database.transaction() as tx:
        return tasks.live_counts(tx, world.id).open


def test_the_page_hears_of_what_happens_by_a_stream_and_says_when_it_does_not(visit: Visit, world: World) -> None:
    visitor = visit()
    page = visitor.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[1]))
    open_page(visitor, world)
    page.wait_for_timeout(2_500)
    answer(world, 1)
    expect(page.locator("#tiles")).to_contain_text("324")
    assert asked.count("live") == 1 and "state" not in asked
    visitor.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("alert")).to_contain_text("can’t be reached")
    visitor.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()
    visitor.complaints.clear()


def test_tabs_are_moved_through_by_keys_and_kept_in_the_address(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    page.get_by_role("tab", name="Progress").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Classes")).to_be_focused()
    expect(page.locator("#classes-panel")).to_be_visible()
    page.keyboard.press("End")
    assert page.url.endswith("#training")
    page.reload()
    expect(page.get_by_role("tab", name="Training")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("look", list(LOOKS))
def test_every_part_is_usable_on_every_screen(visit: Visit, world: World, look: str, tmp_path: Path) -> None:
    page = open_page(visit(**LOOKS[look]), world)
    for tab in TABS:
        choose(page, tab)
        page.wait_for_timeout(700)
        width = page.evaluate("document.documentElement.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        assert_usable(page)
        page.screenshot(path=tmp_path / f"{look}-{tab}.png", full_page=True)
