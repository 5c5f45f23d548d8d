"""The networks that Winnow trains itself: a small CNN, and a linear head for the features of a frozen backbone.

Both keep the statistics that standardise their input as buffers, so a checkpoint carries its own preprocessing. Both
are a ``Network``: ``features`` gives the activations that feed the last linear layer, because selection clusters in
that space, and ``logits`` is that layer.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STD_FLOOR = 1e-3
"""A channel or feature that never varies is centred but not blown up."""


class Network(nn.Module):
    """Standardises its input with the buffers ``mean`` and ``std``, then features, then logits."""

    mean: Tensor
    std: Tensor

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Input of the last linear layer: (n, ...) -> (n, D)."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """The last linear layer: (n, D) -> (n, n_classes)."""

    def standardise_with(self, mean: Tensor, std: Tensor) -> None:
        """Centre by ``mean`` and divide by ``std``, each with one value per channel or feature."""
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.std.copy_(std.reshape(self.std.shape).clamp_min(STD_FLOOR))


@dataclass(frozen=True, kw_only=True)
class CnnConfig:
    """Shape of a ``Cnn``. ``widths`` are the channels of its three blocks, ``hidden`` the width of its features."""

    n_classes: int
    image_size: int = 32
    channels: int = 3
    batch_norm: bool = True
    dropout: float = 0.2
    widths: tuple[int, int, int] = (16, 32, 64)
    hidden: int = 128


class Cnn(Network):
    """Three blocks of two 3x3 convolutions with ReLU and max-pooling, then two fully connected layers.

    Input is float (n, channels, image_size, image_size) from 0 to 1, as ``to_input`` makes it of stored pixels. What
    the blocks leave of an image of 64 pixels or more is averaged to a grid of 4x4 to 7x7, so that the fully connected
    layers don't grow with the image.
    """

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        first, second, third = config.widths
        self.blocks = nn.Sequential(
            _block(config.channels, first, config.batch_norm),
            _block(first, second, config.batch_norm),
            _block(second, third, config.batch_norm),
        )
        side = config.image_size // 8
        shrink = max(1, side // 4)
        self.pool = nn.AvgPool2d(shrink)
        self.hidden = nn.Linear(third * (side // shrink) ** 2, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden, config.n_classes)
        self.register_buffer("mean", torch.zeros(1, config.channels, 1, 1))
        self.register_buffer("std", torch.ones(1, config.channels, 1, 1))

    def features(self, x: Tensor) -> Tensor:
        """(n, channels, S, S) -> (n, hidden), none below zero."""
        x = self.blocks((x - self.mean) / self.std)
        return F.relu(self.hidden(self.pool(x).flatten(1)))

    def logits(self, features: Tensor) -> Tensor:
        """(n, hidden) -> (n, n_classes)."""
        out: Tensor = self.classifier(self.dropout(features))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, S, S) -> (n, n_classes)."""
        return self.logits(self.features(x))


def _block(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        # A bias before batch norm would be subtracted again.
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class LinearHead(Network):
    """Multinomial logistic regression on standardised features: float (n, dim) in, logits (n, n_classes) out."""

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(dim, n_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        self.register_buffer("mean", torch.zeros(1, dim))
        self.register_buffer("std", torch.ones(1, dim))

    def features(self, x: Tensor) -> Tensor:
        """``x`` itself: the backbone made the features."""
        return x

    def logits(self, features: Tensor) -> Tensor:
        """(n, dim) -> (n, n_classes)."""
        out: Tensor = self.classifier((features - self.mean) / self.std)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(n, dim) -> (n, n_classes)."""
        return self.logits(x)


def to_input(pixels: Tensor) -> Tensor:
    """Stored pixels, uint8 (n, S, S, C), as what networks take: float32 (n, C, S, S) from 0 to 1."""
    return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
