"""The networks that Winnow trains itself: small CNNs, and heads for the features of a frozen backbone.

Each keeps the statistics that standardise its input as buffers, so a checkpoint carries its own preprocessing, and the
temperature that makes its probabilities honest. All are a ``Network``: ``features`` gives the activations that
selection clusters, and ``logits`` is what follows them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.errors import Invalid
from shared.learning.config import MIN_IMAGE_SIZE

STD_FLOOR = 1e-3
"""A channel or feature that never varies is centred but not blown up."""
GRID = 7
"""At most so many positions on a side are left of an image before the fully connected layers."""


class Network(nn.Module):
    """Standardises its input with the buffers ``mean`` and ``std``, then features, then logits.

    ``temperature``, a float32 scalar that is 1 until a calibration sets it, divides the logits before the softmax:
    Guo et al., "On Calibration of Modern Neural Networks" (2017), eq. 9. Training and ``forward`` don't use it.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(1.0))

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What selection clusters, and ``logits`` reads: (n, ...) -> (n, D)."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """The scores before any softmax: (n, D) -> (n, n_classes)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> logits (n, n_classes)."""
        return self.logits(self.features(x))

    def probabilities(self, features: Tensor) -> Tensor:
        """Calibrated class probabilities: (n, D) -> (n, n_classes), each row summing to 1."""
        return F.softmax(self.logits(features) / self.temperature, dim=1)

    def standardise_with(self, mean: Tensor, std: Tensor) -> None:
        """Centre by ``mean`` and divide by ``std``, each with one value per channel or feature."""
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.std.copy_(std.reshape(self.std.shape).clamp_min(STD_FLOOR))


@dataclass(frozen=True, kw_only=True)
class CnnConfig:
    """Shape of a CNN. ``widths`` are the channels of its blocks, ``hidden`` the width of its features."""

    n_classes: int
    image_size: int = 32
    channels: int = 3
    batch_norm: bool = True
    dropout: float = 0.2
    widths: tuple[int, ...] = (16, 32, 64)
    hidden: int = 128


class _BlockNetwork(Network):
    """Blocks that each halve the image, then fully connected layers.

    Input is float (n, channels, image_size, image_size) from 0 to 1, as ``to_input`` makes it of stored pixels. What
    the blocks leave of a larger image is averaged to a grid of at most 7x7, so that the fully connected layers don't
    grow with the image.
    """

    def __init__(self, config: CnnConfig, depth: int, kernel: int) -> None:
        super().__init__()
        inputs = (config.channels, *config.widths[:-1])
        blocks = (
            _block(before, after, depth, kernel, config.batch_norm)
            for before, after in zip(inputs, config.widths, strict=True)
        )
        self.blocks = nn.Sequential(*blocks)
        side = config.image_size >> len(config.widths)
        shrink = -(-side // GRID)
        self.pool = nn.AvgPool2d(shrink)
        self.hidden = self._hidden(config.widths[-1] * (side // shrink) ** 2, config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden, config.n_classes)
        self.register_buffer("mean", torch.zeros(1, config.channels, 1, 1))
        self.register_buffer("std", torch.ones(1, config.channels, 1, 1))

    def _hidden(self, dim: int, config: CnnConfig) -> nn.Module:
        """The fully connected layers before the last: (n, dim) -> (n, hidden) before its ReLU."""
        return nn.Linear(dim, config.hidden)

    def features(self, x: Tensor) -> Tensor:
        """(n, channels, S, S) -> (n, hidden), none below zero."""
        x = self.blocks((x - self.mean) / self.std)
        return F.relu(self.hidden(self.pool(x).flatten(1)))

    def logits(self, features: Tensor) -> Tensor:
        """(n, hidden) -> (n, n_classes)."""
        out: Tensor = self.classifier(self.dropout(features))
        return out


class Cnn(_BlockNetwork):
    """``cnn``: three blocks of two 3x3 convolutions with ReLU and max-pooling, then two fully connected layers."""

    def __init__(self, config: CnnConfig) -> None:
        super().__init__(config, depth=2, kernel=3)


class CnnMnist(_BlockNetwork):
    """``cnn_mnist``: two blocks of one 5x5 convolution with ReLU and max-pooling, then two fully connected layers.

    Widths 32 and 64 at 28x28 give a grid of 7x7: (n, 64 * 49) -> (n, 128) -> (n, n_classes).
    """

    def __init__(self, config: CnnConfig) -> None:
        super().__init__(config, depth=1, kernel=5)


class CnnFruits(_BlockNetwork):
    """``cnn_fruits``: three blocks of one 3x3 convolution with ReLU and max-pooling, then three fully connected layers.

    Widths 32, 64 and 128 at 100x100 give a grid of 6x6: (n, 128 * 36) -> (n, 256) -> (n, 128) -> (n, n_classes).
    """

    def __init__(self, config: CnnConfig) -> None:
        super().__init__(config, depth=1, kernel=3)

    def _hidden(self, dim: int, config: CnnConfig) -> nn.Module:
        first = 2 * config.hidden
        return nn.Sequential(
            nn.Linear(dim, first), nn.ReLU(inplace=True), nn.Dropout(config.dropout), nn.Linear(first, config.hidden)
        )


def _block(inputs: int, outputs: int, depth: int, kernel: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, *[outputs] * (depth - 1)):
        # A bias before batch norm would be subtracted again.
        layers.append(nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def build_cnn(
    arch: str, n_classes: int, image_size: int, channels: int, batch_norm: bool = True, dropout: float = 0.2
) -> Network:
    """One of Winnow's own CNNs with random weights: ``cnn``, ``cnn_mnist`` or ``cnn_fruits``.

    Raises ``Invalid`` for another name, for images of fewer than 8 pixels, and for other than 1 or 3 channels.
    """
    if image_size < MIN_IMAGE_SIZE:
        raise Invalid(f"image_size is {image_size}; it must be at least {MIN_IMAGE_SIZE}")
    if channels not in (1, 3):
        raise Invalid(f"channels is {channels}; it must be 1 (grey) or 3 (colour)")
    config = CnnConfig(
        n_classes=n_classes, image_size=image_size, channels=channels, batch_norm=batch_norm, dropout=dropout
    )
    if arch == "cnn":
        return Cnn(config)
    if arch == "cnn_mnist":
        return CnnMnist(replace(config, widths=(32, 64)))
    if arch == "cnn_fruits":
        return CnnFruits(replace(config, widths=(32, 64, 128)))
    raise Invalid(f"{arch!r} is none of Winnow's own networks, which are cnn, cnn_mnist and cnn_fruits")


class _Head(Network):
    """Trained on the features (n, dim) that a frozen backbone made; ``features`` are those, unchanged.

    So the space that selection clusters is the backbone's, whichever head is on it. The layers read the features to
    the power of ``power``, a buffer that is 1, or 1/2 where that suits what comes out of a ReLU better.
    """

    power: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("power", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(1, dim))
        self.register_buffer("std", torch.ones(1, dim))

    def features(self, x: Tensor) -> Tensor:
        """``x`` itself: the backbone made the features."""
        return x

    def standardised(self, features: Tensor) -> Tensor:
        """What the layers read: (n, dim) -> (n, dim)."""
        return (features**self.power - self.mean) / self.std


class LinearHead(_Head):
    """Multinomial logistic regression on standardised features: float (n, dim) in, logits (n, n_classes) out."""

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__(dim)
        self.classifier = nn.Linear(dim, n_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def logits(self, features: Tensor) -> Tensor:
        """(n, dim) -> (n, n_classes)."""
        out: Tensor = self.classifier(self.standardised(features))
        return out


class MlpHead(_Head):
    """One hidden layer with ReLU and dropout on standardised features: float (n, dim) in, logits (n, n_classes) out."""

    def __init__(self, dim: int, n_classes: int, hidden: int = 128, dropout: float = 0.2) -> None:
        super().__init__(dim)
        self.hidden = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, n_classes)

    def logits(self, features: Tensor) -> Tensor:
        """(n, dim) -> (n, hidden) -> (n, n_classes)."""
        hidden = F.relu(self.hidden(self.standardised(features)))
        out: Tensor = self.classifier(self.dropout(hidden))
        return out


def to_input(pixels: Tensor) -> Tensor:
    """Stored pixels, uint8 (n, S, S, C), as what networks take: float32 (n, C, S, S) from 0 to 1."""
    return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
