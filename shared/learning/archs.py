"""The one list of architectures: Winnow's own CNNs, torchvision's classification networks, and timm's.

timm's are named ``timm/NAME`` and need the extra ``timm``; every other name needs nothing more.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

import torch

from shared.errors import Invalid
from shared.learning import timm_archs, torchvision_archs
from shared.learning.config import CNNS, MIN_IMAGE_SIZE
from shared.learning.networks import build_cnn
from shared.learning.trunks import ArchInfo, Trunk

FAMILY = "winnow"
_CNN_SIZES = {"cnn": 32, "cnn_mnist": 28, "cnn_fruits": 100}
_CLASSES = 10
_ADVICE = "choose one of torchvision's, such as 'mobilenet_v2'"


def names() -> list[str]:
    """Winnow's own names, then torchvision's; ``timm_names`` has the rest."""
    return [*CNNS, *torchvision_archs.names()]


def timm_names() -> list[str]:
    """The ``timm/NAME`` of all networks that timm publishes weights for; none where timm isn't installed."""
    return timm_archs.names() if timm_archs.installed() else []


@cache
def info(arch: str) -> ArchInfo:
    """What is known of ``arch``. Raises ``Invalid`` for an unknown one, or one whose extra isn't installed."""
    if arch in CNNS:
        return _own(arch)
    if arch.startswith(timm_archs.PREFIX):
        return timm_archs.info(arch)
    if arch not in torchvision_archs.names():
        close = get_close_matches(arch, names(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise Invalid(f"unknown arch {arch!r}; {hint}`winnow archs` lists all that there are")
    return torchvision_archs.info(arch)


def all_infos() -> list[ArchInfo]:
    """``info`` of all ``names``, in a few seconds."""
    return [info(arch) for arch in names()]


def build_trunk(arch: str, weights: bytes | None, image_size: int | None = None) -> Trunk:
    """``arch`` without its classifier, filled from the bytes of a weights file; None: with random weights.

    ``image_size`` None: any that the weights take. Raises ``Invalid`` for an unknown arch, one of Winnow's own, or a
    size that it can't take; ``Permanent`` when the bytes are no weights of it.
    """
    if info(arch).family == FAMILY:
        raise Invalid(f"{arch!r} has no published weights and can't be a pretrained network; {_ADVICE}")
    build = timm_archs.trunk if arch.startswith(timm_archs.PREFIX) else torchvision_archs.trunk
    return build(arch, weights, image_size)


def _own(arch: str) -> ArchInfo:
    size = _CNN_SIZES[arch]
    channels = 1 if arch == "cnn_mnist" else 3
    network = build_cnn(arch, _CLASSES, image_size=size, channels=channels).eval()
    with torch.inference_mode():
        features = network.features(torch.zeros(1, channels, size, size))
    return ArchInfo(
        name=arch,
        family=FAMILY,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        feature_size=features.shape[1],
        input_size=size,
        min_size=MIN_IMAGE_SIZE,
        mean=None,
        std=None,
        pretrained=False,
    )
