"""Projects whose labels are partly wrong, with a model that has its doubts about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.datasets import load_digits

from shared import arrays
from shared.db import reviews
from shared.domain import Image, ImageId
from shared.learning.opinions import opinions
from shared.store.base import OPINIONS
from shared.system import System
from tests.browser.gallery import digits, hang, open_for_labelling, think
from tests.world import World

DIGITS = [str(n) for n in range(10)]
MIRRORED = {"3": 8, "8": 3, "4": 9, "9": 4, "1": 7, "7": 1}


def truth_of(image: Image) -> int:
    """Of a digit that ``gallery.digits`` has drawn: its place is in its file's name."""
    return int(load_digits().target[int(image.filename.partition(".")[0])])


def reviewable(
    system: System, count: int = 240, *, wrong: int = 12, notes: bool = True, names: Sequence[str] = DIGITS
) -> World:
    """Digits that ben has labelled, ``wrong`` of them wrongly, and a model that says what they are but for a few.

    Without ``notes`` the model is one of an older version. ``names``: those of the classes, ten or more.
    """
    world = open_for_labelling(hang(system, digits(count), names, name="Digits", initial=20, batch_size=50))

    def guess(image: Image) -> list[float]:
        return [*_guess(image), *[0.0] * (len(names) - 10)]

    rng = np.random.default_rng(5)
    mislabelled = {world.images[int(at)].id for at in rng.permutation(count)[:wrong]}
    given = {image.id: _given(image, image.id in mislabelled) for image in world.images}
    for column, one in enumerate(world.classes):
        chosen = [ImageId(image) for image, label in given.items() if label == column]
        system.curation.relabel(world.id, world.user("ben").id, chosen, one.id)
    world.system.rounds.nudge(world.id)
    think(world, guess)
    if notes:
        note(world, given, guess)
    return world


def note(world: World, given: dict[ImageId, int], guess: Callable[[Image], Sequence[float]]) -> None:
    """Store with the newest model what it says of these labels, none of which it was told."""
    with world.system.database.transaction() as tx:
        key = reviews.newest_model(tx, world.id)
    assert key is not None
    said = np.asarray([guess(image) for image in world.images], np.float32)
    labels = np.asarray([given[image.id] for image in world.images])
    ids = np.asarray([image.id for image in world.images])
    found = opinions(ids, said, labels, np.ones(len(ids), np.bool_))
    arrays.save(world.system.store, key + OPINIONS, found)


def _given(image: Image, wrongly: bool) -> int:
    truth = truth_of(image)
    return MIRRORED.get(str(truth), (truth + 1) % 10) if wrongly else truth


def _guess(image: Image) -> list[float]:
    """Mostly the truth; every fifteenth image is taken for the next digit, not very surely."""
    truth, place = truth_of(image), int(image.filename.partition(".")[0])
    said = (truth + 1) % 10 if place % 15 == 7 else truth
    sure = 0.55 + 0.4 * ((place * 37) % 100) / 100 if said == truth else 0.5
    return [sure if n == said else (1 - sure) / 9 for n in range(10)]
