"""Frozen feature extractors: any pretrained architecture without its last layer, see ``shared.learning.archs``."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from shared.learning.archs import build_trunk
from shared.learning.trunks import Trunk, penultimate


class Backbone(nn.Module):
    """Penultimate features of a pretrained network. Never trained: its batch norms stay in evaluation mode.

    Attributes
    ----------
    id : ``<arch>-<first 12 hex digits of the SHA-256 of the weights file>``, with ``-`` for the ``/`` of timm's names.
    dim : width D of the features.
    min_size : the smallest image side that it takes.
    fixed_size : the only image side that it takes, or None where any from ``min_size`` will do.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: Trunk, weights_id: str) -> None:
        super().__init__()
        self.arch = trunk.info.name
        self.id = weights_id
        self.info = trunk.info
        self.trunk = trunk.net
        self.dim = trunk.info.feature_size
        self.min_size = trunk.info.min_size
        self.fixed_size = trunk.info.fixed_size
        mean, std = trunk.constants()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode, whatever a training loop asks of the modules it holds."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """float (n, 1 or 3, S, S) from 0 to 1 -> float (n, dim). Grey images are taken as three equal channels.

        Raises ``Invalid`` for a side S that the architecture can't take.
        """
        return penultimate(self.trunk, self.info, x, self.mean, self.std)


def load(arch: str, weights: bytes, device: torch.device | str = "cpu") -> Backbone:
    """Build ``arch``, fill it from the bytes of a weights file and take its classifier off.

    Raises ``Invalid`` for an unknown arch, ``Permanent`` when the bytes are no weights of it.
    """
    trunk = build_trunk(arch, weights)
    weights_id = f"{arch.replace('/', '-')}-{hashlib.sha256(weights).hexdigest()[:12]}"
    return Backbone(trunk, weights_id).to(device)
