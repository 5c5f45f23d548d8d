"""How good a project's people are: what the quality page and the api show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.db import gold, projects
from shared.db import quality as rows
from shared.db.pool import Tx
from shared.db.quality import Given, Person
from shared.domain import ImageId, ProjectId, UserId
from shared.learning.metrics import wilson_interval
from shared.quality.agreement import krippendorff_alpha, pairwise_kappa
from shared.quality.answers import Answers, Ints
from shared.quality.people import confusions, speeds


@dataclass(frozen=True, kw_only=True)
class Rate:
    """``right`` of ``answers``, with the share and its 95% Wilson interval; None without answers."""

    answers: int
    right: int
    share: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, right: int, answers: int) -> Rate:
        low, high = wilson_interval(right, answers)
        some = answers > 0
        return cls(
            answers=answers,
            right=right,
            share=right / answers if some else None,
            low=low if some else None,
            high=high if some else None,
        )


@dataclass(frozen=True, kw_only=True)
class PersonQuality:
    """One annotator's figures.

    ``gold`` is measured against what is known. ``consensus`` against what several people or a reviewer decided, of
    which the answer is a part itself, so that it flatters. ``kappa`` is the mean with everybody who answered the same
    images, each by how many they share. ``confusion``: counts, row is the truth (gold and consensus), column the
    answer.
    """

    user_id: UserId
    name: str
    vendor_id: UserId | None
    vendor: str | None
    role: str | None
    pause_reason: str | None
    answers: int
    gold: Rate
    consensus: Rate
    kappa: float | None
    shared: int
    """Images on which ``kappa`` rests, once for each pair."""
    median_s: float | None
    speed_z: float | None
    outlier: bool
    confusion: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class VendorQuality:
    """A vendor's people together."""

    vendor_id: UserId
    name: str
    people: int
    answers: int
    gold: Rate
    consensus: Rate
    confusion: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class ProjectQuality:
    """``alpha`` is Krippendorff's, over the images that several people answered; None if there are none."""

    classes: Sequence[str]
    answers: int
    gold_images: int
    alpha: float | None
    overlapping: int
    """Answers that ``alpha`` rests on."""
    questions: Mapping[str, int]
    """By state."""
    people: Sequence[PersonQuality]
    vendors: Sequence[VendorQuality]


def measure(tx: Tx, project_id: ProjectId) -> ProjectQuality:
    """Everybody's figures, those with the most answers first. Reads every answer: seconds, for a million."""
    names = [one.name for one in projects.classes(tx, projects.get(tx, project_id).id)]
    given = rows.answers(tx, project_id)
    # Who is paused may have no answer left that stands.
    users = np.union1d(given.people, np.array(rows.paused(tx, project_id), np.int64))
    person = np.searchsorted(users, given.people)
    images, image = np.unique(given.images, return_inverse=True)
    known, settled = (_truth(images, of(tx, project_id)) for of in (rows.known, rows.settled))

    def part(chosen: np.ndarray) -> Answers:
        return Answers(
            items=image[chosen],
            annotators=person[chosen],
            classes=given.classes[chosen],
            n_items=len(images),
            n_annotators=len(users),
            n_classes=len(names),
        )

    by_gold = confusions(part(given.gold), known)
    by_others = confusions(part(~given.gold), settled)
    together = part(given.questions >= 0)
    people = _people(tx, project_id, users, given, person, together, by_gold, by_others)
    return ProjectQuality(
        classes=names,
        answers=len(given.images),
        gold_images=gold.count(tx, project_id),
        alpha=krippendorff_alpha(together),
        overlapping=len(together),
        questions=rows.questions_by_state(tx, project_id),
        people=people,
        vendors=_vendors(people),
    )


def _truth(images: Ints, of: Mapping[ImageId, int]) -> Ints:
    return np.array([of.get(ImageId(int(one)), -1) for one in images], np.int64)


def _people(
    tx: Tx,
    project_id: ProjectId,
    users: Ints,
    given: Given,
    person: Ints,
    together: Answers,
    by_gold: Ints,
    by_others: Ints,
) -> list[PersonQuality]:
    told = rows.people(tx, project_id, users.tolist())
    kappas, shared = _mean_kappas(together)
    timed = given.durations > 0
    speed = speeds(person[timed], given.durations[timed] / 1000, len(users))
    answered = np.bincount(person, minlength=len(users))
    found = [
        _one(
            told[int(user)],
            int(answered[n]),
            by_gold[n],
            by_others[n],
            kappas[n],
            int(shared[n]),
            (float(speed.median_s[n]), float(speed.z[n]), bool(speed.outlier[n])),
        )
        for n, user in enumerate(users)
    ]
    return sorted(found, key=lambda one: -one.answers)


def _one(
    who: Person,
    answers: int,
    by_gold: Ints,
    by_others: Ints,
    kappa: float,
    shared: int,
    speed: tuple[float, float, bool],
) -> PersonQuality:
    median_s, z, outlier = speed
    return PersonQuality(
        user_id=who.user_id,
        name=who.name,
        vendor_id=who.vendor_id,
        vendor=who.vendor,
        role=who.role,
        pause_reason=who.pause_reason,
        answers=answers,
        gold=_rate(by_gold),
        consensus=_rate(by_others),
        kappa=None if np.isnan(kappa) else float(kappa),
        shared=shared,
        median_s=None if np.isnan(median_s) else median_s,
        speed_z=None if np.isnan(z) else z,
        outlier=outlier,
        confusion=(by_gold + by_others).tolist(),
    )


def _rate(confusion: Ints) -> Rate:
    return Rate.of(int(np.trace(confusion)), int(confusion.sum()))


def _mean_kappas(together: Answers) -> tuple[np.ndarray, Ints]:
    """Everybody's mean kappa with the others, weighted by the images that each pair shares, and their sum."""
    kept = np.unique(together.items)  # a table of people by images is made: only of those that matter
    small = Answers(
        items=np.searchsorted(kept, together.items),
        annotators=together.annotators,
        classes=together.classes,
        n_items=len(kept),
        n_annotators=together.n_annotators,
        n_classes=together.n_classes,
    )
    kappas, shared = pairwise_kappa(small)
    weight = np.where(np.isnan(kappas), 0, shared)
    np.fill_diagonal(weight, 0)
    total = weight.sum(axis=1)
    summed = (np.nan_to_num(kappas) * weight).sum(axis=1)
    mean = np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
    return mean, total.astype(np.int64)


def _vendors(people: Sequence[PersonQuality]) -> list[VendorQuality]:
    found = []
    for vendor_id in sorted({one.vendor_id for one in people if one.vendor_id is not None}):
        staff = [one for one in people if one.vendor_id == vendor_id]
        found.append(
            VendorQuality(
                vendor_id=vendor_id,
                name=staff[0].vendor or "",
                people=len(staff),
                answers=sum(one.answers for one in staff),
                gold=Rate.of(sum(one.gold.right for one in staff), sum(one.gold.answers for one in staff)),
                consensus=Rate.of(
                    sum(one.consensus.right for one in staff), sum(one.consensus.answers for one in staff)
                ),
                confusion=np.sum([np.array(one.confusion) for one in staff], axis=0).tolist(),
            )
        )
    return found
