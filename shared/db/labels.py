"""Labels: what an image resolves to, and from which source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from shared.db.pool import Row, Tx
from shared.db.sql import queries
from shared.domain import (
    Annotation,
    AnnotationId,
    ClassId,
    ImageId,
    LabelSource,
    ProjectId,
    QuestionId,
    ShardId,
    Split,
)
from shared.metrics import LABELS

_Q = queries("labels")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A labelled image as a model sees it: where its pixels lie, and the column of its class.

    ``at_random``: it was asked because it was drawn at random from the pool.
    """

    image_id: ImageId
    shard_id: ShardId
    shard_row: int
    position: int
    at_random: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """``pool`` and ``holdout`` by split; ``trainable`` are those of the pool whose images are ready for a model;
    ``human`` are those that people gave, alone or several together. ``model``, which are in none of the others, the
    model gave. ``answers``: people's that stand, which is what they are paid for: more than labels where several are
    asked about an image, or about what is known."""

    pool: int
    trainable: int
    holdout: int
    human: int
    model: int = 0
    answers: int = 0


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    class_id: ClassId
    name: str
    labels: int


@dataclass(frozen=True, kw_only=True)
class ImageLabel:
    class_id: ClassId
    name: str
    source: LabelSource
    created_at: datetime


def put_human(tx: Tx, annotation: Annotation) -> None:
    """The annotation becomes the image's label."""
    tx.run(
        _Q["put_label"],
        {
            "image_id": annotation.image_id,
            "project_id": annotation.project_id,
            "class_id": annotation.class_id,
            "source": LabelSource.HUMAN.value,
            "annotation_id": annotation.id,
            "confidence": None,
            "question_id": None,
        },
    )
    _count(tx, annotation.project_id, LabelSource.HUMAN, 1)


def put_consensus(
    tx: Tx,
    project_id: ProjectId,
    image_id: ImageId,
    class_id: ClassId,
    *,
    question_id: QuestionId,
    annotation_id: AnnotationId,
    confidence: float | None,
) -> None:
    """What several answers came to. ``annotation_id`` is one of those that say the same; the question has them all."""
    tx.run(
        _Q["put_label"],
        {
            "image_id": image_id,
            "project_id": project_id,
            "class_id": class_id,
            "source": LabelSource.CONSENSUS.value,
            "annotation_id": annotation_id,
            "confidence": confidence,
            "question_id": question_id,
        },
    )
    _count(tx, project_id, LabelSource.CONSENSUS, 1)


def withdraw_consensus(tx: Tx, question_id: QuestionId) -> None:
    """Remove the label that a question's answers gave, unless something else replaced it."""
    tx.run(_Q["delete_label_by"], {"question_id": question_id})


def withdraw(tx: Tx, annotation_id: AnnotationId) -> None:
    """Remove the label that this annotation gave, unless a newer one replaced it."""
    tx.run(_Q["delete_label_of"], {"annotation_id": annotation_id})


def is_from(tx: Tx, annotation_id: AnnotationId) -> bool:
    """Whether this annotation is what gave its image the present label."""
    row = tx.one(_Q["is_from"], {"annotation_id": annotation_id})
    return bool(row and row["found"])


def import_known(tx: Tx, project_id: ProjectId, known: Mapping[str, ClassId]) -> list[ImageId]:
    """Label images by hex digest; questions open about them are closed. Returns the images labelled.

    A digest that isn't in the project is passed over; a human's label stays as it is, the model's is replaced.
    """
    params = {"project_id": project_id, "sha256s": list(known), "class_ids": list(known.values())}
    ids = [ImageId(row["image_id"]) for row in tx.all(_Q["import_labels"], params)]
    if ids:
        tx.run(_Q["close_tasks_of"], {"image_ids": ids})
        _count(tx, project_id, LabelSource.IMPORT, len(ids))
    return ids


def _count(tx: Tx, project_id: ProjectId, source: LabelSource, labels: int) -> None:
    tx.after_commit(partial(LABELS.labels(str(project_id), source.value).inc, labels))


def examples(tx: Tx, project_id: ProjectId, split: Split) -> list[Example]:
    """Readable images of a split that people have labelled that are in a pixel pack, in order of id."""
    return [
        Example(
            image_id=r["id"],
            shard_id=r["shard_id"],
            shard_row=r["shard_row"],
            position=r["position"],
            at_random=r["at_random"],
        )
        for r in tx.all(_Q["examples"], {"project_id": project_id, "split": split.value})
    ]


def read_at(tx: Tx) -> datetime:
    """The moment that this transaction's view of the labels belongs to, by the database's clock."""
    row = tx.one(_Q["read_at"])
    assert row is not None  # SELECT without FROM
    now: datetime = row["now"]
    return now


def seen_at(tx: Tx) -> datetime:
    """The moment that this statement sees. In a transaction that is frozen, as its first: what all of it sees."""
    row = tx.one(_Q["seen_at"])
    assert row is not None  # SELECT without FROM
    now: datetime = row["now"]
    return now


def counts(tx: Tx, project_id: ProjectId) -> LabelCounts:
    row = tx.one(_Q["count_labels"], {"project_id": project_id})
    assert row is not None  # an aggregate always answers
    return LabelCounts(**row)


def count_new(tx: Tx, project_id: ProjectId, since: datetime, enough: int) -> int:
    """People's labels on pool images since ``since``; stops counting at ``enough``."""
    row = tx.one(_Q["count_new"], {"project_id": project_id, "since": since, "enough": enough})
    return int(row["new"]) if row else 0


def count_random(tx: Tx, project_id: ProjectId) -> int:
    """Labels of pool images that were drawn at random."""
    row = tx.one(_Q["count_random"], {"project_id": project_id})
    return int(row["drawn"]) if row else 0


def unlabelled_holdout(tx: Tx, project_id: ProjectId) -> list[ImageId]:
    """Holdout images that nobody has been asked about."""
    return [ImageId(row["id"]) for row in tx.all(_Q["unlabelled_holdout"], {"project_id": project_id})]


def by_class(tx: Tx, project_id: ProjectId) -> list[ClassCount]:
    """People's labels, in order of class position."""
    return [ClassCount(**row) for row in tx.all(_Q["by_class"], {"project_id": project_id})]


def of_image(tx: Tx, image_id: ImageId) -> ImageLabel | None:
    row = tx.one(_Q["of_image"], {"image_id": image_id})
    if row is None:
        return None
    return ImageLabel(
        class_id=row["class_id"], name=row["name"], source=LabelSource(row["source"]), created_at=row["created_at"]
    )


def export(tx: Tx, project_id: ProjectId, only: Sequence[ImageId] | None = None) -> Iterator[Row]:
    """A row per image, or per image of ``only``, labelled or not, in order of id, streamed. Columns as in
    ``queries/labels.sql``."""
    return tx.stream(_Q["export"], {"project_id": project_id, "ids": None if only is None else list(only)})
