"""Using models: probabilities and features of many images, in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared.errors import Invalid, Permanent
from shared.learning.backbones import Backbone
from shared.learning.model import Model, pick_device
from shared.learning.networks import Network, to_input

__all__ = ["Scores", "embed", "pick_device", "predict", "predict_members"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a model says of ``n`` images, float32 throughout.

    probabilities : (n, n_classes), the mean over the members and calibrated.
    features : (n, D); a head's are those of its backbone.
    members : (n, M, n_classes), what each of M members says, or each pass with dropout; None where there is one.
    """

    probabilities: Floats
    features: Floats
    members: Floats | None


def predict(
    model: Model, x: npt.NDArray[Any], *, batch_size: int = 256, device: torch.device | str = "cpu"
) -> tuple[Floats, Floats]:
    """Probabilities, float32 (n, n_classes), and features, float32 (n, D), of ``n`` images.

    ``x`` is uint8 (n, S, S, C) pixels, or for a head also the float32 (n, D) features of its backbone. The features
    of a head are those of the backbone. Raises ``Invalid`` when ``x`` is not what the model takes.
    """
    scores = _scores(model, x, batch_size, device, passes=0, seed=0)
    return scores.probabilities, scores.features


def predict_members(
    model: Model, x: npt.NDArray[Any], *, batch_size: int = 256, device: torch.device | str = "cpu", seed: int = 0
) -> Scores:
    """As ``predict``, and what each member of the committee says, or each pass with dropout.

    With ``model.mc_dropout`` passes the members are samples of dropout in the layers after the features (Gal and
    Ghahramani 2016), the same for the same ``seed`` and batch size; the probabilities stay those without dropout.
    """
    return _scores(model, x, batch_size, device, passes=model.mc_dropout, seed=seed)


def _scores(
    model: Model, x: npt.NDArray[Any], batch_size: int, device: torch.device | str, *, passes: int, seed: int
) -> Scores:
    networks = [network.to(device).eval() for network in model.networks]
    if model.spec.reads_features and x.dtype == np.uint8:
        if model.backbone is None:
            raise Invalid("this head was loaded without its backbone, so it takes features, not pixels")
        x = embed(model.backbone, x, batch_size=batch_size, device=device)
    _check(model, x)

    def said(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = [network.features(batch) for network in networks]
        plain = torch.stack([n.probabilities(f) for n, f in zip(networks, features, strict=True)], dim=1)
        if not passes:
            return plain.mean(dim=1), features[0], plain
        for network in networks:
            network.train()  # the features are made: what follows them are linear layers and dropout
        try:
            drawn = [n.probabilities(f) for n, f in zip(networks, features, strict=True) for _ in range(passes)]
        finally:
            for network in networks:
                network.eval()
        return plain.mean(dim=1), features[0], torch.stack(drawn, dim=1)

    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(seed)
        probabilities, features, members = _in_batches(said, x, batch_size, device)
    several = members.shape[1] > 1
    return Scores(
        probabilities=probabilities.numpy(),
        features=features.numpy(),
        members=members.numpy() if several else None,
    )


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
    spec = model.spec
    if spec.reads_features:
        if x.ndim != 2 or x.shape[1] != spec.dim:
            raise Invalid(f"this head takes features of {spec.dim} numbers, not an array of shape {x.shape}")
        return
    wanted = (spec.image_size, spec.image_size, spec.channels)
    if x.dtype != np.uint8 or x.shape[1:] != wanted:
        raise Invalid(f"this model takes uint8 pixels of shape (n, {wanted}), not {x.dtype} of shape {x.shape}")


def _in_batches(
    compute: Callable[[Tensor], tuple[Tensor, ...]],
    x: npt.NDArray[Any],
    batch_size: int,
    device: torch.device | str,
) -> tuple[Tensor, ...]:
    """Run ``compute`` over ``x`` and join its results, float32 on the CPU. One empty batch tells the shapes of none.

    Batches are halved where the device has no room for them. Raises ``Permanent`` if it has none for one image.
    """
    parts: list[list[Tensor]] = []
    start = 0
    with torch.inference_mode():
        while start < len(x) or not parts:
            try:
                parts.append(_on(device, compute, x[start : start + batch_size]))
            except torch.OutOfMemoryError as error:
                batch_size = _half(min(batch_size, len(x)), error)
                continue
            start += batch_size
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _on(
    device: torch.device | str, compute: Callable[[Tensor], tuple[Tensor, ...]], x: npt.NDArray[Any]
) -> list[Tensor]:
    # A copy: arrays read straight from a store may be read-only, which torch can't share.
    batch = torch.tensor(x, device=device)
    return [result.float().cpu() for result in compute(to_input(batch) if batch.dtype == torch.uint8 else batch)]


def _half(batch_size: int, error: torch.OutOfMemoryError) -> int:
    if batch_size < 2:
        raise Permanent("the device's memory does not suffice for one image: lower image_size") from error
    torch.cuda.empty_cache()
    return batch_size // 2
