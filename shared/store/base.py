"""What a store must do, and where things lie in it.

Objects are written whole and never changed; every writer of a key writes the same bytes or a key of its own. So no
locking is needed and a repeated write is harmless.

Key layout::

    projects/<project>/images/<sha256>                              the uploaded file, byte for byte
    projects/<project>/views/<sha256>                               what a browser can show, where it can't show that
    projects/<project>/thumbs/<sha256>                              a small JPEG of it, where somebody looked at a list
    projects/<project>/shards/<shard>/pixels-<variant>.npy          uint8 (n, S, S, C), a row per image
    projects/<project>/shards/<shard>/features-<variant>.npy        float32 (n, D), frozen backbones only
    projects/<project>/shards/<shard>/features-<variant>.json       {"backbone": id}: what made the features
    projects/<project>/checkpoints/<job>-<fence>/model.safetensors
    projects/<project>/checkpoints/<job>-<fence>/checkpoint.json
    projects/<project>/checkpoints/<job>-<fence>/opinions.npy       ``shared.learning.opinions``; none of old models
    projects/<project>/trainings/<job>/examples.npy, order.json     what a training under way is trained on
    projects/<project>/trainings/<job>/<run>.pt                     its state, from which it goes on after a crash
    projects/<project>/scores/<checkpoint>/<shard>/probabilities.npy  float32 (n, classes)
    projects/<project>/scores/<checkpoint>/<shard>/features.npy       float32 (n, D)
    projects/<project>/scores/<checkpoint>/<shard>/members.npy        float16 (n, members, classes), committees only
    projects/<project>/predictions/<name>/<number>                  a picture that a caller sent, until it is predicted
    projects/<project>/predictions/<name>/result-<fence>.json       what the model says, see ``shared.predicting``
    projects/<project>/exports/<job>-<fence>/<number>               a piece of an export, see ``shared.store.pieces``
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from shared.domain import CheckpointId, JobId, ProjectId, ShardId

OPINIONS = "opinions.npy"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An object as a listing shows it."""

    key: str
    size: int
    """Bytes."""
    modified: datetime
    """When it was written, by the store's clock and to its precision: a second on some S3 servers."""


class Store(Protocol):
    """A flat space of keys, thread-safe.

    Every method raises ``Retryable`` when the store can't be reached, ``Permanent`` when it refuses our credentials and
    ``Invalid`` for a key out of form.
    """

    def put(self, key: str, body: BinaryIO, length: int, content_type: str = "application/octet-stream") -> None:
        """Write ``length`` bytes of ``body`` under ``key``; all or nothing, replacing what is there.

        Raises ``Invalid`` if the body ends early, ``Retryable`` if reading it breaks.
        """
        ...

    def put_bytes(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """As ``put``, from memory."""
        ...

    def get(self, key: str) -> bytes:
        """The whole object. Raises ``NotFound``."""
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``, fewer at the end of the object. Raises ``NotFound``."""
        ...

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """The object as an iterator of chunks, for streaming out. Raises ``NotFound`` on entry."""
        ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove; nothing happens if it isn't there."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with ``prefix``, in the order of their bytes."""
        ...

    def entries(self, prefix: str) -> Iterator[Entry]:
        """As ``list``, with what a listing tells of each object. One that goes meanwhile may be left out."""
        ...

    def presigned_get(self, key: str, expires_s: int) -> str | None:
        """A URL that a browser can fetch the object from, or None where the store has no such thing."""
        ...

    def check(self) -> None:
        """Raise ``Retryable`` unless an object can be written and read back now."""
        ...


def image_key(project: ProjectId, sha256: str) -> str:
    return f"projects/{project}/images/{sha256}"


def view_key(project: ProjectId, sha256: str) -> str:
    return f"projects/{project}/views/{sha256}"


def thumb_key(project: ProjectId, sha256: str) -> str:
    return f"projects/{project}/thumbs/{sha256}"


def pixels_key(project: ProjectId, shard: ShardId, variant: str) -> str:
    return f"projects/{project}/shards/{shard}/pixels-{variant}.npy"


def features_key(project: ProjectId, shard: ShardId, variant: str) -> str:
    return f"projects/{project}/shards/{shard}/features-{variant}.npy"


def features_info_key(project: ProjectId, shard: ShardId, variant: str) -> str:
    return f"projects/{project}/shards/{shard}/features-{variant}.json"


def checkpoint_prefix(project: ProjectId, name: str) -> str:
    return f"projects/{project}/checkpoints/{name}/"


def training_prefix(project: ProjectId, job: JobId) -> str:
    return f"projects/{project}/trainings/{job}/"


def trainings_of(project: ProjectId) -> str:
    """The prefix of the notes of every training."""
    return f"projects/{project}/trainings/"


def scores_prefix(project: ProjectId, checkpoint: CheckpointId, shard: ShardId) -> str:
    return f"projects/{project}/scores/{checkpoint}/{shard}/"


def scores_of(project: ProjectId, checkpoint: CheckpointId) -> str:
    """The prefix of every score of a checkpoint."""
    return f"projects/{project}/scores/{checkpoint}/"


def prediction_prefix(project: ProjectId, name: str) -> str:
    """``name``: 32 hexadecimal digits, of the request's own."""
    return f"projects/{project}/predictions/{name}/"


def predictions_of(project: ProjectId) -> str:
    """The prefix of everything that callers sent to be predicted, and of the answers."""
    return f"projects/{project}/predictions/"


def export_prefix(project: ProjectId, job: JobId, fence: int) -> str:
    """Of the pieces that one attempt at an export writes."""
    return f"{exports_of(project)}{job}-{fence}/"


def exports_of(project: ProjectId) -> str:
    """The prefix of every export."""
    return f"projects/{project}/exports/"


def attempts_of(project: ProjectId) -> str:
    """The prefix of what every attempt at a training stored, whether a checkpoint came of it or not."""
    return f"projects/{project}/checkpoints/"


def shards_of(project: ProjectId) -> str:
    """The prefix of every pixel pack and every feature file."""
    return f"projects/{project}/shards/"
