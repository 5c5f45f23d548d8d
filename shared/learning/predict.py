"""Using models: probabilities and features of many images, in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.errors import Invalid
from shared.learning.backbones import Backbone
from shared.learning.config import HEAD
from shared.learning.model import Model, pick_device
from shared.learning.networks import Network, to_input

__all__ = ["embed", "pick_device", "predict"]

Floats = npt.NDArray[np.float32]


def predict(
    model: Model, x: npt.NDArray[Any], *, batch_size: int = 256, device: torch.device | str = "cpu"
) -> tuple[Floats, Floats]:
    """Probabilities, float32 (n, n_classes), and features, float32 (n, D), of ``n`` images.

    ``x`` is uint8 (n, S, S, C) pixels, or for a head also the float32 (n, D) features of its backbone. The features
    of a head are those of the backbone. Raises ``Invalid`` when ``x`` is not what the model takes.
    """
    network = model.network.to(device).eval()
    if model.config.mode == HEAD and x.dtype == np.uint8:
        if model.backbone is None:
            raise Invalid("this head was loaded without its backbone, so it takes features, not pixels")
        x = embed(model.backbone, x, batch_size=batch_size, device=device)
    _check(model, x)

    def both(batch: Tensor) -> tuple[Tensor, Tensor]:
        features = network.features(batch)
        return network.logits(features).softmax(dim=1), features

    probabilities, features = _in_batches(both, x, batch_size, device)
    return probabilities.numpy(), features.numpy()


def embed(
    backbone: Backbone,
    pixels: npt.NDArray[np.uint8],
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> Floats:
    """Features, float32 (n, backbone.dim), of pixels, uint8 (n, S, S, 1 or 3)."""
    backbone = backbone.to(device)
    (features,) = _in_batches(lambda batch: (backbone(batch),), pixels, batch_size, device)
    return features.numpy()


def raw_logits(network: Network, x: npt.NDArray[Any], device: torch.device, batch_size: int = 256) -> Tensor:
    """Logits on the CPU, float32 (n, n_classes), of whatever the network takes."""
    (logits,) = _in_batches(lambda batch: (network(batch),), x, batch_size, device)
    return logits


def _check(model: Model, x: npt.NDArray[Any]) -> None:
    if model.config.mode == HEAD:
        dim = model.network.mean.shape[1]
        if x.ndim != 2 or x.shape[1] != dim:
            raise Invalid(f"this head takes features of {dim} numbers, not an array of shape {x.shape}")
        return
    wanted = (model.config.image_size, model.config.image_size, model.config.channels)
    if x.dtype != np.uint8 or x.shape[1:] != wanted:
        raise Invalid(f"this model takes uint8 pixels of shape (n, {wanted}), not {x.dtype} of shape {x.shape}")


def _in_batches(
    compute: Callable[[Tensor], tuple[Tensor, ...]],
    x: npt.NDArray[Any],
    batch_size: int,
    device: torch.device | str,
) -> tuple[Tensor, ...]:
    """Run ``compute`` over ``x`` and join its results, float32 on the CPU. One empty batch tells the shapes of none."""
    parts = []
    with torch.inference_mode():
        for start in range(0, max(len(x), 1), batch_size):
            # A copy: arrays read straight from a store may be read-only, which torch can't share.
            batch = torch.tensor(x[start : start + batch_size], device=device)
            ready = to_input(batch) if batch.dtype == torch.uint8 else batch
            parts.append([result.float().cpu() for result in compute(ready)])
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
