"""The project page in a browser: what happens now, and how good the model is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sklearn.datasets import load_digits

from shared.autolabelling import Predictions
from shared.db import images, labels, projects, tasks
from shared.db.tasks import Lease
from shared.domain import JobKind, RoundMode, TaskKind
from shared.errors import Permanent
from shared.learning.metrics import wilson_interval
from shared.rounds import Scored, TrainedModel
from shared.selection.summary import map_summary
from shared.system import System
from tests.browser.conftest import Visitor
from tests.browser.gallery import digits, hang, open_for_labelling
from tests.world import World

Visit = Callable[..., Visitor]


def train(world: World, right: int, n: int = 100, **more: Any) -> None:
    """The next model, which gets ``right`` of the holdout's ``n`` images right; ``more`` of what was measured."""
    job = world.next_job(JobKind.TRAIN)
    low, high = wilson_interval(right, n)
    metrics = {
        "n": n,
        "accuracy": right / n,
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": right / n - 0.004,
        "per_class": [min(1.0, right / n + delta / 100) for delta in (2, 1, -3, -4, 0, -1, 3, 1, -6, -3)],
        "history": [{"accuracy": right / n + 0.02}],
        **more,
    }
    with world.system.ledger.transaction() as tx:
        known = labels.counts(tx, world.id).pool
        model = TrainedModel(
            key=f"{job.id}/",
            sha256="ab" * 32,
            data_version="v",
            labels=known,
            labels_at=labels.read_at(tx),
            metrics=metrics,
        )
        world.system.ledger.finish(tx, job)
        world.system.rounds.trained(tx, job, model)


def answer(world: World, count: int) -> None:
    """Somebody who knows digits answers the next ``count`` tasks."""
    digit_of = dict(zip([image.id for image in world.images], load_digits().target, strict=False))
    annotator = world.user("ben")
    while count:
        for task in world.system.labelling.lease(world.id, annotator.id, count=min(50, count)):
            lease = Lease(task_id=task.id, fence=task.fence)
            chosen = world.classes[int(digit_of[task.image_id])].id
            world.system.labelling.submit(world.id, annotator.id, lease, chosen, key=f"{task.id}")
            count -= 1


@pytest.fixture
def world(system: System) -> World:
    """In the middle of its sixth round: five models are trained."""
    world = hang(
        system,
        digits(420),
        [f"digit {n}" for n in range(10)],
        name="Handwritten digits",
        holdout=100,
        stored=False,
        mode=RoundMode.STRICT,
        initial=40,
        batch_size=40,
        target_accuracy=0.97,
    )
    open_for_labelling(world)
    answer(world, 140)
    for right in (71, 83, 89, 93, 95):
        system.rounds.nudge(world.id)
        train(world, right)
        world.do_score()
        world.do_select()
        answer(world, 40 if right < 95 else 23)
    return world


def open_page(visitor: Visitor, world: World) -> Page:
    visitor.page.goto(f"/projects/{world.id}")
    expect(visitor.page.get_by_role("heading", level=1)).to_contain_text(world.project.name)
    return visitor.page


def test_the_learning_curve_is_drawn_with_its_interval(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    expect(page.locator("#curve .scatterlayer .trace")).to_have_count(6)  # the curve and its band, and those to come
    expect(page.locator("#curve .scatterlayer .point")).to_have_count(5)
    expect(page.locator("#curve .fills path")).not_to_have_count(0)
    expect(page.locator("#curve")).to_contain_text("95.0%")
    expect(page.locator("#rounds tr")).to_have_count(6)
    expect(page.locator("#rounds tr").first).to_contain_text("88.8 – 97.8")
    expect(page.locator("#headline")).to_have_text("People are labelling")
    expect(page.locator("#why")).to_contain_text("23 of 40 labels")


def test_the_page_follows_what_happens(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    expect(page.locator("#steps [aria-current=step]")).to_have_text("Label")
    answer(world, 17)
    world.system.rounds.nudge(world.id)
    expect(page.locator("#headline")).to_have_text("Training the model")
    expect(page.locator("#steps [aria-current=step]")).to_have_text("Train")
    train(world, 96)
    expect(page.locator("#headline")).to_have_text("Scoring the pool")
    expect(page.locator("#curve .scatterlayer .point")).to_have_count(6)


def test_a_failed_job_is_shown_with_its_error(visit: Visit, world: World) -> None:
    answer(world, 17)
    world.system.rounds.nudge(world.id)
    world.system.ledger.fail(world.next_job(JobKind.TRAIN), Permanent("the weights file is missing: resnet18.pth"))
    page = open_page(visit(), world)
    expect(page.locator("#headline")).to_have_text("Stopped by a failed train job")
    expect(page.locator("#failed")).to_contain_text("the weights file is missing: resnet18.pth")
    expect(page.locator("#state-pill")).to_have_text("failed")


def test_a_project_is_paused_and_goes_on_with_a_button(visit: Visit, world: World) -> None:
    page = open_page(visit(), world)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#headline")).to_have_text("Paused")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#headline")).to_have_text("People are labelling")


def test_what_cannot_be_started_says_why(visit: Visit, system: System) -> None:
    empty = hang(system, [], ["a", "b"], name="empty")
    visitor = visit()
    page = open_page(visitor, empty)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("upload images to the pool")
    visitor.complaints[:] = [text for text in visitor.complaints if "422" not in text]


def test_the_projects_are_listed_with_where_they_stand(visit: Visit, world: World) -> None:
    page = visit().page
    page.goto("/")
    card = page.get_by_role("listitem").filter(has_text="Handwritten digits")
    expect(card).to_contain_text("running")
    expect(card).to_contain_text("95.0%")
    card.get_by_role("link", name="Open Handwritten digits").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Handwritten digits")


SURE: dict[str, Any] = {"calibration": {"above": {"thresholds": [0.5, 0.93], "n": [800, 700], "right": [700, 699]}}}


def score(world: World) -> None:
    """The model is sure of most digits, rightly, and of some it isn't."""
    job = world.next_job(JobKind.SCORE)
    digit_of = dict(zip([image.id for image in world.images], load_digits().target, strict=False))
    rng = np.random.default_rng(0)
    with world.system.ledger.transaction() as tx:
        shard = job.payload["shard_id"]
        ids = np.array([image_id for image_id, _ in images.unanswered(tx, shard)], np.int64)
        columns = np.array([int(digit_of[image_id]) for image_id in ids])
        sure = np.where(
            rng.random(len(ids)) < 0.12, rng.uniform(0.3, 0.6, len(ids)), rng.beta(8, 1, len(ids)) * 0.4 + 0.6
        )
        said = np.repeat(((1 - sure) / 9)[:, None], 10, axis=1).astype(np.float32)
        said[np.arange(len(ids)), columns] = sure
        found = Predictions(shard_id=shard, ids=ids, columns=columns, confidences=said.max(axis=1))
        world.system.ledger.finish(tx, job)
        summary = map_summary(said, said, unsure_below=0.6)
        world.system.rounds.scored(tx, job, Scored(summary=summary, predictions=found))


@pytest.fixture
def labelling_itself(system: System) -> World:
    """Six rounds; in the last the model labels what it is sure of, and nobody has been asked about that yet."""
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
        stop_unsure_share=0.05,
        auto_label=True,
        auto_label_random=0.0,
    )
    open_for_labelling(world)
    answer(world, 140)
    for right in (71, 83, 89, 93, 95):
        system.rounds.nudge(world.id)
        train(world, right, **(SURE if right == 95 else {}))
        score(world)
        world.do_select()
        if right < 95:
            answer(world, 40)
    return world


def test_every_stopping_rule_is_shown_with_its_evidence(
    visit: Visit, labelling_itself: World, picture_of: Callable[[Page, str], Path]
) -> None:
    page = open_page(visit(), labelling_itself)
    rules = page.get_by_role("region", name="When to stop").get_by_role("listitem")
    expect(rules).to_have_count(8)
    expect(rules.filter(has_text="Label budget")).to_contain_text("300 of 600 labels")
    expect(rules.filter(has_text="Target accuracy")).to_contain_text("at least 0.888 on the holdout, target 0.97")
    expect(rules.filter(has_text="Plateau")).to_contain_text("off")
    expect(page.locator("#forecast")).to_contain_text("97.0%")
    expect(page.locator("#stop-note")).to_have_text("after round 5")
    page.locator("#rounds-title").scroll_into_view_if_needed()
    assert picture_of(page, "stopping.png").stat().st_size > 20_000
    page.emulate_media(color_scheme="dark")
    assert picture_of(page, "stopping-dark.png").stat().st_size > 20_000


def test_what_the_model_labels_is_shown_with_its_threshold_and_its_audit(visit: Visit, labelling_itself: World) -> None:
    world, page = labelling_itself, open_page(visit(), labelling_itself)
    page.get_by_role("tab", name="Confidence").click()
    panel = page.get_by_role("region", name="Labelled by the model")
    with world.system.database.transaction() as tx:
        given = labels.counts(tx, world.id).model
    assert given > 50
    expect(panel).to_contain_text(f"Labels{given}")
    expect(panel).to_contain_text("Threshold0.9300")
    expect(page.locator("#sure-bars .unsure")).not_to_have_count(0)
    expect(page.locator("#sure-bars .mark")).to_have_count(2)
    with world.system.database.transaction() as tx:
        asked = tasks.live_counts(tx, world.id).open
    answer(world, asked)
    audits = asked - 40
    expect(panel).to_contain_text(f"Audited{audits} of {audits} right")


def test_labels_that_failed_their_audit_are_withdrawn_before_everybodys_eyes(
    visit: Visit, labelling_itself: World
) -> None:
    world, page = labelling_itself, open_page(visit(), labelling_itself)
    page.get_by_role("tab", name="Confidence").click()
    annotator = world.user("ben")
    digit_of = dict(zip([image.id for image in world.images], load_digits().target, strict=False))
    for task in world.system.labelling.lease(world.id, annotator.id, count=100):
        wrong = (int(digit_of[task.image_id]) + (task.kind is TaskKind.AUDIT)) % 10
        lease = Lease(task_id=task.id, fence=task.fence)
        world.system.labelling.submit(world.id, annotator.id, lease, world.classes[wrong].id, key=f"{task.id}")
    expect(page.locator("#withdrawn")).to_contain_text("All labels of the model were withdrawn")
    expect(page.get_by_role("region", name="Labelled by the model")).to_contain_text("Labels0")


def test_people_are_asked_to_label_the_rest_with_a_button(visit: Visit, world: World) -> None:
    with world.system.ledger.transaction() as tx:
        present = projects.get(tx, world.id).settings
        projects.set_settings(tx, world.id, type(present)(**{**present.__dict__, "max_rounds": 6}))
    answer(world, 17)
    world.system.rounds.nudge(world.id)
    train(world, 96)
    world.do_score()
    page = open_page(visit(), world)
    expect(page.locator("#headline")).to_have_text("Finished")
    expect(page.locator("#rest")).to_contain_text("80 images of the pool have no label")
    page.get_by_role("button", name="Have people label the rest").click()
    expect(page.locator("#headline")).to_have_text("Choosing the next images")
    world.do_select()
    expect(page.locator("#headline")).to_have_text("People are labelling the rest")
    expect(page.locator("#rest")).to_be_hidden()
