"""A pretrained network whose every weight may be trained, for ``finetune``; or one that starts from random weights."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from shared.learning.archs import build_trunk
from shared.learning.networks import Network
from shared.learning.trunks import Trunk, penultimate

TRUNK_STAGES = 4


class Transfer(Network):
    """A trunk, dropout and a linear classifier.

    Input is float (n, 1 or 3, S, S) from 0 to 1. ``mean`` and ``std``, each (1, 3, 1, 1), are those of the images that
    the published weights were trained on, for the trunk's first layer expects them.
    """

    def __init__(self, trunk: Trunk, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.info = trunk.info
        self.trunk = trunk.net
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(trunk.info.feature_size, n_classes)
        mean, std = trunk.constants()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def standardise_with(self, mean: Tensor, std: Tensor) -> None:
        """Replace the published constants, where no published weights are used; one value stands for all channels."""
        super().standardise_with(mean.flatten().expand(3), std.flatten().expand(3))

    def features(self, x: Tensor) -> Tensor:
        """(n, 1 or 3, S, S) -> (n, D). Raises ``Invalid`` for a side S that the architecture can't take."""
        return penultimate(self.trunk, self.info, x, self.mean, self.std)

    def logits(self, features: Tensor) -> Tensor:
        """(n, D) -> (n, n_classes)."""
        out: Tensor = self.classifier(self.dropout(features))
        return out

    def stages(self) -> list[list[nn.Parameter]]:
        """Every parameter once, in groups from the input to the output, the last one the classifier's.

        The trunk is cut into at most four groups with about as many layers each, between its blocks: what lies deeper
        in it is nearer to the published task, and is trained sooner and faster (Howard and Ruder, "Universal Language
        Model Fine-tuning for Text Classification" (2018), sections 3.2 and 3.3).
        """
        total = _layers(self.trunk)
        groups: list[list[nn.Parameter]] = [[] for _ in range(TRUNK_STAGES)]
        passed = 0
        for unit, layers in _units(self.trunk, most=max(1, total // (2 * TRUNK_STAGES))):
            middle = passed + layers / 2
            groups[min(TRUNK_STAGES - 1, int(TRUNK_STAGES * middle / max(1, total)))].extend(unit)
            passed += layers
        return [group for group in groups if group] + [list(self.classifier.parameters())]


def build_transfer(
    arch: str, n_classes: int, *, image_size: int, dropout: float, weights: bytes | None = None
) -> Transfer:
    """``arch`` for ``n_classes`` and images of ``image_size`` pixels, from the bytes of a weights file.

    ``weights`` None: random ones, to train from scratch or to be filled with a checkpoint's state dict. Raises
    ``Invalid`` for an unknown arch or a size that it can't take, ``Permanent`` when the bytes are no weights of it.
    """
    return Transfer(build_trunk(arch, weights, image_size), n_classes, dropout)


def _layers(module: nn.Module) -> int:
    """How many weights it has that are matrices or kernels."""
    return sum(parameter.ndim > 1 for parameter in module.parameters())


def _units(module: nn.Module, most: int) -> Iterator[tuple[list[nn.Parameter], int]]:
    """The parameters of blocks of at most ``most`` layers, in the order of the modules, with their layers."""
    children = list(module.children())
    layers = _layers(module)
    if layers <= most or not children:
        yield list(module.parameters()), layers
        return
    own = list(module.parameters(recurse=False))
    if own:
        yield own, sum(parameter.ndim > 1 for parameter in own)
    for child in children:
        yield from _units(child, most)
