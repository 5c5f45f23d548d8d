"""Checkpoints: ``model.safetensors`` holds the tensors, ``checkpoint.json`` what they mean.

A checkpoint is only parsed after the SHA-256 of its bytes matches the one that the database holds. Of a head only
the head is stored, with the identity of the backbone whose features it reads. The tensors of a committee's further
members have ``members.<number>.`` before their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from shared.errors import Invalid, Permanent
from shared.learning.backbones import Backbone
from shared.learning.config import LearnConfig, NetworkSpec
from shared.learning.model import Model, build_network
from shared.learning.networks import Network

FORMAT = 2
"""1: described by its training's settings, not calibrated; still read."""


def to_bytes(model: Model) -> bytes:
    """The model's tensors as safetensors; the same model gives the same bytes."""
    tensors = {}
    for number, network in enumerate(model.networks):
        prefix = f"members.{number}." if number else ""
        for name, tensor in network.state_dict().items():
            tensors[prefix + name] = tensor.detach().cpu().contiguous().clone()
    return save(tensors)


def manifest(
    model: Model,
    model_bytes: bytes,
    *,
    config: LearnConfig,
    classes: Sequence[tuple[int, str]],
    data_version: str,
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``checkpoint.json`` says.

    Parameters
    ----------
    config : the settings that it was trained with; what they left open is in ``metrics``, as ``recipe``.
    classes : (class id, name) in the order of the model's columns.
    data_version : see the function of that name.
    metrics : what ``metrics.evaluate`` measured on the holdout; empty where there is none.
    """
    if len(classes) != model.n_classes:
        raise Invalid(f"the model has {model.n_classes} columns but {len(classes)} classes were named")
    spec = model.spec
    return {
        "format": FORMAT,
        "arch": spec.arch,
        "network": spec.to_dict(),
        "members": len(model.networks),
        "mc_dropout": model.mc_dropout,
        "config": config.to_dict(),
        "classes": [{"id": int(class_id), "name": name} for class_id, name in classes],
        "preprocessing": {
            "size": spec.image_size,
            "channels": spec.channels,
            "resize": "whole image squashed to a square, antialiased bilinear",
            "scale": "0 to 1; standardised inside the model",
        },
        "backbone": None if model.backbone_id is None else {"id": model.backbone_id},
        "data_version": data_version,
        "metrics": dict(metrics),
        "sha256": hashlib.sha256(model_bytes).hexdigest(),
        "winnow_version": version("winnow"),
        "torch_version": torch.__version__,
    }


def from_bytes(
    model_bytes: bytes,
    manifest: Mapping[str, Any],
    *,
    expected_sha256: str,
    backbone: Backbone | None = None,
    device: torch.device | str = "cpu",
) -> Model:
    """The model of a checkpoint, ready to predict.

    ``backbone`` is only needed to predict from pixels with a head. Raises ``Permanent`` when the bytes are not those
    that were written, when the manifest doesn't describe them, or when the backbone is not the one trained on.
    """
    actual = hashlib.sha256(model_bytes).hexdigest()
    if actual != expected_sha256 or manifest.get("sha256") != expected_sha256:
        raise Permanent(f"the checkpoint is not the one that was written: {actual} instead of {expected_sha256}")
    if manifest.get("format") not in (1, FORMAT):
        raise Permanent(
            f"the checkpoint has format {manifest.get('format')}; this version of Winnow reads 1 to {FORMAT}"
        )
    try:
        backbone_id = None if manifest["backbone"] is None else str(manifest["backbone"]["id"])
        tensors = load(model_bytes)
        spec = (
            NetworkSpec.from_dict(manifest["network"]) if manifest["format"] == FORMAT else _spec_1(manifest, tensors)
        )
        networks = [_filled(spec, tensors, number) for number in range(manifest.get("members", 1))]
        if spec.n_classes != len(manifest["classes"]):
            raise Invalid(f"the network has {spec.n_classes} columns, but {len(manifest['classes'])} classes are named")
        mc_dropout = int(manifest.get("mc_dropout", 0))
    except (KeyError, TypeError, IndexError, RuntimeError, Invalid, safetensors.SafetensorError) as error:
        raise Permanent(f"the checkpoint's manifest and its tensors don't fit each other: {error}") from error
    for network in networks:
        network.to(device).eval().requires_grad_(False)
    model = Model(spec=spec, networks=tuple(networks), backbone_id=backbone_id, mc_dropout=mc_dropout)
    return model if backbone is None else _with_backbone(model, backbone)


def _spec_1(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> NetworkSpec:
    """The network of a checkpoint of format 1."""
    config = manifest["config"]
    dim = tensors["mean"].shape[1] if config["mode"] == "head" else 0
    known = {name: config[name] for name in ("arch", "mode", "image_size", "channels", "batch_norm", "dropout")}
    return NetworkSpec(n_classes=len(manifest["classes"]), dim=dim, **known)


def _filled(spec: NetworkSpec, tensors: Mapping[str, Tensor], number: int) -> Network:
    prefix = f"members.{number}."
    if number:
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    else:
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith("members.")}
    network = build_network(spec)
    new = {"temperature": torch.ones(()), "power": torch.ones(())}  # format 1 has neither
    defaults = {name: value for name, value in new.items() if name in network.state_dict()}
    network.load_state_dict(defaults | own, strict=True)
    return network


def _with_backbone(model: Model, backbone: Backbone) -> Model:
    if model.backbone_id != backbone.id:
        raise Permanent(f"the checkpoint was trained on the backbone {model.backbone_id}, not on {backbone.id}")
    return replace(model, backbone=backbone)


def data_version(image_ids: Sequence[int], class_ids: Sequence[int]) -> str:
    """Digest of the (image, class) pairs that a model is trained on, whatever their order: 64 hex digits."""
    pairs = np.stack([np.asarray(image_ids, dtype="<i8"), np.asarray(class_ids, dtype="<i8")], axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return hashlib.sha256(np.ascontiguousarray(pairs[order]).tobytes()).hexdigest()
