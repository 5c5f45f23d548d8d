"""Pools as they are in the field and data sets are not: with rare classes, and with many pictures of the same thing.

Arrays in, arrays out, seeded. Only the pool is changed: the test set stays as it is, so accuracy there means the same
for every variant.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import Invalid

Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

SHIFT = 0.05
"""A near-duplicate is moved by at most this share of the side, and by at least up to one pixel."""
BRIGHTNESS = 0.12
CONTRAST = 0.12
NOISE = 3.0
"""Standard deviation in grey levels of 255."""
JPEG_QUALITY = (60, 95)


def pool_rows(labels: Ints, *, size: int | None, imbalance: float, duplicates: int, rng: np.random.Generator) -> Ints:
    """Which of the training images, int64 ascending, the pool is made of.

    Parameters
    ----------
    labels : int64 (n,), the classes of all that there are.
    size : images in the pool, near-duplicates included; None: as many as there are. Fewer where classes run out.
    imbalance : how many times as many images the commonest class has as the rarest. The others lie between in equal
        ratios (the long tail of Cui et al. 2019, Class-Balanced Loss); which class is where is drawn. 1: as they come.
    duplicates : of each chosen image there will be so many, so ``size / duplicates`` are chosen.

    Raises ``Invalid`` for what can't be made of these images.
    """
    if size is not None and not 1 <= size <= len(labels):
        raise Invalid(f"a pool of {size} images can't be had: there are {len(labels)} to train on")
    if not 1 <= imbalance < np.inf:
        raise Invalid(f"imbalance is {imbalance}; it is how many times as many, so at least 1")
    if not 1 <= duplicates <= len(labels):
        raise Invalid(f"duplicates is {duplicates}; it must be from 1 to the {len(labels)} images there are")
    chosen = np.arange(len(labels))
    if imbalance > 1:
        chosen = _long_tail(labels, imbalance, size, rng)
    wanted = max(1, (len(chosen) if size is None else min(size, len(chosen))) // duplicates)
    if wanted < len(chosen):
        chosen = rng.permutation(chosen)[:wanted]
    return np.sort(chosen).astype(np.int64)


def _long_tail(labels: Ints, imbalance: float, size: int | None, rng: np.random.Generator) -> Ints:
    classes, there = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise Invalid("one class can't be rarer than another: there is a single one")
    place = rng.permutation(len(classes)) / (len(classes) - 1)
    share = imbalance**-place
    most = float((there / share).min())
    if size is not None:
        most = min(most, size / share.sum())
    wanted = np.maximum(np.rint(most * share), 1).astype(np.int64)
    kept = [
        rng.permutation(np.flatnonzero(labels == one))[:number] for one, number in zip(classes, wanted, strict=True)
    ]
    return np.concatenate(kept)


def near_duplicates(pixels: Pixels, copies: int, rng: np.random.Generator) -> Iterator[Pixels]:
    """``copies`` pictures of the same thing: itself, uint8 (S, S, C), and changed ones as a burst or a re-upload has.

    Each is moved by a few pixels (edges repeated), made a little brighter or darker and flatter or harder, gets noise
    and goes through JPEG.
    """
    yield pixels
    for _ in range(copies - 1):
        yield _through_jpeg(_changed(pixels, rng), int(rng.integers(*JPEG_QUALITY, endpoint=True)))


def _changed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    reach = max(1, round(SHIFT * len(pixels)))
    down, right = rng.integers(-reach, reach, size=2, endpoint=True)
    padded: Pixels = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    moved = padded[reach + down : reach + down + height, reach + right : reach + right + width].astype(np.float64)
    middle = moved.mean()
    contrast, brightness = 1 + rng.uniform(-CONTRAST, CONTRAST), 1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    seen = ((moved - middle) * contrast + middle) * brightness + rng.normal(0, NOISE, moved.shape)
    made: Pixels = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
    return made


def _through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    return np.array(Image.open(written), dtype=np.uint8).reshape(pixels.shape)


def validation_rows(labels: Ints, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which images to measure on, bool (n,): ``share`` of each class, at least one where it has two.

    Raises ``Invalid`` for a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise Invalid(f"the validation share is {share}; it must be between 0 and 1")
    held = np.zeros(len(labels), dtype=bool)
    for one in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == one))
        number = max(round(share * len(rows)), 1 if len(rows) > 1 else 0)
        held[rows[: min(number, len(rows) - 1)]] = True
    return held
