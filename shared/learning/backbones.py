"""Frozen feature extractors: any torchvision classification architecture without its last layer.

Nothing is downloaded here: weights come in as the bytes of a state-dict file, as torchvision publishes them, and
``weights_url`` only says where that is.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import re
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from shared.errors import Invalid, Permanent

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WITH_AUX = ("googlenet", "inception_v3")
"""Published with auxiliary classifiers and trained on input scaled otherwise, which torchvision undoes inside."""

_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")


def names() -> list[str]:
    """The architectures that can be a backbone."""
    return list(models.list_models(module=models))


def weights_url(arch: str) -> str:
    """Where torchvision publishes the default weights of ``arch``. Raises ``Invalid`` for an unknown one."""
    return str(_default_weights(arch).url)


def default_size(arch: str) -> int:
    """Side in pixels of the square images that the default weights were evaluated on. Raises ``Invalid``."""
    return int(_default_weights(arch).transforms().crop_size[0])


def _default_weights(arch: str) -> Any:
    if arch not in names():
        raise Invalid(f"unknown arch {arch!r}; known are cnn and {', '.join(names())}")
    return models.get_model_weights(arch).DEFAULT


class Backbone(nn.Module):
    """Penultimate features of a pretrained network. Never trained: its batch norms stay in evaluation mode.

    Attributes
    ----------
    id : ``<arch>-<first 12 hex digits of the SHA-256 of the weights file>``.
    dim : width D of the features.
    min_size : the smallest image side that it takes.
    fixed_size : the only image side that it takes, or None where any from ``min_size`` will do.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, arch: str, trunk: nn.Module, weights_id: str, fixed_size: int | None) -> None:
        super().__init__()
        self.arch = arch
        self.id = weights_id
        self.trunk = trunk
        self.fixed_size = fixed_size
        self.min_size = int(min(_default_weights(arch).meta["min_size"])) if fixed_size is None else fixed_size
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()
        size = fixed_size or default_size(arch)
        with torch.inference_mode():
            self.dim = int(self(torch.zeros(1, 3, size, size)).shape[1])

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode, whatever a training loop asks of the modules it holds."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """float (n, 1 or 3, S, S) from 0 to 1 -> float (n, dim). Grey images are taken as three equal channels.

        Raises ``Invalid`` for a side S that the architecture can't take.
        """
        size = x.shape[-1]
        if size < self.min_size or size != (self.fixed_size or size):
            wanted = f"exactly {self.fixed_size}" if self.fixed_size else f"at least {self.min_size}"
            raise Invalid(f"{self.arch} takes images of {wanted} pixels; image_size is {size}")
        features: Tensor = self.trunk((x.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return features.flatten(1)


def load(arch: str, weights: bytes, device: torch.device | str = "cpu") -> Backbone:
    """Build ``arch``, fill it from the bytes of a state-dict file and take its classifier off.

    Raises ``Invalid`` for an unknown arch, ``Permanent`` when the bytes are no state dict of it.
    """
    _default_weights(arch)
    state = _read_state(arch, weights)
    fixed_size = _fixed_size(arch, state)
    network = models.get_model(arch, weights=None, **_build_options(arch, fixed_size))
    _fill(arch, network, state)
    weights_id = f"{arch}-{hashlib.sha256(weights).hexdigest()[:12]}"
    return Backbone(arch, _without_classifier(network), weights_id, fixed_size).to(device)


def _read_state(arch: str, weights: bytes) -> dict[str, Tensor]:
    try:
        # weights_only: a pickle may run code, and these bytes come from wherever the operator found them.
        state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise Permanent(f"the weights file for {arch} is not a PyTorch state dict: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise Permanent(f"the weights file for {arch} holds no state dict of tensors")
    return _modern_keys(state)


def _modern_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename ``norm.1`` to ``norm1``: torchvision's DenseNet files are older than its DenseNet."""
    renamed = OrderedDict((_OLD_DENSENET_KEY.sub(r"\1", key), value) for key, value in state.items())
    # Some architectures (MNASNet) look up here which version of themselves was saved.
    renamed._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]
    return renamed


def _fixed_size(arch: str, state: dict[str, Tensor]) -> int | None:
    """The image side that the weights are bound to: transformers hold a position table of that many tokens."""
    if arch.startswith("maxvit_"):
        return default_size(arch)
    if not arch.startswith("vit_") or "encoder.pos_embedding" not in state or "conv_proj.weight" not in state:
        return None
    tokens_but_class = state["encoder.pos_embedding"].shape[1] - 1
    return math.isqrt(tokens_but_class) * int(state["conv_proj.weight"].shape[-1])


def _build_options(arch: str, fixed_size: int | None) -> dict[str, Any]:
    if arch in WITH_AUX:
        return {"aux_logits": True, "transform_input": True, "init_weights": False}
    return {"image_size": fixed_size} if arch.startswith("vit_") and fixed_size else {}


def _fill(arch: str, network: nn.Module, state: dict[str, Tensor]) -> None:
    expected = network.state_dict()
    # Files older than PyTorch 0.4.1 lack this counter, which evaluation never reads.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    wrong = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if missing or unexpected or wrong:
        parts = [
            f"{len(keys)} {what} (such as {keys[0]})"
            for keys, what in ((missing, "missing"), (unexpected, "unknown"), (wrong, "of another shape"))
            if keys
        ]
        raise Permanent(f"the weights file is not one of torchvision's {arch}: {', '.join(parts)}")
    try:
        network.load_state_dict(state, strict=False)
    except (ValueError, RuntimeError) as error:
        raise Permanent(f"the weights file is not one that torchvision's {arch} can read: {error}") from error


def _without_classifier(network: nn.Module) -> nn.Module:
    """Replace the last classifying layer by the identity, so that the network returns what fed it."""
    last_name = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if isinstance(network.get_submodule(last_name), nn.Conv2d):
        # SqueezeNet classifies every position and averages afterwards; without classes only the average is left.
        network.classifier = nn.AdaptiveAvgPool2d(1)
        return network
    parent, _, child = last_name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network
