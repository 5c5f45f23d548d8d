"""Overlapping answers are weighed all together, labels count by who gave them, and people's figures add up."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared import consensus
from shared.db import gold, labels
from shared.db.tasks import Lease
from shared.domain import ImageId, LabelSource, RoundMode, TaskKind
from shared.measuring import measure
from shared.system import System
from tests.world import World, build, open_system

PEOPLE = {"good": 0.97, "fair": 0.9, "poor": 0.6}


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path) as opened:
        yield opened


def begin(system: System, *, images: int, overlap: int, known: int = 0) -> World:
    world = build(
        system,
        pool=images + known,
        mode=RoundMode.STRICT,
        initial=images + known,
        overlap=overlap,
        gold_rate=0.3 if known else 0.0,
    )
    if known:
        with system.ledger.transaction() as tx:
            labels.import_known(tx, world.id, {i.sha256: world.classes[0].id for i in world.images[:known]})
            gold.mark(tx, world.id, [i.id for i in world.images], "test")
    world.start()
    world.do_embed()
    world.do_select()
    return world


def answer_all(world: World, name: str, accuracy: float, seed: int, *, gold_too: bool = True) -> None:
    """The truth is that images with an even id are of class ``a``, and what is known is ``a``."""
    rng, person = np.random.default_rng(seed), world.user(name)
    while leased := world.system.labelling.lease(world.id, person.id, count=50):
        for task in leased:
            truth = 0 if task.kind is TaskKind.GOLD else task.image_id % 2
            said = truth if rng.random() < accuracy else 1 - truth
            held = Lease(task_id=task.id, fence=task.fence)
            key = uuid.uuid4().hex
            world.system.labelling.submit(
                world.id, person.id, held, world.classes[said].id, key=key, duration_ms=1000 + 10 * seed
            )


def right(world: World) -> tuple[int, int]:
    """Labels, and those that are right."""
    with world.system.ledger.transaction() as tx:
        told = [(row["id"], row["label"]) for row in labels.export(tx, world.id) if row["source"] == "consensus"]
    return len(told), sum(label == "ab"[image % 2] for image, label in told)


def test_weighing_all_answers_settles_what_people_disagree_on(system: System) -> None:
    world = begin(system, images=80, overlap=2)
    for seed, (name, accuracy) in enumerate([("good", 0.97), ("poor", 0.7)]):
        answer_all(world, name, accuracy, seed)
    before, _ = right(world)
    assert before < 70
    with system.ledger.transaction() as tx:
        renewed = consensus.renew(tx, world.id, actor="test")
    after, good = right(world)
    assert after == before + renewed.settled and good / after > 0.9


def test_weighing_all_answers_settles_disputes_about_the_models_labels_too(system: System) -> None:
    world = begin(system, images=80, overlap=4)
    for seed, (name, accuracy) in enumerate([("good", 0.97), ("fine", 0.95), ("poor", 0.6), ("worse", 0.6)]):
        answer_all(world, name, accuracy, seed)
    with system.ledger.transaction() as tx:
        tx.run(
            "INSERT INTO labels (image_id, project_id, class_id, source, confidence) "
            "SELECT image_id, project_id, %(class_id)s, 'model', 0.99 FROM questions WHERE state = 'disagreed'",
            {"class_id": world.classes[0].id},
        )
        renewed = consensus.renew(tx, world.id, actor="test")
        left = tx.all("SELECT q.state FROM labels l JOIN questions q USING (image_id) WHERE l.source = 'model'")
    assert renewed.settled > 0 and {row["state"] for row in left} <= {"disagreed"}


def test_a_majority_is_overruled_where_the_answers_say_who_is_better(system: System) -> None:
    world = begin(system, images=120, overlap=5)
    people = {"good": 0.97, "fine": 0.95, "poor": 0.6, "worse": 0.6, "worst": 0.55}
    for seed, (name, accuracy) in enumerate(people.items()):
        answer_all(world, name, accuracy, seed)
    _, before = right(world)
    with system.ledger.transaction() as tx:
        renewed = consensus.renew(tx, world.id, actor="test")
    _, after = right(world)
    assert renewed.changed > 0 and after > before
    with system.ledger.transaction() as tx:
        confidences = [row["confidence"] for row in tx.all("SELECT confidence FROM labels")]
    assert sum(0.8 <= one <= 1 for one in confidences) >= renewed.labels > 0


def test_what_a_lead_decided_is_left_alone(system: System) -> None:
    world = begin(system, images=30, overlap=3)
    for seed, (name, accuracy) in enumerate(PEOPLE.items()):
        answer_all(world, name, accuracy, seed)
    image = world.images[0].id
    wrong = world.classes[1 - image % 2]
    system.curation.relabel(world.id, world.user("lead").id, [image], wrong.id)
    with system.ledger.transaction() as tx:
        consensus.renew(tx, world.id, actor="test")
        found = labels.of_image(tx, image)
    assert found is not None and (found.name, found.source) == (wrong.name, LabelSource.HUMAN)


def test_without_overlapping_answers_nothing_is_weighed(system: System) -> None:
    world = begin(system, images=10, overlap=1)
    answer_all(world, "good", 1.0, 0)
    with system.ledger.transaction() as tx:
        assert consensus.renew(tx, world.id, actor="test").labels == 0


def test_labels_weigh_by_the_record_of_who_gave_them(system: System) -> None:
    world = begin(system, images=40, overlap=1, known=12)
    careful, careless = world.user("careful"), world.user("careless")
    given: dict[str, list[ImageId]] = {"careful": [], "careless": []}
    for person in (careful, careless) * 30:
        for task in world.system.labelling.lease(world.id, person.id, count=1):
            known = task.kind is TaskKind.GOLD
            column = 0 if person is careful or not known else 1
            held = Lease(task_id=task.id, fence=task.fence)
            key = uuid.uuid4().hex
            world.system.labelling.submit(world.id, person.id, held, world.classes[column].id, key=key)
            if not known:
                given[person.username].append(task.image_id)
    imported = world.images[0].id
    with system.ledger.transaction() as tx:
        weights = {
            name: consensus.label_weights(tx, world.id, [*ids, imported]).round(3).tolist()
            for name, ids in given.items()
        }
    assert weights["careful"][0] > 0.6 > weights["careless"][0] == weights["careless"][1]
    assert weights["careful"][-1] == weights["careless"][-1] == 1.0, "what was imported counts in full"


def test_the_figures_of_people_add_up(system: System) -> None:
    world = begin(system, images=60, overlap=3, known=10)
    for seed, (name, accuracy) in enumerate(PEOPLE.items()):
        answer_all(world, name, accuracy, seed)
    with system.ledger.transaction() as tx:
        found = measure(tx, world.id)
    by_name = {one.name: one for one in found.people}
    assert found.answers == sum(one.answers for one in found.people) == 210
    assert (found.overlapping, found.gold_images) == (180, 10)
    assert found.alpha is not None and 0 < found.alpha < 1
    good, poor = by_name["good"], by_name["poor"]
    assert good.gold.answers == 10 and (good.gold.share or 0) > (poor.gold.share or 1)
    assert (good.consensus.share or 0) > (poor.consensus.share or 1)
    assert good.kappa is not None and poor.kappa is not None and good.kappa > poor.kappa
    assert good.shared == 120 and good.median_s == pytest.approx(1.0)
    assert np.sum(good.confusion) == good.gold.answers + good.consensus.answers


def test_a_project_without_answers_has_no_figures(system: System) -> None:
    world = build(system)
    with system.ledger.transaction() as tx:
        found = measure(tx, world.id)
    assert (found.people, found.alpha, found.answers) == ([], None, 0)
