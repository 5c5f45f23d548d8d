"""torchvision's classification networks: what is known of each, and each without its classifier."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from shared.errors import Invalid
from shared.learning.trunks import ArchInfo, Trunk, fill, read_state, renamed

FAMILY = "torchvision"
WITH_AUX = ("googlenet", "inception_v3")
"""Published with auxiliary classifiers and trained on input scaled otherwise, which torchvision undoes inside."""

_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
_AUX_KEY = re.compile(r"(AuxLogits|aux1|aux2)\.")


def names() -> list[str]:
    """The names of torchvision's classification networks."""
    return list(models.list_models(module=models))


@cache
def info(arch: str) -> ArchInfo:
    """What torchvision says of ``arch`` and of its default weights, and the width of what feeds its last layer."""
    weights = models.get_model_weights(arch).DEFAULT
    preprocessing = weights.transforms()
    with Weightless():
        last = _last_layer(_network(arch, None))[1]
    size = int(preprocessing.crop_size[0])
    fixed = size if arch.startswith(("vit_", "maxvit_")) else None
    return ArchInfo(
        name=arch,
        family=FAMILY,
        parameters=int(weights.meta["num_params"]),
        feature_size=last.in_channels if isinstance(last, nn.Conv2d) else last.in_features,
        input_size=size,
        min_size=fixed or int(min(weights.meta["min_size"])),
        fixed_size=fixed,
        mean=tuple(preprocessing.mean),
        std=tuple(preprocessing.std),
        weights_url=str(weights.url),
    )


def trunk(arch: str, weights: bytes | None, image_size: int | None) -> Trunk:
    """``arch`` without its classifier, filled from the bytes of a state-dict file as torchvision publishes them.

    ``weights`` None: random. ``image_size`` None: the size that the weights are bound to, if they are; else a vision
    transformer's position table is interpolated to ``image_size``, as in Dosovitskiy et al., "An Image is Worth 16x16
    Words" (2021), section 3.2. Raises ``Invalid`` for a size that it can't take, ``Permanent`` when the bytes are no
    state dict of it.
    """
    known = info(arch)
    state = None if weights is None else _as_of_today(read_state(arch, weights))
    if arch.startswith("vit_"):
        known, state = _bound(known, state, image_size)
    elif image_size is not None:
        known.check_size(image_size)
    network = _network(arch, known.fixed_size, initialise=state is None)
    if state is not None:
        fill(arch, network, state)
    return Trunk(net=_without_classifier(network), info=known)


def _network(arch: str, fixed_size: int | None, initialise: bool = False) -> nn.Module:
    options: dict[str, Any] = {}
    if arch in WITH_AUX:
        options = {"aux_logits": False, "transform_input": True, "init_weights": initialise}
    elif arch.startswith("vit_") and fixed_size:
        options = {"image_size": fixed_size}
    network: nn.Module = models.get_model(arch, weights=None, **options)
    return network


def _as_of_today(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename ``norm.1`` to ``norm1``, as torchvision's DenseNet files are older than its DenseNet; drop aux heads."""
    return renamed(state, {key: _OLD_DENSENET_KEY.sub(r"\1", key) for key in state if not _AUX_KEY.match(key)})


def _bound(
    known: ArchInfo, state: dict[str, Tensor] | None, image_size: int | None
) -> tuple[ArchInfo, dict[str, Tensor] | None]:
    """A vision transformer's facts and weights at the one size that it will take."""
    patch = int(known.name.rpartition("_")[2])
    size = known.fixed_size
    if state is not None and "encoder.pos_embedding" in state:
        size = patch * math.isqrt(state["encoder.pos_embedding"].shape[1] - 1)
    if image_size is not None and image_size != size:
        if image_size < patch or image_size % patch:
            raise Invalid(f"{known.name} takes images of a multiple of {patch} pixels; image_size is {image_size}")
        if state is not None and "encoder.pos_embedding" in state:
            state = interpolate_embeddings(image_size, patch, state)
        size = image_size
    return replace(known, min_size=size or known.min_size, fixed_size=size), state


def _last_layer(network: nn.Module) -> tuple[str, Any]:
    """The classifying layer and its name: the last that is linear, or SqueezeNet's last convolution."""
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return found[-1]


def _without_classifier(network: nn.Module) -> nn.Module:
    """Replace the classifying layer, and the dropout before it, by the identity: the network returns what fed it."""
    last_name, last = _last_layer(network)
    if isinstance(last, nn.Conv2d):
        # SqueezeNet classifies every position and averages afterwards; without classes only the average is left.
        network.classifier = nn.AdaptiveAvgPool2d(1)
        return network
    modules = list(network.named_modules())
    for name, module in reversed(modules[: [name for name, _ in modules].index(last_name)]):
        if isinstance(module, nn.Dropout):
            network.set_submodule(name, nn.Identity())
        elif next(module.parameters(recurse=False), None) is not None:
            break
    network.set_submodule(last_name, nn.Identity())
    return network


class Weightless(TorchFunctionMode):
    """What ``torch.empty`` makes has a shape and no memory, so that the largest network is built at once.

    Not the meta device for all: RegNet computes its widths with tensors.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        return func(*args, **options)
