"""A trained network together with what is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shared.errors import Permanent
from shared.learning.backbones import Backbone
from shared.learning.config import CNNS, NetworkSpec
from shared.learning.networks import LinearHead, MlpHead, Network, build_cnn
from shared.learning.transfer import build_transfer


@dataclass(frozen=True, kw_only=True)
class Model:
    """``networks`` are the members of a committee, mostly one; what the model says is the mean of what they say.

    ``backbone_id`` names the weights whose features a head was fitted on; ``backbone`` is needed to predict from pixels
    with it. ``mc_dropout``: passes with dropout that ``predict_members`` makes of each member.
    """

    spec: NetworkSpec
    networks: tuple[Network, ...]
    backbone_id: str | None = None
    backbone: Backbone | None = None
    mc_dropout: int = 0

    @property
    def network(self) -> Network:
        """The first member: the one whose features are used."""
        return self.networks[0]

    @property
    def n_classes(self) -> int:
        return self.spec.n_classes


def build_network(spec: NetworkSpec, pretrained: bytes | None = None) -> Network:
    """An untrained network as ``spec`` describes it; ``pretrained`` is a weights file for ``finetune``.

    Raises ``Invalid`` for an unknown architecture, ``Permanent`` for weights that are not its own.
    """
    if spec.reads_features:
        if spec.head == "mlp":
            return MlpHead(spec.dim, spec.n_classes, dropout=spec.dropout)
        return LinearHead(spec.dim, spec.n_classes)
    if spec.arch in CNNS:
        return build_cnn(spec.arch, spec.n_classes, spec.image_size, spec.channels, spec.batch_norm, spec.dropout)
    return build_transfer(
        spec.arch, spec.n_classes, image_size=spec.image_size, dropout=spec.dropout, weights=pretrained
    )


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


def use_threads(number: int) -> None:
    """Let torch compute on so many cores in this process from now on."""
    torch.set_num_threads(number)


def usable_gpus() -> list[str]:
    """The names of the GPUs that PyTorch can use; none if the driver is too old for it."""
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_properties(index).name for index in range(torch.cuda.device_count())]
