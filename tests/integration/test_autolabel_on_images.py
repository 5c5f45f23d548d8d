"""The real handlers: a model that was trained on digits labels those that it is sure of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import images, labels, projects, rounds
from shared.domain import Split
from shared.system import System
from tests.integration.test_workers_on_images import POOL, answer_until_finished, digits_project, start, workers
from tests.world import open_system


@pytest.fixture
def system(migrated_database_url: str, tmp_path: Path) -> Iterator[System]:
    with open_system(migrated_database_url, tmp_path / "objects") as opened:
        yield opened


def test_a_model_labels_the_digits_that_it_is_sure_of(system: System) -> None:
    project_id, truth = digits_project(
        system,
        initial=60,
        batch_size=10,
        max_rounds=2,
        strategy="margin",
        auto_label=True,
        auto_label_precision=0.8,
        recipe={"folds": 2},
    )
    start(system, project_id)
    with workers(system):
        answer_until_finished(system, project_id, truth)
    with system.ledger.transaction() as tx:
        rows = list(labels.export(tx, project_id))
        classes = [one.name for one in projects.classes(tx, project_id)]
        curve, found = rounds.curve(tx, project_id), rounds.evidence(tx, project_id)
        counts = labels.counts(tx, project_id)
        held_out = {image.id for image in images.page(tx, project_id, split=Split.HOLDOUT, limit=1000)}
    given = {row["id"]: row["label"] for row in rows if row["source"] == "model"}
    right = sum(classes[truth[image]] == label for image, label in given.items())
    assert len(given) == counts.model >= 10
    assert right / len(given) >= 0.8
    assert not held_out & set(given)
    assert len(found) == 2
    for one, point in zip(found, curve, strict=True):
        pool, above = one.found["pool"], point.metrics["calibration"]["above_at_random"]
        assert sum(pool["histogram"]) == pool["images"] <= POOL - point.labels
        assert one.found["threshold"]["at_random"] and above["n"][0] > 0
    assert found[0].found["pool"]["kappa"] is None, "there is no model before the first"
    assert 0 < found[1].found["pool"]["kappa"] <= 1
    last = found[-1].found["threshold"]
    assert last["value"] is not None
    assert all(row["label_confidence"] >= last["value"] - 1e-6 for row in rows if row["source"] == "model")
