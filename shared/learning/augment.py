"""Random changes of training images that leave what they show the same, a whole batch at once on any device.

All random numbers are drawn beforehand, a row for each image of the batch: so the images that one process sees are
those that several see together, each its share. Images are float (n, C, S, S) from 0 to 1; edges are
continued outwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from shared.learning.recipe import Recipe

NUMBERS = 24
"""Random numbers per image."""
_GEOMETRY, _FLIP, _COLOUR, _RAND, _ERASE = slice(0, 4), 4, slice(5, 8), slice(8, 14), slice(14, 18)
RAND_OPS = 2
"""Operations that RandAugment takes of each image (Cubuk et al. 2020: N; its M is drawn anew each time)."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a change may be: radians, shares of the side, factors about 1."""

    turn: float
    shift: float
    zoom: float
    colour: float = 0.0


LIMITS = {
    "none": Limits(turn=0.0, shift=0.0, zoom=0.0),
    "geometry": Limits(turn=math.radians(10), shift=0.06, zoom=0.1),
    "photo": Limits(turn=math.radians(5), shift=0.1, zoom=0.15, colour=0.2),
    "rand": Limits(turn=math.radians(5), shift=0.1, zoom=0.15, colour=0.2),
}


def draw(n: int, rng: np.random.Generator) -> Tensor:
    """The random numbers for ``n`` images: float32 (n, NUMBERS) from 0 to 1, on the CPU."""
    return torch.from_numpy(rng.random((n, NUMBERS), dtype=np.float32))


def augment(x: Tensor, numbers: Tensor, recipe: Recipe) -> Tensor:
    """Change each image as its row of ``numbers`` (n, NUMBERS) says, within what ``recipe`` allows."""
    if recipe.augment == "none" and not recipe.flip and not recipe.erase:
        return x
    rand = recipe.augment == "rand"
    x = _resampled(x, _affine(numbers, recipe, rand))
    colour = LIMITS[recipe.augment].colour
    if colour:
        x = _recoloured(x, 1 + (2 * numbers[:, _COLOUR] - 1) * colour)
    if rand:
        x = _rand_colours(x, numbers[:, _RAND])
    return _erased(x, numbers[:, _ERASE], recipe.erase) if recipe.erase else x


def strong(recipe: Recipe) -> Recipe:
    """``recipe`` with the strongest changes that its images bear, for the second view in FixMatch."""
    return replace(recipe, augment="rand" if recipe.augment in ("photo", "rand") else "geometry", erase=1.0)


def _affine(numbers: Tensor, recipe: Recipe, rand: bool) -> Tensor:
    """The map from places in the new image to places in the old, (n, 2, 3), in coordinates from -1 to 1."""
    turn, zoom, right, down = (2 * numbers[:, _GEOMETRY] - 1).unbind(1)
    limits = LIMITS[recipe.augment]
    turn, zoom = turn * limits.turn, 1 + zoom * limits.zoom
    right, down = right * 2 * limits.shift, down * 2 * limits.shift  # a share of the side is twice that here
    shear_x = shear_y = torch.zeros_like(turn)
    if rand:
        amounts = _geometric(numbers[:, _RAND])
        shear_x, shear_y = 0.3 * amounts[0], 0.3 * amounts[1]
        right, down = right + 0.6 * amounts[2], down + 0.6 * amounts[3]
        turn = turn + math.radians(30) * amounts[4]
    mirror = torch.where(numbers[:, _FLIP] < 0.5, -1.0, 1.0) if recipe.flip else torch.ones_like(turn)
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    first = torch.stack(((cos + shear_x) * mirror, -sin + shear_x, right), dim=1)
    second = torch.stack(((sin + shear_y) * mirror, cos + shear_y, down), dim=1)
    return torch.stack((first, second), dim=1)


def _resampled(x: Tensor, affine: Tensor) -> Tensor:
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid.to(x.dtype), padding_mode="border", align_corners=False)


def _recoloured(x: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation times ``factors`` (n, 3), each about 1."""
    bright, contrast, saturation = factors.to(x.dtype).reshape(-1, 3, 1, 1, 1).unbind(1)
    x = x * bright
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast
    grey = x.mean(dim=1, keepdim=True)
    return (grey + (x - grey) * saturation).clamp(0, 1)


def _blend(to: Callable[[Tensor], Tensor], most: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, amount: (to(x) + (x - to(x)) * (1 + most * amount)).clamp(0, 1)


def _sharpness(x: Tensor, amount: Tensor) -> Tensor:
    smooth = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return (smooth + (x - smooth) * (1 + 0.9 * amount)).clamp(0, 1)


def _posterize(x: Tensor, amount: Tensor) -> Tensor:
    levels = 2 ** (8 - 4 * amount.abs()).round()
    return (x * (levels - 1)).round() / (levels - 1)


def _solarize(x: Tensor, amount: Tensor) -> Tensor:
    return torch.where(x >= 1 - amount.abs(), 1 - x, x)


def _autocontrast(x: Tensor, amount: Tensor) -> Tensor:
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp_min(1e-6), x)


_COLOURS: Sequence[Callable[[Tensor, Tensor], Tensor]] = (
    _blend(torch.zeros_like, 0.9),  # brightness
    _blend(lambda x: x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x), 0.9),  # contrast
    _blend(lambda x: x.mean(dim=1, keepdim=True).expand_as(x), 0.9),  # saturation
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
)
_GEOMETRIES = 5  # shear x and y, shift x and y, turn
_OPS = len(_COLOURS) + _GEOMETRIES + 1  # and one that does nothing


def _chosen(numbers: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each of the ``RAND_OPS`` rounds: which operation (n,), and how much of it, -1 to 1 (n,)."""
    pairs = numbers[:, : 2 * RAND_OPS].reshape(-1, RAND_OPS, 2)
    return [((pairs[:, i, 0] * _OPS).long().clamp_max(_OPS - 1), 2 * pairs[:, i, 1] - 1) for i in range(RAND_OPS)]


def _geometric(numbers: Tensor) -> list[Tensor]:
    """How much of each geometric operation every image gets, (n,) each."""
    amounts = [torch.zeros(len(numbers), device=numbers.device) for _ in range(_GEOMETRIES)]
    for op, amount in _chosen(numbers):
        for index in range(_GEOMETRIES):
            amounts[index] = amounts[index] + torch.where(op == len(_COLOURS) + index, amount, 0.0)
    return amounts


def _rand_colours(x: Tensor, numbers: Tensor) -> Tensor:
    for op, amount in _chosen(numbers):
        wide = amount.to(x.dtype).reshape(-1, 1, 1, 1)
        changed = x
        for index, operation in enumerate(_COLOURS):
            changed = torch.where((op == index).reshape(-1, 1, 1, 1), operation(x, wide), changed)
        x = changed
    return x


def _erased(x: Tensor, numbers: Tensor, share: float) -> Tensor:
    """Blank a rectangle of a fifth to a half of the side with the image's mean, in a ``share`` of the images."""
    size = x.shape[-1]
    place = torch.arange(size, device=x.device)
    side = (0.2 + 0.3 * numbers[:, 1]) * size
    top, left = (numbers[:, 2] * size - side / 2)[:, None], (numbers[:, 3] * size - side / 2)[:, None]
    rows = (place >= top) & (place < top + side[:, None])
    columns = (place >= left) & (place < left + side[:, None])
    hole = rows[:, None, :, None] & columns[:, None, None, :] & (numbers[:, 0] < share).reshape(-1, 1, 1, 1)
    return torch.where(hole, x.mean(dim=(2, 3), keepdim=True), x)
