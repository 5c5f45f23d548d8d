"""Train: gather what is labelled, train in other processes, store the checkpoint, and publish it."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from services.trainer.gather import Gatherer, Material
from services.trainer.launch import Alone, Together, Training, is_shared
from services.trainer.losses import Losses
from services.trainer.order import JOURNAL, Failed, Order, Progress, Trained
from shared.db.pool import Tx
from shared.domain import Job, JobKind
from shared.errors import Permanent, Retryable, WinnowError
from shared.jobs import Ledger
from shared.learning.checkpoints import data_version
from shared.learning.config import LearnConfig
from shared.learning.model import usable_gpus
from shared.metrics import TRAINING_ACCURACY, TRAINING_EPOCH, TRAINING_LOSS, TRAININGS_DIVERGED
from shared.rounds import Rounds, TrainedModel
from shared.settings import TrainerSettings
from shared.store.base import OPINIONS, Store, checkpoint_prefix, training_prefix
from shared.telemetry import logger
from shared.worker import JobContext, Publish, Stopped

log = logger(__name__)
_POLL_S = 0.1
_FIRST_MICRO_BATCH = 16
"""Images at once in each process, after several together have died of what may have been a lack of memory."""


class _Died(Retryable):
    """The processes ended without a word."""


class TrainHandler:
    """No payload: a training takes whatever is labelled when it starts."""

    kind = JobKind.TRAIN
    long = True

    def __init__(
        self,
        ledger: Ledger,
        rounds: Rounds,
        store: Store,
        gatherer: Gatherer,
        settings: TrainerSettings,
        device: str | None,
    ) -> None:
        self._ledger = ledger
        self._rounds = rounds
        self._store = store
        self._gatherer = gatherer
        self._settings = settings
        self._device = device

    def run(self, job: Job, context: JobContext) -> Publish:
        material = self._gatherer.material(job)
        pool, classes = material.pool, material.classes
        version = data_version([e.image_id for e in pool], [classes[e.position].id for e in pool])
        key = checkpoint_prefix(job.project_id, f"{job.id}-{job.fence}")
        with TemporaryDirectory(prefix="winnow-train-") as name:
            folder = Path(name)
            self._gatherer.gather(job, material, folder, gpu=self._device != "cpu" and bool(usable_gpus()))
            self._fetch_journal(job, folder)
            context.check()
            order = Order(
                folder=folder,
                config=LearnConfig.from_settings(material.settings).to_dict(),
                classes=[(c.id, c.name) for c in classes],
                data_version=version,
                backbone_id=self._gatherer.backbone_id(job.project_id, material),
                device=self._device,
                journal_s=self._settings.journal_s,
            )
            trained = self._train(job, order, material, context)
            self._store.put_bytes(key + "model.safetensors", (folder / "model.safetensors").read_bytes())
            self._store.put_bytes(key + OPINIONS, (folder / OPINIONS).read_bytes())
            manifest = (folder / "checkpoint.json").read_bytes()
            self._store.put_bytes(key + "checkpoint.json", manifest, "application/json")
        model = TrainedModel(
            key=key,
            sha256=trained.sha256,
            data_version=version,
            labels=len(pool),
            labels_at=material.labels_at,
            metrics=trained.metrics,
        )

        def publish(tx: Tx) -> None:
            self._rounds.trained(tx, job, model)
            tx.after_commit(lambda: self._forget(job))

        return publish

    def _forget(self, job: Job) -> None:
        """What lets a training go on after a crash is of no more use. What can't be deleted now retention deletes."""
        try:
            self._gatherer.forget(job)
        except WinnowError as error:
            log.warning("training.notes_left", error=str(error))

    def _fetch_journal(self, job: Job, folder: Path) -> None:
        """What an earlier attempt wrote down of its training."""
        (folder / JOURNAL).mkdir()
        if job.fence == 1:
            return
        prefix = training_prefix(job.project_id, job.id)
        for key in list(self._store.list(prefix)):
            if key.endswith(".pt"):
                (folder / JOURNAL / key.removeprefix(prefix)).write_bytes(self._store.get(key))
                log.info("training.resumed", run=key.removeprefix(prefix).removesuffix(".pt"))

    def _train(self, job: Job, order: Order, material: Material, context: JobContext) -> Trained:
        """Train with all the processes there are; should they die together, again with smaller pieces, then alone."""
        if material.settings.on_features or not is_shared(self._settings, self._device, len(material.pool)):
            return self._watch(job, order, Alone(order), context)
        for micro_batch in (None, _FIRST_MICRO_BATCH):
            smaller = replace(order, micro_batch=micro_batch)
            try:
                return self._watch(job, smaller, Together(smaller, self._settings), context)
            except _Died as error:
                log.warning("training.processes_died", error=str(error), micro_batch=micro_batch)
        return self._watch(job, order, Alone(order), context)

    def _watch(self, job: Job, order: Order, training: Training, context: JobContext) -> Trained:
        """Follow a training to its end, passing its progress on; end it at once when the job must stop."""
        started = time.monotonic()
        begun_at: float | None = None
        over = False
        losses = Losses()
        with _Uploads(self._store, training_prefix(job.project_id, job.id), order.folder / JOURNAL) as uploads:
            try:
                while True:
                    if context.should_stop:
                        raise Stopped("the training was interrupted")
                    if not training.pipe.poll(_POLL_S):
                        if training.ended and not training.pipe.poll():
                            raise _died(training)
                        continue
                    try:
                        message = training.pipe.recv()
                    except EOFError:
                        raise _died(training) from None
                    over = not isinstance(message, Progress)
                    if isinstance(message, Trained):
                        return message
                    if isinstance(message, Failed):
                        TRAININGS_DIVERGED.inc(int(message.diverged))
                        raise (Permanent if message.permanent else Retryable)(message.message)
                    if begun_at is None:  # a training that goes on after a crash begins in the middle
                        begun_at = message.report.done
                    _pass_on(message, job, context, started, begun_at, losses)
                    uploads.look()
            finally:
                training.end(over=over)


def _died(training: Training) -> _Died:
    return _Died(f"the training process died with exit code {training.exit_code()} (-9 is mostly a lack of memory)")


class _Uploads:
    """Copies the journal to the store as it changes, beside the training and one file at a time."""

    def __init__(self, store: Store, prefix: str, folder: Path) -> None:
        self._store = store
        self._prefix = prefix
        self._folder = folder
        self._seen: dict[Path, int] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> _Uploads:
        self._seen = {path: path.stat().st_mtime_ns for path in self._folder.glob("*.pt")}
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    def look(self) -> None:
        """Begin to copy what is new, unless the last copy is still under way."""
        if self._under_way is not None and not self._under_way.done():
            return
        for path in sorted(self._folder.glob("*.pt")):
            changed = path.stat().st_mtime_ns
            if self._seen.get(path) != changed:
                self._seen[path] = changed
                self._under_way = self._thread.submit(self._copy, path)
                return

    def _copy(self, path: Path) -> None:
        try:
            self._store.put_bytes(self._prefix + path.name, path.read_bytes())
        except (WinnowError, OSError) as error:  # the training goes on; a crash would cost more of it, no more
            log.warning("training.journal_not_kept", error=str(error))


def _pass_on(message: Progress, job: Job, context: JobContext, started: float, begun_at: float, losses: Losses) -> None:
    done = message.report.done
    here = max(done - begun_at, 1e-9)
    left = (time.monotonic() - started) * (1 - done) / here if done > begun_at else None
    project = str(job.project_id)
    TRAINING_EPOCH.labels(project).set(message.report.epoch)
    TRAINING_LOSS.labels(project).set(message.report.loss)
    TRAINING_ACCURACY.labels(project).set(message.report.accuracy)
    seconds_left = None if left is None else round(left, 1)
    context.report(done, **message.report.to_dict(), seconds_left=seconds_left, losses=losses.add(message.report))
