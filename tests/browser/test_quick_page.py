"""Quick label in a browser, with a model that has really learnt handwritten digits, and the real scorer."""

from __future__ import annotations

import csv
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from services.scorer.models import Models
from services.scorer.predict import PredictHandler
from shared import imaging
from shared.db import browsing, labels, model_labels, rounds
from shared.db.browsing import Filter
from shared.domain import CheckpointId, LabelSource, ShardId
from shared.learning.checkpoints import manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.predict import pick_device, predict
from shared.learning.train import Fitted, fit
from shared.settings import WorkerSettings
from shared.system import System
from shared.worker import Worker
from tests.browser.axe import assert_usable
from tests.browser.conftest import PHONE, Visitor
from tests.browser.gallery import digits, hang, open_for_labelling, think
from tests.waiting import wait_for
from tests.world import World

Visit = Callable[..., Visitor]
LEARNT = 400
CONFIG = LearnConfig(image_size=8, channels=1, epochs=12)


@pytest.fixture(scope="module")
def model() -> Fitted:
    pixels = np.stack([imaging.to_pixels(data, size=8, channels=1) for data in digits(LEARNT)])
    return fit(pixels, load_digits().target[:LEARNT].astype(np.int64), n_classes=10, config=CONFIG)


@pytest.fixture
def learning(system: System) -> World:
    """Nothing is trained yet."""
    names = [str(digit) for digit in range(10)]
    files = digits(60)
    return open_for_labelling(
        hang(system, files, names, name="Digits", initial=20, image_size=8, channels=1, holdout=10)
    )


@pytest.fixture
def world(learning: World, model: Fitted) -> World:
    """The model is in use."""
    target = load_digits().target
    known = {i.sha256: learning.classes[target[int(i.filename.split(".")[0])]].id for i in learning.images[:40]}
    with learning.system.ledger.transaction() as tx:
        labels.import_known(tx, learning.id, known)
    learning.answer(30, learning.user("ben"))
    learning.system.rounds.nudge(learning.id)
    think(learning, lambda image: [0.1] * 10)
    put(learning, model)
    return learning


def put(world: World, model: Fitted) -> None:
    """The model as a trainer leaves it, in the place of the newest checkpoint."""
    body = to_bytes(model.model)
    named = [(int(one.id), one.name) for one in world.classes]
    record = manifest(model.model, body, config=CONFIG, classes=named, data_version="v", metrics={})
    with world.system.database.transaction() as tx:
        newest = rounds.curve(tx, world.id)[-1].checkpoint_id
        tx.run(
            "UPDATE checkpoints SET sha256 = decode(%(sha)s, 'hex') WHERE id = %(id)s",
            {"sha": record["sha256"], "id": newest},
        )
        key = rounds.checkpoint(tx, CheckpointId(newest)).key
    world.system.store.put_bytes(key + "model.safetensors", body)
    world.system.store.put_bytes(key + "checkpoint.json", json.dumps(record).encode())


@contextmanager
def scorer(system: System) -> Iterator[None]:
    handler = PredictHandler(system.ledger, system.store, Models(system.store, pick_device("cpu"), None))
    worker = Worker(system.ledger, system.bus, [handler], WorkerSettings())
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(30)


def unseen(model: Fitted, *, sure: bool, count: int) -> list[tuple[str, bytes, int]]:
    """Digits that the model hasn't seen and is sure of, or isn't: name, file, and what it takes each for."""
    files = digits(LEARNT + 600)[LEARNT:]
    pixels = np.stack([imaging.to_pixels(data, size=8, channels=1) for data in files])
    said = predict(model.model, pixels, device=pick_device("cpu"))[0]
    order = np.argsort(said.max(axis=1))
    rows = order[::-1][:count] if sure else order[:count]
    return [(f"new{row}.png", files[row], int(said[row].argmax())) for row in rows]


def bring(page: Page, files: Sequence[tuple[str, bytes, int]]) -> None:
    given = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data, _ in files]
    page.locator("#files").set_input_files(given)  # type: ignore[arg-type]


def by(world: World, source: LabelSource) -> list[browsing.Found]:
    with world.system.database.transaction() as tx:
        return browsing.page(tx, world.id, Filter(source=source), limit=1000)


def test_what_is_sure_is_filed_and_the_rest_asks(
    visit: Visit, world: World, model: Fitted, picture_of: Callable[[Page, str], Path]
) -> None:
    sure, unsure = unseen(model, sure=True, count=3), unseen(model, sure=False, count=3)
    people = len(by(world, LabelSource.HUMAN))
    page = visit().page
    page.goto(f"/projects/{world.id}/quick")
    with scorer(world.system):
        bring(page, [*sure, *unsure])
        expect(page.locator("#counts")).to_have_text(
            "3 filed by the model, 0 by you, 3 waiting to answer, 0 on their way", timeout=60_000
        )
        expect(page.locator("#says")).to_contain_text("The model says")
        picture_of(page, "quick.png")
        filed = by(world, LabelSource.MODEL)
        assert sorted(one.class_id or 0 for one in filed) == sorted(world.classes[column].id for _, _, column in sure)
        assert all(one.confidence is not None and one.confidence >= 0.95 for one in filed)

        page.locator("#ask-title").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#counts")).to_contain_text("1 by you, 2 waiting")
        page.keyboard.press("Backspace")
        expect(page.locator("#counts")).to_contain_text("0 by you, 3 waiting")
        for _ in range(3):
            page.keyboard.press("4")
        expect(page.locator("#ask-part")).to_be_hidden()
        wait_for(lambda: len(by(world, LabelSource.HUMAN)) == people + 3, "the answers to arrive")
    with world.system.database.transaction() as tx:
        said = tx.all(
            "SELECT suggested FROM annotations WHERE project_id = %(id)s AND suggested IS NOT NULL", {"id": world.id}
        )
    assert len(said) >= 3, "that the model's answer was seen is on record"

    with page.expect_download() as table:
        page.get_by_role("button", name="Labels as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(table.value.path()).read_text())))
    assert sorted(row["source"] for row in rows) == ["human"] * 3 + ["model"] * 3
    with page.expect_download() as archive:
        page.get_by_role("button", name="Images by class as ZIP").click()
    with zipfile.ZipFile(archive.value.path()) as found:
        assert sum(name.endswith(".png") for name in found.namelist()) == 6


def test_labels_that_were_filed_stay_when_the_next_model_comes(visit: Visit, world: World, model: Fitted) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}/quick")
    with scorer(world.system):
        bring(page, unseen(model, sure=True, count=2))
        expect(page.locator("#counts")).to_contain_text("2 filed by the model", timeout=60_000)
    with world.system.ledger.transaction() as tx:
        image = by(world, LabelSource.MODEL)[0]
        tx.run("UPDATE images SET shard_id = 1, shard_row = 900 WHERE id = %(id)s", {"id": image.id})
        model_labels.renew(tx, world.id, CheckpointId(1), ShardId(1), [])
        assert model_labels.withdraw(tx, world.id) == 0
    assert len(by(world, LabelSource.MODEL)) == 2


def test_an_image_of_the_holdout_is_neither_predicted_nor_filed(visit: Visit, world: World, model: Fitted) -> None:
    page = visit().page
    page.goto(f"/projects/{world.id}/quick")
    bring(page, [("held.png", digits(60)[59], 0)])
    expect(page.locator("#shots")).to_contain_text("It is in the holdout")
    expect(page.locator("#ask-part")).to_be_hidden()


def test_without_a_model_all_images_ask(visit: Visit, learning: World, model: Fitted) -> None:
    page = visit().page
    page.goto(f"/projects/{learning.id}/quick")
    expect(page.locator(".notice").first).to_contain_text("no model yet")
    bring(page, unseen(model, sure=True, count=2))
    expect(page.locator("#counts")).to_contain_text("2 waiting")
    page.locator("#ask-title").focus()
    page.keyboard.press("1")
    page.keyboard.press("2")
    expect(page.locator("#counts")).to_contain_text("2 by you, 0 waiting")


def test_everybody_can_label_quickly(visit: Visit, world: World, model: Fitted) -> None:
    looks = {
        "light": {},
        "dark": {"color_scheme": "dark"},
        "phone": PHONE,
        "double": {"viewport": {"width": 640, "height": 400}},
    }
    with scorer(world.system):
        for at, (name, look) in enumerate(looks.items()):
            page = visit(name, **look).page
            page.goto(f"/projects/{world.id}/quick")
            assert_usable(page)
            bring(page, unseen(model, sure=False, count=4)[at:])
            expect(page.locator("#says")).to_contain_text("The model says", timeout=60_000)
            wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wider <= 0, f"{name} is {wider} pixels wider than the screen"
            assert_usable(page)
