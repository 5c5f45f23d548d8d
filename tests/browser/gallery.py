"""Projects with pictures that a person can recognise, people who may label them, and the service that shows them."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image as Picture
from sklearn.datasets import load_digits, load_sample_images

from services.ui.passwords import hash_password
from shared import arrays
from shared.db import images, projects, rounds, users
from shared.domain import Image, NewImage, ProjectSettings, RoundMode, Split, User
from shared.imaging import inspect
from shared.store.base import image_key, scores_prefix
from shared.system import System
from tests.waiting import wait_for
from tests.world import World

PASSWORD = "correct horse battery"


@cache
def _password_hash() -> str:
    return hash_password(PASSWORD)


def add_user(system: System, username: str, display_name: str = "") -> User:
    with system.ledger.transaction() as tx:
        return users.add(tx, username, display_name or username, _password_hash(), admin=True)


def photos(count: int) -> list[bytes]:
    """JPEGs, all different: parts of a photo of a pagoda and of one of a dahlia, in turn."""
    random = np.random.default_rng(7)
    whole = [Picture.fromarray(photo) for photo in load_sample_images().images]
    files = []
    for number in range(count):
        photo = whole[number % 2]
        width = int(random.integers(500, 620))
        height = width * 2 // 3
        left, top = int(random.integers(0, 640 - width + 1)), int(random.integers(0, 427 - height + 1))
        part = photo.crop((left, top, left + width, top + height)).resize((1200, 800), Picture.Resampling.LANCZOS)
        out = io.BytesIO()
        part.save(out, "JPEG", quality=88)
        files.append(out.getvalue())
    return files


def digits(count: int) -> list[bytes]:
    """PNGs of 8 x 8 pixels, all different."""
    files = []
    for pixels in load_digits().images[:count]:
        out = io.BytesIO()
        Picture.fromarray((255 - pixels * (255 / 16)).astype(np.uint8)).save(out, "PNG")
        files.append(out.getvalue())
    return files


def hang(
    system: System,
    files: Sequence[bytes],
    classes: Sequence[str],
    *,
    name: str = "garden",
    holdout: int = 0,
    stored: bool = True,
    **settings: Any,
) -> World:
    """A draft project with these files as its images, the last ``holdout`` of them to measure on.

    ``stored`` False where nobody will look at them.
    """
    new = []
    for number, data in enumerate(files):
        info, digest = inspect(data), hashlib.sha256(data).hexdigest()
        new.append(
            NewImage(
                sha256=digest,
                filename=f"{number}.{info.format.lower()}",
                width=info.width,
                height=info.height,
                bytes=len(data),
                format=info.format,
                browser_safe=info.browser_safe,
                split=Split.HOLDOUT if number >= len(files) - holdout else Split.POOL,
            )
        )
    with system.ledger.transaction() as tx:
        project = projects.create(
            tx, name, classes, ProjectSettings(**{"mode": RoundMode.STRICT, "holdout_size": 0, **settings})
        )
        rows = images.add(tx, project.id, new)
        named = projects.classes(tx, project.id)
    for data, image in zip(files if stored else [], new, strict=stored):
        system.store.put_bytes(image_key(project.id, image.sha256), data)
    return World(system=system, project=project, classes=named, images=rows)


def open_for_labelling(world: World) -> World:
    """Start the project and open its first tasks, ``initial`` of them and the holdout's."""
    world.start()
    world.do_embed()
    world.do_select()
    return world


def think(world: World, guesses: Callable[[Image], Sequence[float]]) -> None:
    """Train a model and have it look at the whole pool: ``guesses`` gives an image's probabilities, by class."""
    system = world.system
    world.do_train(n=50, accuracy=0.9, accuracy_low=0.8, accuracy_high=0.96, macro_f1=0.9)
    with system.ledger.transaction() as tx:
        (checkpoint,) = [point.checkpoint_id for point in rounds.curve(tx, world.id)][-1:]
        shards = {one.id: images.in_shard(tx, one.id) for one in images.shards(tx, world.id)}
    for shard, rows in shards.items():
        table = np.asarray([guesses(image) for image in rows], np.float32)
        arrays.save(system.store, scores_prefix(world.id, checkpoint, shard) + "probabilities.npy", table)
    for _ in shards:
        world.do_score()


@contextmanager
def serve(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The app behind a real socket on loopback, port 0: one that is free; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, "the service to listen")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        if hasattr(app.state, "parts"):  # the ui, whose streams would go on; the api has none
            app.state.parts.telling.interrupt()
        server.should_exit = True
        thread.join(timeout=10)
