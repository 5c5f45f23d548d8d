"""A real data set to try Winnow with: scikit-learn's handwritten digits, where that is installed."""

from __future__ import annotations

import io
from importlib.util import find_spec

import numpy as np
from PIL import Image

from shared.db import events, labels, projects
from shared.domain import ProjectId, ProjectSettings, Split, UserId
from shared.errors import Conflict
from shared.intake.ingest import Destination, FileStatus, Intake
from shared.intake.multipart import Part
from shared.intake.receiving import Receiver
from shared.system import System

NAME = "Handwritten digits"
HOLDOUT = 500
"""With their labels known, so that the very first model is measured."""
SETTINGS = ProjectSettings(
    image_size=16, channels=1, initial=30, batch_size=20, label_budget=300, holdout_size=0, arch="cnn"
)


def available() -> bool:
    """Whether the digits are on this machine."""
    return find_spec("sklearn") is not None


def make(system: System, receiver: Receiver, user_id: UserId) -> ProjectId:
    """A project of its own, running: 1,297 digits to ask about and 500 to measure on. Takes some seconds.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; 8 x 8 pixels, values from 0 to 16
    spread over 0 to 255. Raises ``Conflict`` where it is there already.
    """
    files, digits = _digits()
    actor = f"user:{user_id}"
    with system.database.transaction() as tx:
        try:
            project = projects.create(tx, NAME, [str(digit) for digit in range(10)], SETTINGS)
        except Conflict:
            raise Conflict(f"there is a project “{NAME}” already") from None
        events.record(tx, project.id, actor, "project.created", {"name": NAME})
    chosen = np.random.default_rng(0).permutation(len(files))
    stored = []
    for split, rows in ((Split.HOLDOUT, chosen[:HOLDOUT]), (Split.POOL, chosen[HOLDOUT:])):
        intake = Intake()
        parts = [Part(filename=f"{row:04d}.png", data=files[row]) for row in rows]
        receiver.ingest.take(Destination(project_id=project.id, split=split), parts, intake)
        stored.append((split, rows, intake))
    with system.ledger.transaction() as tx:
        classes = projects.classes(tx, project.id)
        for split, rows, intake in stored:
            counts = {status.value: intake.count(status) for status in FileStatus}
            events.record(tx, project.id, actor, "images.uploaded", {"split": split.value, **counts})
            if split is Split.HOLDOUT:
                digests = [result.sha256 or "" for result in intake.results]
                known = {digest: classes[digits[row]].id for digest, row in zip(digests, rows, strict=True)}
                labels.import_known(tx, project.id, known)
        system.rounds.start(tx, project.id, actor)
    return project.id


def _digits() -> tuple[list[bytes], list[int]]:
    """PNG files, and which digit each shows."""
    from sklearn.datasets import load_digits

    found = load_digits()
    files = []
    for pixels in found.images:
        out = io.BytesIO()
        Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(out, "PNG")
        files.append(out.getvalue())
    return files, [int(digit) for digit in found.target]
