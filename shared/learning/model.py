"""A trained network together with what is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shared.errors import Permanent
from shared.learning.backbones import Backbone
from shared.learning.config import SCRATCH, LearnConfig
from shared.learning.networks import Cnn, CnnConfig, LinearHead, Network


@dataclass(frozen=True, kw_only=True)
class Model:
    """``backbone_id`` names the weights that a head was fitted on; ``backbone`` is needed to predict from pixels."""

    config: LearnConfig
    n_classes: int
    network: Network
    backbone_id: str | None = None
    backbone: Backbone | None = None


def build_network(config: LearnConfig, n_classes: int, dim: int) -> Network:
    """An untrained network of the shape that ``config`` asks for; ``dim`` is the width of a head's features."""
    if config.mode == SCRATCH:
        return Cnn(
            CnnConfig(
                n_classes=n_classes,
                image_size=config.image_size,
                channels=config.channels,
                batch_norm=config.batch_norm,
                dropout=config.dropout,
            )
        )
    return LinearHead(dim, n_classes)


def pick_device(name: str | None) -> torch.device:
    """The named device, or without a name CUDA where it is there and the CPU elsewhere.

    Raises ``Permanent`` for a device that is not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise Permanent(f"the device {name!r} was asked for, but it can't be used here: {reason}") from error
    return device


def usable_gpus() -> list[str]:
    """The names of the GPUs that PyTorch can use; none if the driver is too old for it."""
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_properties(index).name for index in range(torch.cuda.device_count())]
