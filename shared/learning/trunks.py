"""What every pretrained network has in common here, torchvision's or timm's: facts, a trunk, and a file of weights.

A trunk is the network without its last, classifying layer. ``backbones`` freezes one, ``transfer`` trains one. Nothing
is downloaded here: weights come in as the bytes of a file.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from shared.errors import Invalid, Permanent

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Under these keys training scripts keep the weights, in the order in which timm prefers them."""


@dataclass(frozen=True, kw_only=True)
class ArchInfo:
    """What is known of an architecture before it is built with weights.

    Attributes
    ----------
    family : ``winnow``, ``torchvision`` or ``timm``.
    parameters : as published, the layer for the published classes included; of Winnow's own networks with 10 classes.
    feature_size : width D of the penultimate features.
    input_size : side in pixels that suits it: the one its published weights were evaluated on.
    min_size : the smallest side that it takes.
    fixed_size : the only side that the published weights take while they are frozen, or None.
    multiple_of : the side must be a multiple of this.
    mean, std : for each channel, of pixels from 0 to 1; None where they are measured on the training images.
    pretrained : whether weights are published.
    weights_url : where, for ``shared.weights.find_weights``.
    """

    name: str
    family: str
    parameters: int
    feature_size: int
    input_size: int
    min_size: int
    fixed_size: int | None = None
    multiple_of: int = 1
    mean: Triple | None = IMAGENET_MEAN
    std: Triple | None = IMAGENET_STD
    pretrained: bool = True
    weights_url: str | None = None

    def check_size(self, size: int) -> None:
        """Raises ``Invalid`` for a side in pixels that it can't take."""
        if self.fixed_size is not None:
            wanted, fits = f"exactly {self.fixed_size}", size == self.fixed_size
        elif self.multiple_of > 1:
            wanted = f"a multiple of {self.multiple_of}"
            fits = size >= self.min_size and size % self.multiple_of == 0
        else:
            wanted, fits = f"at least {self.min_size}", size >= self.min_size
        if not fits:
            raise Invalid(f"{self.name} takes images of {wanted} pixels; image_size is {size}")


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """``net`` maps normalised float (n, 3, S, S) to (n, D) or (n, D, 1, 1); ``info`` has the sizes that it takes."""

    net: nn.Module
    info: ArchInfo

    def constants(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the published weights' input, each float32 (1, 3, 1, 1)."""
        mean, std = self.info.mean or IMAGENET_MEAN, self.info.std or IMAGENET_STD
        return torch.tensor(mean).reshape(1, 3, 1, 1), torch.tensor(std).reshape(1, 3, 1, 1)


def penultimate(net: nn.Module, info: ArchInfo, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """float (n, 1 or 3, S, S) from 0 to 1 -> (n, D). Grey images are taken as three equal channels.

    Raises ``Invalid`` for a side S that the trunk can't take.
    """
    info.check_size(int(x.shape[-1]))
    features: Tensor = net((x.expand(-1, 3, -1, -1) - mean) / std)
    return features.flatten(1)


def read_state(arch: str, weights: bytes) -> dict[str, Tensor]:
    """The tensors in a file, be it PyTorch's or safetensors. Raises ``Permanent`` for bytes that are neither."""
    try:
        # A safetensors file begins with the length of its header, 8 bytes, and the header, which is JSON.
        if weights[8:9] == b"{":
            return dict(safetensors.torch.load(weights))
        # weights_only: a pickle may run code, and these bytes come from wherever the operator found them.
        state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        safetensors.SafetensorError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        OSError,
    ) as error:
        raise Permanent(f"the weights file for {arch} is not a PyTorch state dict: {error}") from error
    if isinstance(state, dict):
        state = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise Permanent(f"the weights file for {arch} holds no state dict of tensors")
    return state


def renamed(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """``state`` with its keys as in ``names``, and without those that ``names`` lacks."""
    out = OrderedDict((names[key], value) for key, value in state.items() if key in names)
    # Some architectures (MNASNet) look up here which version of themselves was saved.
    out._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]
    return out


def fill(arch: str, network: nn.Module, state: dict[str, Tensor]) -> None:
    """Load ``state`` into ``network``. Raises ``Permanent`` with the difference when it is another network's."""
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
