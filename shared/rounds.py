"""The round state machine: the only place where a project moves on.

    start -> (embed) -> round 0: selecting -> labelling -> done            the cold start, nothing learnt yet
          -> round n: training -> scoring -> selecting -> labelling -> done

``advance`` looks at what is true and takes every step that is due; it may be called at any time, by anybody, twice:
it holds the project's lock and changes nothing when nothing is due. Workers report what they finished through
``embedded``, ``trained``, ``scored`` and ``selected`` within the transaction that ends their job, so that a result and
what follows from it are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared import arriving, autolabelling, batches, evidence, gold, mapping
from shared.arriving import Arrivals
from shared.autolabelling import Predictions
from shared.db import events, images, jobs, labels, projects, tasks
from shared.db import rounds as rows
from shared.db.images import ImageCounts
from shared.db.pool import Tx
from shared.domain import (
    Checkpoint,
    CheckpointId,
    Image,
    ImageId,
    Job,
    JobKind,
    NewJob,
    NewTask,
    Project,
    ProjectId,
    ProjectState,
    Round,
    RoundMode,
    RoundState,
    ShardId,
    ShardState,
    TaskKind,
)
from shared.errors import Conflict, Invalid
from shared.jobs import Ledger
from shared.selection.summary import PoolSummary
from shared.stopping import first_met
from shared.telemetry import logger
from shared.webhooks import EventType, emit

log = logger(__name__)
DEFAULT_HOLDOUT = 200
"""Enough for an interval of 4 points either way at 90% accuracy; more must be asked for, since labels cost money."""


REST_AT_ONCE = 10_000
"""Tasks that are opened at once where people label all that is left."""
MOST_UNCERTAIN_FIRST = "least_confidence"


@dataclass(frozen=True, kw_only=True)
class Pick:
    """An image that a strategy wants asked, with the strategy's score for it."""

    image_id: ImageId
    score: float


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What a training leaves behind: where it lies, its digest, and how good it is on the holdout."""

    key: str
    sha256: str
    data_version: str
    labels: int
    """How many labelled pool images it was trained on."""
    labels_at: datetime
    """When these were read."""
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the scoring of a shard found of the images that no person has labelled."""

    summary: PoolSummary
    predictions: Predictions
    arrivals: Arrivals | None = None
    """Of a shard that came while a model was there, in a project with a stream."""


class Rounds:
    """Moves projects on. Holds no state of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # What people ask for

    def start(self, tx: Tx, project_id: ProjectId, actor: str) -> Project:
        """Start, or go on after a pause or after a stopping rule was met.

        The first start draws the holdout and asks for its labels. Raises ``Invalid`` for a project without images.
        """
        project = projects.lock(tx, project_id)
        if project.state is ProjectState.RUNNING:
            return project
        counts = images.counts(tx, project_id)
        if counts.total == counts.holdout:
            raise Invalid("upload images to the pool before starting the project")
        if project.state is ProjectState.DRAFT:
            self._draw_holdout(tx, project, counts)
        if project.state is ProjectState.FINISHED:
            projects.set_labelling_rest(tx, project_id, False)
        projects.set_state(tx, project_id, ProjectState.RUNNING)
        events.record(tx, project_id, actor, "project.started")
        self.advance(tx, project_id)
        return projects.get(tx, project_id)

    def label_rest(self, tx: Tx, project_id: ProjectId, actor: str) -> Project:
        """Ask people about everything in the pool that has no label, the most uncertain first; train no more models.

        No stopping rule ends it before the pool is exhausted; starting the finished project again does. Raises
        ``Conflict`` for a project that was never started, or where nothing is left to label.
        """
        project = projects.lock(tx, project_id)
        current = rows.latest(tx, project_id)
        if current is None:
            raise Conflict("start the project first: its images are not prepared yet")
        if project.labelling_rest and project.state is ProjectState.RUNNING:
            return project
        if not images.count_candidates(tx, project_id, 1) and not tasks.any_live(tx, project_id):
            raise Conflict("nothing is left to label: every image of the pool has a label or was skipped")
        projects.set_labelling_rest(tx, project_id, True)
        projects.set_state(tx, project_id, ProjectState.RUNNING)
        events.record(tx, project_id, actor, "project.labelling_rest")
        if current.state in (RoundState.LABELLING, RoundState.DONE):
            again = rows.select_again(tx, current.id)
            self._ask_select(tx, projects.get(tx, project_id), current, attempt=again)
        self.advance(tx, project_id)
        return projects.get(tx, project_id)

    def pause(self, tx: Tx, project_id: ProjectId, actor: str) -> Project:
        """Hand out no tasks and start no jobs. Answers to tasks already held are still taken."""
        project = projects.lock(tx, project_id)
        if project.state is ProjectState.PAUSED:
            return project
        if project.state is not ProjectState.RUNNING:
            raise Conflict(f"the project is {project.state.value}: only a running project can be paused")
        projects.set_state(tx, project_id, ProjectState.PAUSED)
        events.record(tx, project_id, actor, "project.paused")
        return projects.get(tx, project_id)

    def ingested(self, tx: Tx, project_id: ProjectId) -> None:
        """Images came in: seal those that fill a shard, so that they are embedded while others still arrive."""
        size = projects.get(tx, project_id).settings.shard_size
        if images.count_unsealed(tx, project_id, size) >= size:
            self._seal(tx, projects.lock(tx, project_id), tail=False)

    def hurry(self, tx: Tx, image: Image) -> None:
        """Somebody waits for this image's prediction: don't leave it unsealed until the next round begins."""
        if image.shard_id is None:
            self._seal(tx, projects.lock(tx, image.project_id), tail=True)

    def nudge(self, project_id: ProjectId) -> None:
        """Move on if an answer just given makes a step due. Cheap when it doesn't."""
        with self._ledger.transaction() as tx:
            project = projects.get(tx, project_id)
            current = rows.latest(tx, project_id)
            if current and current.state is RoundState.LABELLING and self._enough(tx, project, current):
                self.advance(tx, project_id)

    # What workers report, in the transaction that ends their job

    def embedded(self, tx: Tx, job: Job, shard_id: ShardId, unreadable: Mapping[ImageId, str]) -> None:
        """A shard's pack is in the store. If a model is already there, the shard is scored too."""
        images.mark_embedded(tx, shard_id, unreadable)
        current = rows.latest(tx, job.project_id)
        if current and current.checkpoint_id is not None:
            self._ask_score(tx, current, current.checkpoint_id, shard_id, arrived=True)
        self.advance(tx, job.project_id)

    def trained(self, tx: Tx, job: Job, model: TrainedModel) -> Checkpoint | None:
        """A model is in the store: score every embedded shard with it. None if the round has moved on without it."""
        project = projects.lock(tx, job.project_id)
        current = rows.latest(tx, job.project_id)
        if current is None or current.id != job.round_id or current.state is not RoundState.TRAINING:
            return None
        checkpoint = rows.add_checkpoint(
            tx,
            project.id,
            current.id,
            key=model.key,
            sha256=model.sha256,
            arch=project.settings.arch,
            data_version=model.data_version,
            metrics=model.metrics,
        )
        rows.set_labels(tx, current.id, model.labels, model.labels_at)
        self._enter(tx, current, RoundState.SCORING)
        for shard in images.shards(tx, project.id, ShardState.EMBEDDED):
            self._ask_score(tx, current, checkpoint.id, shard.id)
        self.advance(tx, project.id)
        return checkpoint

    def scored(self, tx: Tx, job: Job, found: Scored | None = None) -> None:
        """A shard's probabilities are in the store, and ``found`` of its images: the model's labels are renewed."""
        if found is not None:
            project = projects.lock(tx, job.project_id)
            jobs.set_result(tx, job, {"pool": found.summary.to_dict()})
            current = rows.latest(tx, job.project_id)
            if current and current.checkpoint_id == job.payload["checkpoint_id"] and current.checkpoint_id is not None:
                project = autolabelling.judge(tx, project)
                autolabelling.apply(tx, project, current.checkpoint_id, found.predictions)
                if found.arrivals is not None:
                    arriving.take_in(tx, project, current.id, found.arrivals)
        self.advance(tx, job.project_id)

    def audited(self, project_id: ProjectId) -> None:
        """A person was asked about a label of the model and has answered."""
        with self._ledger.transaction() as tx:
            autolabelling.judge(tx, projects.lock(tx, project_id))

    def selected(self, tx: Tx, job: Job, strategy: str, picks: Sequence[Pick]) -> None:
        """Open tasks for the picks, in their order, in place of the open ones that nobody holds."""
        project = projects.lock(tx, job.project_id)
        if "batch_id" in job.payload:
            batches.filled(tx, job, _with_random(tx, project, strategy, picks, count=0, seed=0))
            return
        current = rows.latest(tx, job.project_id)
        if current is None or current.id != job.round_id or current.state is not RoundState.SELECTING:
            return
        replaced = tasks.supersede_open(tx, project.id)
        given_up = batches.give_up_open(tx, project.id)
        seed = int(job.payload["seed"])
        new = _with_random(tx, project, strategy, picks, count=int(job.payload.get("random", 0)), seed=seed)
        new = gold.mix(tx, project, new, seed=seed)
        opened = tasks.add(tx, project.id, current.id, new, asked_of=project.settings.asked_of)
        batches.top_up(tx, project, given_up)
        log.info("round.selected", project_id=project.id, round=current.number, opened=opened, replaced=replaced)
        self._enter(tx, current, RoundState.LABELLING)
        self.advance(tx, project.id)

    # The machine

    def advance(self, tx: Tx, project_id: ProjectId) -> None:
        """Take every step that is due."""
        while self._step(tx, projects.lock(tx, project_id)):
            pass

    def _step(self, tx: Tx, project: Project) -> bool:
        """Take one step; False if none is due."""
        if project.state is not ProjectState.RUNNING:
            return False
        current = rows.latest(tx, project.id)
        if current is None:
            return self._cold_start(tx, project)
        if project.settings.stream_rate and current.checkpoint_id is not None:
            self._seal(tx, project, tail=True)  # what arrived since the last step is not left waiting for a round
        if current.state is RoundState.DONE:
            return self._next_round(tx, project, current)
        if current.state is RoundState.SCORING:
            return self._after_scoring(tx, project, current)
        if current.state is RoundState.LABELLING and self._enough(tx, project, current):
            return self._after_labelling(tx, project, current)
        return False  # training and selecting end when their job does

    def _cold_start(self, tx: Tx, project: Project) -> bool:
        """Once every image is embedded: ask for the first labels, or train at once if enough were imported."""
        self._seal(tx, project, tail=True)
        if images.shards(tx, project.id, ShardState.SEALED):
            return False
        holdout = [NewTask(image_id=i, kind=TaskKind.HOLDOUT) for i in labels.unlabelled_holdout(tx, project.id)]
        tasks.add(tx, project.id, None, holdout, asked_of=project.settings.asked_of)
        known = labels.counts(tx, project.id).trainable
        if known >= project.settings.initial:
            self._begin_training(tx, project, 1)
            return True
        first = rows.begin(tx, project.id, 0, RoundState.SELECTING, known)
        self._ask_select(tx, project, first, attempt=0)
        return True

    def _next_round(self, tx: Tx, project: Project, last: Round) -> bool:
        self._seal(tx, project, tail=True)
        self._begin_training(tx, project, last.number + 1)
        return True

    def _begin_training(self, tx: Tx, project: Project, number: int) -> None:
        known = labels.counts(tx, project.id).trainable
        current = rows.begin(tx, project.id, number, RoundState.TRAINING, known)
        log.info("round.advanced", project_id=project.id, round=number, state="training", labels=known)
        self._ledger.enqueue(
            tx,
            NewJob(kind=JobKind.TRAIN, project_id=project.id, round_id=current.id, unique_key=f"train:{current.id}"),
        )

    def _after_scoring(self, tx: Tx, project: Project, current: Round) -> bool:
        if jobs.unfinished(tx, current.id, JobKind.SCORE) or current.checkpoint_id is None:
            return False
        rows.mark_scored(tx, current.checkpoint_id)
        if project.settings.map_each_round:
            self._ledger.enqueue(tx, mapping.wanted(tx, project, current.checkpoint_id))
        audits = autolabelling.owed(tx, project)
        met = first_met(evidence.gather(tx, project, current, audits_owed=audits))
        if met is not None and not project.labelling_rest:
            self._finish(tx, project, current, met.text)
            return False
        if audits:
            autolabelling.ask(tx, project, current, audits, spread=self._wanted(tx, project, current))
        self._enter(tx, current, RoundState.SELECTING)
        self._ask_select(tx, project, current, attempt=0)
        return True

    def _enough(self, tx: Tx, project: Project, current: Round) -> bool:
        """Whether people have answered what this round waits for."""
        if not tasks.any_live(tx, project.id):
            return True
        if project.settings.mode is RoundMode.STRICT or project.labelling_rest:
            return False
        wanted = project.settings.initial if current.number == 0 else project.settings.batch_size
        return labels.count_new(tx, project.id, current.labels_at, wanted) >= wanted

    def _after_labelling(self, tx: Tx, project: Project, current: Round) -> bool:
        """On to the next round if there is anything to learn; else ask for more, or stop if there is nothing more."""
        if not project.labelling_rest and labels.counts(tx, project.id).trainable > current.labels:
            self._enter(tx, current, RoundState.DONE)
            return True
        self._seal(tx, project, tail=True)
        waiting = images.shards(tx, project.id, ShardState.SEALED)
        if waiting or jobs.unfinished(tx, current.id, JobKind.SCORE):
            return False
        if images.count_candidates(tx, project.id, 1):
            self._ask_select(tx, project, current, attempt=rows.select_again(tx, current.id))
            return True
        if tasks.any_live_in_batches(tx, project.id):
            return False  # what vendors answer may yet be learnt from
        self._finish(tx, project, current, "pool exhausted: every image is labelled or was skipped")
        return False

    def _finish(self, tx: Tx, project: Project, current: Round, reason: str) -> None:
        self._enter(tx, current, RoundState.DONE)
        tasks.supersede_open(tx, project.id)
        projects.set_state(tx, project.id, ProjectState.FINISHED, reason)
        events.record(tx, project.id, "system", "project.finished", {"reason": reason, "round": current.number})
        emit(tx, project.id, EventType.PROJECT_STOPPED, {"reason": reason, "round": current.number})
        log.info("project.finished", project_id=project.id, reason=reason)

    def _enter(self, tx: Tx, current: Round, state: RoundState) -> None:
        rows.set_state(tx, current.id, state)
        log.info("round.advanced", project_id=current.project_id, round=current.number, state=state.value)
        if state is RoundState.DONE:
            data = {"round": current.number, "labels": current.labels, "checkpoint_id": current.checkpoint_id}
            emit(tx, current.project_id, EventType.ROUND_COMPLETED, data)

    def _draw_holdout(self, tx: Tx, project: Project, counts: ImageCounts) -> None:
        wanted = project.settings.holdout_size
        if wanted is None:
            wanted = 0 if counts.holdout else min(counts.total // 10, DEFAULT_HOLDOUT)
        missing = wanted - counts.holdout
        if missing >= counts.total - counts.holdout:
            raise Invalid(
                f"a holdout of {wanted} leaves nothing of {counts.total} images to learn from: "
                "make it smaller or upload more"
            )
        if missing > 0:
            images.draw_holdout(tx, project.id, missing, project.settings.seed)

    # What is asked of workers

    def _seal(self, tx: Tx, project: Project, *, tail: bool) -> None:
        for shard in images.seal(tx, project.id, project.settings.shard_size, tail=tail):
            self._ledger.enqueue(
                tx,
                NewJob(
                    kind=JobKind.EMBED,
                    project_id=project.id,
                    unique_key=f"embed:{shard.id}",
                    payload={"shard_id": shard.id},
                ),
            )

    def _ask_score(
        self, tx: Tx, current: Round, checkpoint_id: CheckpointId, shard_id: ShardId, *, arrived: bool = False
    ) -> None:
        self._ledger.enqueue(
            tx,
            NewJob(
                kind=JobKind.SCORE,
                project_id=current.project_id,
                round_id=current.id,
                unique_key=f"score:{checkpoint_id}:{shard_id}",
                payload={"checkpoint_id": checkpoint_id, "shard_id": shard_id, "arrived": arrived},
            ),
        )

    def _ask_select(self, tx: Tx, project: Project, current: Round, *, attempt: int) -> None:
        count = REST_AT_ONCE if project.labelling_rest else self._wanted(tx, project, current)
        at_random = autolabelling.random_share(tx, project, count)
        self._ledger.enqueue(
            tx,
            NewJob(
                kind=JobKind.SELECT,
                project_id=project.id,
                round_id=current.id,
                unique_key=f"select:{current.id}:{attempt}",
                payload={
                    "checkpoint_id": current.checkpoint_id,
                    "count": count - at_random,
                    "seed": project.settings.seed * 100_003 + current.number * 101 + attempt,
                    **({"random": at_random} if at_random else {}),
                    **({"strategy": MOST_UNCERTAIN_FIRST} if project.labelling_rest else {}),
                },
            ),
        )

    def _wanted(self, tx: Tx, project: Project, current: Round) -> int:
        """How many tasks a selection opens: K, more in rolling mode, never more than the budget allows."""
        settings = project.settings
        size = settings.batch_size
        if current.number == 0:
            size = max(settings.initial - current.labels, 1)
        if settings.mode is RoundMode.ROLLING:
            size = round(size * settings.queue_factor)
        if settings.label_budget is not None:
            counts = labels.counts(tx, project.id)
            owed = tasks.count_kept(tx, project.id)
            size = min(size, max((settings.label_budget - counts.answers - owed) // settings.overlap, 1))
        return size


def _with_random(
    tx: Tx, project: Project, strategy: str, picks: Sequence[Pick], *, count: int, seed: int
) -> list[NewTask]:
    """Queries for the picks, and for ``count`` random images spread evenly between them.

    These come first where both name an image, so that they are a random sample of all there is.
    """
    drawn = tasks.draw_random(tx, project.id, count=count, seed=seed) if count else []
    step = (len(picks) + 1) / max(len(drawn), 1)
    at_random = [NewTask(image_id=one, priority=(n + 0.5) * step) for n, one in enumerate(drawn)]
    taken = set(drawn)
    return at_random + [
        NewTask(image_id=pick.image_id, priority=float(rank), strategy=strategy, score=pick.score)
        for rank, pick in enumerate(picks, start=1)
        if pick.image_id not in taken
    ]
