"""A small project in a real database, for tests of what happens to it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from shared.autolabelling import Predictions
from shared.db import images, jobs, labels, projects, tasks, users
from shared.domain import (
    Class,
    Image,
    Job,
    JobKind,
    JobState,
    NewImage,
    Project,
    ProjectId,
    ProjectSettings,
    Split,
    User,
)
from shared.errors import NotFound
from shared.rounds import Pick, Scored, TrainedModel
from shared.selection.summary import map_summary
from shared.settings import BusSettings, DatabaseSettings, StoreSettings
from shared.system import System, assemble


@contextmanager
def open_system(database_url: str, folder: Path, pool_size: int = 10) -> Iterator[System]:
    """The local system: Postgres for database and bus, files for the store."""
    system = assemble(
        DatabaseSettings(url=SecretStr(database_url), pool_size=pool_size),
        BusSettings(kind="local"),
        StoreSettings(kind="disk", path=folder),
    )
    try:
        yield system
    finally:
        system.close()


def new_images(count: int, split: Split = Split.POOL) -> list[NewImage]:
    """Rows of images that nobody will read."""
    made = []
    for _ in range(count):
        name = uuid.uuid4().hex
        digest = hashlib.sha256(name.encode()).hexdigest()
        made.append(
            NewImage(sha256=digest, filename=f"{name}.png", width=8, height=8, bytes=99, format="PNG", split=split)
        )
    return made


@dataclass
class World:
    """A project, and the hands that play its workers: each ``do_`` ends the next job of a kind as a worker would."""

    system: System
    project: Project
    classes: list[Class]
    images: list[Image]

    @property
    def id(self) -> ProjectId:
        return self.project.id

    def user(self, name: str = "ann") -> User:
        with self.system.ledger.transaction() as tx:
            known = users.credentials(tx, name)
            return known.user if known else users.add(tx, name, name, "not a hash", admin=True)

    def start(self) -> None:
        with self.system.ledger.transaction() as tx:
            self.system.rounds.start(tx, self.id, "test")

    def next_job(self, kind: JobKind) -> Job:
        with self.system.ledger.transaction() as tx:
            queued = [j for j in jobs.newest(tx, project_id=self.id, state=JobState.QUEUED) if j.kind is kind]
        if not queued:
            raise NotFound(f"no {kind} job is queued")
        claimed = self.system.ledger.claim(queued[-1].id, worker="test", lease_s=60)
        assert claimed is not None
        return claimed

    def queued(self) -> list[JobKind]:
        with self.system.ledger.transaction() as tx:
            return sorted(j.kind for j in jobs.newest(tx, project_id=self.id, state=JobState.QUEUED))

    def do_embed(self) -> None:
        job = self.next_job(JobKind.EMBED)
        with self.system.ledger.transaction() as tx:
            self.system.ledger.finish(tx, job)
            self.system.rounds.embedded(tx, job, job.payload["shard_id"], {})

    def do_select(self) -> int:
        """Picks the first candidates in order of id; returns how many were wanted."""
        job = self.next_job(JobKind.SELECT)
        with self.system.ledger.transaction() as tx:
            pool = [i for s in images.shards(tx, self.id) for i, _ in images.candidates(tx, s.id)]
            picks = [Pick(image_id=i, score=0.5) for i in sorted(pool)[: job.payload["count"]]]
            self.system.ledger.finish(tx, job)
            self.system.rounds.selected(tx, job, "random", picks)
        return int(job.payload["count"])

    def do_train(self, **metrics: Any) -> None:
        job = self.next_job(JobKind.TRAIN)
        with self.system.ledger.transaction() as tx:
            model = TrainedModel(
                key=f"projects/{self.id}/checkpoints/{job.id}-{job.fence}/",
                sha256="ab" * 32,
                data_version="v",
                labels=labels.counts(tx, self.id).trainable,
                labels_at=labels.read_at(tx),
                metrics=metrics,
            )
            self.system.ledger.finish(tx, job)
            self.system.rounds.trained(tx, job, model)

    def do_score(self, confidence: float = 0.5, column: int = 0, previous: int | None = None) -> None:
        """The model says of every image that no person has labelled that it is of the class ``column``, so surely;
        the model before had said ``previous``."""
        job = self.next_job(JobKind.SCORE)
        with self.system.ledger.transaction() as tx:
            shard_id = job.payload["shard_id"]
            ids = np.array([image_id for image_id, _ in images.unanswered(tx, shard_id)], np.int64)
            said = np.full((len(ids), len(self.classes)), 1 - confidence, np.float32)
            said[:, column] = confidence
            before = None if previous is None else np.eye(len(self.classes), dtype=np.float32)[[previous] * len(ids)]
            below = projects.get(tx, self.id).settings.unsure_below
            predictions = Predictions(
                shard_id=shard_id,
                ids=ids,
                columns=np.full(len(ids), column),
                confidences=said[:, column],
            )
            found = Scored(summary=map_summary(said, before, unsure_below=below), predictions=predictions)
            self.system.ledger.finish(tx, job)
            self.system.rounds.scored(tx, job, found)

    def answer(self, count: int, user: User | None = None) -> int:
        """Lease and answer up to ``count`` tasks; returns how many there were."""
        annotator = user or self.user()
        answered = 0
        while answered < count:
            leased = self.system.labelling.lease(self.id, annotator.id, count=min(10, count - answered))
            if not leased:
                return answered
            for task in leased:
                lease = tasks.Lease(task_id=task.id, fence=task.fence)
                key = uuid.uuid4().hex
                self.system.labelling.submit(self.id, annotator.id, lease, self.classes[0].id, key=key)
                answered += 1
        return answered


def build(system: System, *, pool: int = 20, holdout: int = 0, name: str = "letters", **settings: Any) -> World:
    """A draft project with two classes and images; no holdout is drawn unless ``holdout_size`` says so."""
    settings.setdefault("holdout_size", 0)
    with system.ledger.transaction() as tx:
        project = projects.create(tx, name, ["a", "b"], ProjectSettings(**settings))
        rows = images.add(tx, project.id, [*new_images(pool), *new_images(holdout, Split.HOLDOUT)])
        classes = projects.classes(tx, project.id)
    return World(system=system, project=project, classes=classes, images=rows)
