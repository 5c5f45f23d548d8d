"""The vocabulary of Winnow: ids, states and the records that travel between rooms.

Standard library only, so that everything may import it. Records are frozen and keyword-only; they are what the
repositories in ``shared.db`` return and what services pass on. Times are timezone-aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType

ProjectId = NewType("ProjectId", int)
ClassId = NewType("ClassId", int)
ImageId = NewType("ImageId", int)
ShardId = NewType("ShardId", int)
RoundId = NewType("RoundId", int)
CheckpointId = NewType("CheckpointId", int)
TaskId = NewType("TaskId", int)
AnnotationId = NewType("AnnotationId", int)
JobId = NewType("JobId", int)
UserId = NewType("UserId", int)
ApiKeyId = NewType("ApiKeyId", int)
FlagId = NewType("FlagId", int)
TagId = NewType("TagId", int)
BatchId = NewType("BatchId", int)
QuestionId = NewType("QuestionId", int)


class ProjectState(StrEnum):
    """``draft`` until started; ``paused`` serves no tasks and starts no jobs; ``finished`` met a stopping rule."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


class RoundMode(StrEnum):
    """``rolling``: people label while the model trains. ``strict``: a round waits for all its tasks."""

    ROLLING = "rolling"
    STRICT = "strict"


class RoundState(StrEnum):
    """A round moves down this list and never back. Round 0 (cold start) has no training and no scoring."""

    TRAINING = "training"
    SCORING = "scoring"
    SELECTING = "selecting"
    LABELLING = "labelling"
    DONE = "done"


class Split(StrEnum):
    """``pool`` images may be asked and trained on; ``holdout`` images only measure."""

    POOL = "pool"
    HOLDOUT = "holdout"


class ImageState(StrEnum):
    """``stored``: object and row exist. ``ready``: in a shard's pixel pack. ``unreadable``: marked and skipped."""

    STORED = "stored"
    READY = "ready"
    UNREADABLE = "unreadable"


class ShardState(StrEnum):
    """``sealed``: its images are fixed. ``embedded``: its pixel pack (and features, if frozen) are in the store."""

    SEALED = "sealed"
    EMBEDDED = "embedded"


class TaskKind(StrEnum):
    """Why the question is asked."""

    QUERY = "query"
    HOLDOUT = "holdout"
    AUDIT = "audit"
    """The model has labelled it already, and a person is asked without being told."""
    STREAM = "stream"
    """It arrived once there was a model, which is unsure of it."""
    GOLD = "gold"
    """The answer is known, and measures who gives it. Nobody is told, and it gives no label."""
    ADJUDICATION = "adjudication"
    """A reviewer decides where people disagreed."""


class TaskState(StrEnum):
    """``open`` and ``leased`` are live; the others are final. ``superseded``: a newer selection replaced it."""

    OPEN = "open"
    LEASED = "leased"
    DONE = "done"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"


class BatchState(StrEnum):
    """A vendor's batch. ``open`` waits for its first lease; ``completed`` until work is rejected; see
    ``shared.batches`` for what may follow what."""

    DRAFT = "draft"
    OPEN = "open"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


class QuestionState(StrEnum):
    """``asking`` and ``disagreed`` are live. ``resolved``: by its answers; ``adjudicated``: by a reviewer.
    ``withdrawn``: replaced by a newer selection, or answered in another way."""

    ASKING = "asking"
    DISAGREED = "disagreed"
    RESOLVED = "resolved"
    ADJUDICATED = "adjudicated"
    WITHDRAWN = "withdrawn"


class QuestionKind(StrEnum):
    """``second_opinion``: a reviewer wants another person's answer about an image that has a label."""

    OVERLAP = "overlap"
    SECOND_OPINION = "second_opinion"


class PassOn(StrEnum):
    """Where a task goes that is not answered. ``later``: to the end of the queue, for anybody; ``me``: there, for the
    same person; ``others`` and ``cannot_tell``: there, and never again to the same person."""

    LATER = "later"
    ME = "me"
    OTHERS = "others"
    CANNOT_TELL = "cannot_tell"


class LabelSource(StrEnum):
    """Where a label comes from."""

    HUMAN = "human"
    CONSENSUS = "consensus"
    MODEL = "model"
    IMPORT = "import"


class JobKind(StrEnum):
    """One queue each."""

    EMBED = "embed"
    TRAIN = "train"
    SCORE = "score"
    SELECT = "select"
    PREDICT = "predict"
    MAP = "map"
    EXPORT = "export"

    @property
    def urgent(self) -> bool:
        """Somebody waits for the answer, and no round does: workers take such a job first, in turns with the others."""
        return self is JobKind.PREDICT

    @property
    def of_rounds(self) -> bool:
        """Whether a round waits for such a job, and stands still if it fails for good."""
        return self not in (JobKind.PREDICT, JobKind.MAP, JobKind.EXPORT)

    @property
    def ends_when_cancelled(self) -> bool:
        """Whether one that somebody cancels is over, and no failure that waits to be tried again: nothing waits for a
        map, and who wants one after all asks for it where it is looked at."""
        return self is JobKind.MAP


class JobState(StrEnum):
    """``dead``: failed for good; its error is kept and ``winnow requeue`` gives it another life.
    ``cancelled``: nobody wants it any more; that is for good."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Scope(StrEnum):
    """What an API key may do. ``batch``: what a vendor does, in the batches that are its own."""

    READ = "read"
    INGEST = "ingest"
    LABEL = "label"
    MANAGE = "manage"
    BATCH = "batch"


class UserKind(StrEnum):
    """``person`` signs in; ``vendor`` is a firm outside, which works through keys; ``annotator`` is one of its people,
    known by the vendor's own name for them."""

    PERSON = "person"
    VENDOR = "vendor"
    ANNOTATOR = "annotator"


class Role(StrEnum):
    """What somebody is in a project, the most powerful first. Admins are everything everywhere."""

    MANAGER = "manager"
    REVIEWER = "reviewer"
    ANNOTATOR = "annotator"


MAX_JOB_ATTEMPTS = 5
MAX_TASK_SKIPS = 3


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many people an image is asked of: ``copies`` at once, and where ``most`` is more, one after another up to
    that many until ``copies`` of them agree."""

    copies: int = 1
    most: int = 1

    @property
    def until_agreement(self) -> bool:
        return self.most > self.copies


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """How a project learns and chooses. Stored as JSON on the project; validated at the HTTP edge.

    ``alpha``, ``clusters`` and ``measure`` belong to the hybrid strategy: share of the batch taken by uncertainty
    alone, number of k-means clusters, and which uncertainty measure ranks.
    """

    arch: str = "cnn"
    train_mode: str = "scratch"
    """``scratch`` trains every weight from random ones, ``finetune`` from pretrained ones; ``head`` trains a softmax
    head on a frozen, pretrained backbone, ``ridge`` solves a ridge regression there."""
    image_size: int = 32
    """Side in pixels of the square that the model sees and that pixel packs hold."""
    channels: int = 3
    epochs: int | None = None
    """None: chosen by how much there is to learn from, as is all of ``recipe`` that isn't named there."""
    learning_rate: float | None = None
    batch_norm: bool = True
    dropout: float = 0.2
    seed: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What to train with instead of what is chosen; the names are those of ``shared.learning.recipe.Recipe``."""

    strategy: str = "margin"
    measure: str = "margin"
    alpha: float = 0.9
    clusters: int = 10
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the strategy, by the names in ``shared.selection.catalog``."""
    stream_rate: float = 0.0
    """Share of the images arriving once there is a model that is asked at once, as each is scored; 0: they wait for
    the next selection as all others do."""
    cold_start: str = "auto"
    """How the first images are chosen; ``auto``: the most typical ones where a frozen backbone gives features before
    there is a model, else any."""
    cold_labels_per_class: int = 5
    """Labels per class, on average, up to which the cold start goes on."""

    mode: RoundMode = RoundMode.ROLLING
    initial: int = 100
    """Labels asked for in the cold start."""
    batch_size: int = 100
    """K, the labels that make a round."""
    queue_factor: float = 2.0
    """In rolling mode a selection holds this many times K tasks, so that nobody waits while the model trains."""
    holdout_size: int | None = None
    """Random images labelled first, to measure on, drawn when the project starts. None: a tenth of the images, at most
    200, unless some were uploaded as holdout. 0: only those uploaded as such."""
    label_budget: int | None = None
    """Human labels, holdout included, after which the project is finished."""
    target_accuracy: float | None = None
    """Finished when the lower end of the holdout accuracy's 95% Wilson interval reaches it."""
    max_rounds: int | None = None
    """Rounds of training after which the project is finished."""
    stop_unsure_share: float | None = None
    """Finished when less than this share of the images without a person's label is predicted below ``unsure_below``."""
    unsure_below: float = 0.6
    stop_plateau: float | None = None
    """Finished when the best accuracy of the last ``plateau_rounds`` models exceeds that of all before by no more."""
    plateau_rounds: int = 5
    stop_training_error: float | None = None
    """Finished when the training error of the newest model is not above it."""
    stop_agreement: float | None = None
    """Finished when the mean kappa of the last ``agreement_rounds`` pairs of successive models is this high."""
    agreement_rounds: int = 3

    auto_label: bool = False
    """Whether the model labels what it is sure enough of."""
    auto_label_precision: float = 0.99
    """The share of its labels that must be right: the target for the threshold, and for the audit."""
    auto_label_audit: float = 0.05
    """Share of the model's labels that people are asked about without being told."""
    auto_label_random: float = 0.2
    """Share of each batch that is drawn at random until there are enough such labels to find the threshold by."""
    shard_size: int = 4096
    label_price: float | None = None
    """What an answer by a person costs, in ``currency``. Changes nothing but what is shown."""
    currency: str = "EUR"
    lease_seconds: int = 600
    suggestions: bool = False
    """Whether annotators may ask what the model thinks of an image. Who has seen it answers as it does more often."""
    map_each_round: bool = False
    """Whether a map of the pool is drawn with every round's model; else when somebody asks for one."""

    overlap: int = 1
    """People that each image is asked of."""
    agreement: bool = False
    """Whether images on which people disagree are asked of more, one by one, until ``overlap`` of them agree."""
    overlap_max: int = 5
    """With ``agreement``: people that an image is asked of at the very most, before a reviewer decides."""
    consensus: str = "majority"
    """``dawid_skene``: before each training, labels by several answers are weighed anew, all together."""
    gold_rate: float = 0.0
    """Share of the questions whose answer is known, mixed in unseen to measure people."""
    quality_floor: float | None = None
    """Who is surely right on a smaller share of these is paused, and their labels are asked again."""
    quality_golds: int = 20
    """Answers to such questions before anybody is paused."""
    weigh_labels: bool = False
    """Whether labels count in training by how good who gave them is."""

    @property
    def asked_of(self) -> Overlap:
        most = self.overlap_max if self.agreement and self.overlap > 1 else self.overlap
        return Overlap(copies=self.overlap, most=most)

    @property
    def on_features(self) -> bool:
        """Whether models are trained on a frozen backbone's features, which are made once per image; else on pixels."""
        return self.train_mode in ("head", "ridge")

    @property
    def pixels_variant(self) -> str:
        """Names the form of pixel packs: two settings that need other pixels have other names."""
        return f"{self.image_size}x{self.channels}"

    @property
    def features_variant(self) -> str:
        """Names the form of a frozen backbone's features: part of a key, so without the slash of ``timm/``."""
        return f"{self.arch.replace('/', '-')}-{self.pixels_variant}"


@dataclass(frozen=True, kw_only=True)
class AuditFailed:
    """The last audit that the model's labels failed: a later threshold for this target, or a higher one, lies above."""

    threshold: float
    target: float
    answers: int
    right: int
    round_number: int
    last_task: int
    """Later audits belong to later labels."""


@dataclass(frozen=True, kw_only=True)
class Project:
    id: ProjectId
    name: str
    state: ProjectState
    settings: ProjectSettings
    stop_reason: str | None
    created_at: datetime
    labelling_rest: bool = False
    """People label what is left, and no more models are trained."""
    audit_failed: AuditFailed | None = None
    stream: Mapping[str, float] | None = None
    """Where the stream of arriving images stands, see ``shared.selection.streams.StreamState``."""


@dataclass(frozen=True, kw_only=True)
class Class:
    """One answer to the project's question. ``position`` is the column in probabilities; ``id`` never changes."""

    id: ClassId
    project_id: ProjectId
    position: int
    name: str
    colour: str
    hotkey: str | None


@dataclass(frozen=True, kw_only=True)
class User:
    id: UserId
    username: str
    display_name: str
    disabled: bool
    is_admin: bool = False
    kind: UserKind = UserKind.PERSON
    vendor_id: UserId | None = None
    """The firm that an ``annotator`` works for, and ``external_id`` is its name for them."""
    external_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Membership:
    """What somebody is in a project. ``pause_reason``: why nothing more is asked of them; None: they may be asked."""

    project_id: ProjectId
    user_id: UserId
    role: Role
    created_at: datetime
    paused_at: datetime | None = None
    pause_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """Never holds the secret: the database has its SHA-256 only. ``project_id`` None: every project. ``user_id``: the
    vendor, or the person, that it acts as; None: for nobody but itself."""

    id: ApiKeyId
    name: str
    prefix: str
    scopes: frozenset[Scope]
    project_id: ProjectId | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    user_id: UserId | None = None
    created_by: UserId | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """``sha256`` is the hex digest of the original bytes, which lie in the store under it."""

    id: ImageId
    project_id: ProjectId
    sha256: str
    filename: str
    width: int
    height: int
    bytes: int
    format: str
    browser_safe: bool
    """False where a browser needs a rendition (see ``shared.store.base.view_key``) to show it."""
    state: ImageState
    split: Split
    shard_id: ShardId | None
    shard_row: int | None
    """Row of the image in its shard's pixel pack."""
    error: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Shard:
    id: ShardId
    project_id: ProjectId
    number: int
    image_count: int
    state: ShardState


@dataclass(frozen=True, kw_only=True)
class Round:
    id: RoundId
    project_id: ProjectId
    number: int
    state: RoundState
    checkpoint_id: CheckpointId | None
    labels: int
    """Labels (holdout not counted) when the round began; once its model is there, those it was trained on."""
    labels_at: datetime
    """When these were counted: labels given since then are new to the round."""
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained model. ``sha256`` is that of ``model.safetensors``; it is loaded only if it matches."""

    id: CheckpointId
    project_id: ProjectId
    round_id: RoundId
    key: str
    sha256: str
    arch: str
    data_version: str
    """Digest of the (image, class) pairs it was trained on."""
    metrics: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question to one person. ``fence`` grows with every lease: an answer must bring the current one."""

    id: TaskId
    project_id: ProjectId
    round_id: RoundId | None
    image_id: ImageId
    kind: TaskKind
    state: TaskState
    priority: float
    """Lower is asked first."""
    fence: int
    lease_until: datetime | None
    holder: UserId | None
    skips: int
    strategy: str
    score: float | None
    leased_at: datetime | None = None
    """When the present or last lease was given, by the database's clock."""
    suggested: ClassId | None = None
    """What the model's suggestion named, once the holder has been shown it."""
    question_id: QuestionId | None = None
    """Of an image that several people are asked about: this is the task number ``copy`` of it. None: of one person."""
    copy: int = 0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Questions that a vendor answers for money. ``size``: images, each answered by ``overlap`` people.

    ``fill``: ``selection`` keeps it filled from the project's own queue; ``random`` and the name of a strategy choose
    once. ``price`` is per ``price_per``, ``label`` or ``hour``, in ``currency`` (ISO 4217); all three or none.
    """

    id: BatchId
    project_id: ProjectId
    vendor_id: UserId
    name: str
    external_id: str | None
    state: BatchState
    size: int
    overlap: int
    fill: str
    instructions: str
    deadline: datetime | None
    price: Decimal | None
    price_per: str | None
    currency: str | None
    version: int
    """Grows with every change that somebody makes."""
    fill_job: JobId | None
    filled_at: datetime | None
    """When all that it was to be filled with was chosen; None: more comes."""
    error: str | None
    revoked: int
    """Tasks that were held when the batch was cancelled, and ``dropped`` those that waited."""
    dropped: int
    created_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None

    @property
    def etag(self) -> str:
        return f'"{self.id}-{self.version}"'


@dataclass(frozen=True, kw_only=True)
class Annotation:
    id: AnnotationId
    task_id: TaskId
    image_id: ImageId
    project_id: ProjectId
    user_id: UserId
    class_id: ClassId
    duration_ms: int | None
    created_at: datetime
    undone_at: datetime | None
    suggested: ClassId | None = None
    """The class that the annotator had seen suggested; None if nothing was."""
    external_id: str | None = None
    """The caller's own name for it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A durable row of work. ``fence`` grows with every claim: a worker that lost its lease can't finish it."""

    id: JobId
    kind: JobKind
    project_id: ProjectId
    round_id: RoundId | None
    payload: Mapping[str, Any]
    state: JobState
    attempts: int
    lease_until: datetime | None
    fence: int
    worker: str | None
    progress: float
    """0 to 1."""
    detail: Mapping[str, Any]
    error: str | None
    created_at: datetime
    trace_id: str | None = None
    """The id of the request, or of the chain of jobs, that asked for this one. None in rows of older versions."""

    def log_context(self) -> dict[str, Any]:
        """The ids to bind to every log line written while this job runs, those that it has."""
        ids = {
            "job_id": self.id,
            "job_kind": self.kind.value,
            "project_id": self.project_id,
            "round_id": self.round_id,
            "trace_id": self.trace_id,
            "fence": self.fence,
        }
        return {name: value for name, value in ids.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class WakeUp:
    """What travels over the bus: that a job of this kind may be claimed. Losing or doubling it changes nothing."""

    kind: JobKind
    job_id: JobId


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """An image whose object is already stored and whose row is to be written."""

    sha256: str
    filename: str
    width: int
    height: int
    bytes: int
    format: str
    browser_safe: bool = True
    split: Split = Split.POOL


@dataclass(frozen=True, kw_only=True)
class NewTask:
    image_id: ImageId
    kind: TaskKind = TaskKind.QUERY
    priority: float = 0.0
    strategy: str = "random"
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """``unique_key``: asking twice is asking once, for ever (a finished job with that key is not repeated)."""

    kind: JobKind
    project_id: ProjectId
    unique_key: str
    round_id: RoundId | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
