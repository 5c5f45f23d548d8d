"""timm's networks, by ``timm/NAME``: what is known of each, and each without its classifier.

timm is an extra. It is imported where it is used, so that everything else works without it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from shared.errors import Invalid, Permanent
from shared.learning.trunks import ArchInfo, Trunk, read_state

FAMILY = "timm"
PREFIX = "timm/"
SIZES = (32, 64, 96, 128, 192, 256)
"""Tried in this order for the least one that a network takes, since timm doesn't say."""
_HUB_FILE = "pytorch_model.bin"


def installed() -> bool:
    """Whether the extra is there."""
    return find_spec("timm") is not None


def names() -> list[str]:
    """``timm/NAME`` of every network that timm publishes weights for. Raises ``Invalid`` without the extra."""
    return [PREFIX + name for name in _timm().list_models(pretrained=True)]


@cache
def info(arch: str) -> ArchInfo:
    """What timm's data configuration says of ``timm/NAME``, and what a forward pass without numbers finds out.

    Raises ``Invalid`` for a name that timm doesn't know, a network that is no image classifier, and without the extra.
    """
    published = _published(arch)
    with torch.device("meta"):
        network, dynamic = _network(arch)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        _take_classifier_off(arch, network)
    size = int(published.input_size[-1])
    fixed = size if published.fixed_input_size and not dynamic else None
    step = _patch(network) if dynamic else 1
    least, width = _probe(arch, network, [fixed] if fixed else [step, 2 * step] if dynamic else [*SIZES, size])
    if least == size and size not in SIZES:
        fixed = size
    return ArchInfo(
        name=arch,
        family=FAMILY,
        parameters=parameters,
        feature_size=width,
        input_size=size,
        min_size=least,
        fixed_size=fixed,
        multiple_of=step,
        mean=tuple(published.mean),
        std=tuple(published.std),
        pretrained=bool(published.has_weights),
        weights_url=_url(published),
    )


def trunk(arch: str, weights: bytes | None, image_size: int | None) -> Trunk:
    """``timm/NAME`` without its classifier, filled from the bytes of a weights file; None: random weights.

    Raises ``Invalid`` for an unknown name, a size that it can't take, and without the extra; ``Permanent`` when the
    bytes are no weights of it.
    """
    known = info(arch)
    if image_size is not None:
        known.check_size(image_size)
    if weights is None:
        network, _ = _network(arch)
    else:
        state = read_state(arch, weights)
        try:
            # timm renames what older files call otherwise; with its own number of classes every key must fit.
            network, _ = _network(arch, pretrained=True, pretrained_cfg_overlay={"state_dict": state})
        except (RuntimeError, ValueError, KeyError) as error:
            raise Permanent(f"the weights file is not one of timm's {arch.removeprefix(PREFIX)}: {error}") from error
        held: Any = network.pretrained_cfg
        held.pop("state_dict", None)
    _take_classifier_off(arch, network)
    return Trunk(net=network, info=known)


def _timm() -> Any:
    if not installed():
        raise Invalid("architectures named timm/NAME need the extra timm: pip install 'winnow[timm]'")
    import timm

    return timm


def _published(arch: str) -> Any:
    """timm's ``PretrainedCfg``. Raises ``Invalid`` for a name that it doesn't know."""
    timm, name = _timm(), arch.removeprefix(PREFIX)
    try:
        if timm.is_model(name):
            return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise Invalid(f"unknown arch {arch!r}: {error}") from error
    close = timm.list_models(f"*{name.partition('.')[0]}*", pretrained=True)[:5]
    hint = f"; close are {', '.join(PREFIX + one for one in close)}" if close else ""
    raise Invalid(f"unknown arch {arch!r}: timm has no such model{hint}")


def _network(arch: str, **options: Any) -> tuple[nn.Module, bool]:
    """The whole network, and whether it interpolates its position table to the image that it is shown."""
    timm, name = _timm(), arch.removeprefix(PREFIX)
    if _published(arch).fixed_input_size and _takes_any_size(name):
        return timm.create_model(name, dynamic_img_size=True, **options), True
    return timm.create_model(name, **options), False


def _patch(network: Any) -> int:
    """Side in pixels of what a transformer sees as one token, behind the convolutions that a hybrid begins with."""
    embed = network.patch_embed
    return int(max(embed.feat_ratio(as_scalar=False) if hasattr(embed, "feat_ratio") else embed.patch_size))


def _take_classifier_off(arch: str, network: Any) -> None:
    if not hasattr(network, "reset_classifier"):
        raise Invalid(f"{arch} is no image classifier: timm gives it no classifying layer to replace")
    network.reset_classifier(0)


def _probe(arch: str, network: nn.Module, sizes: list[int]) -> tuple[int, int]:
    """The first of ``sizes`` that the network, on the meta device, takes; and the width of its features."""
    network.eval()
    for size in sizes:
        try:
            with torch.inference_mode():
                features = network(torch.zeros(1, 3, size, size, device="meta"))
        except (RuntimeError, AssertionError, ValueError):
            continue
        if features.shape[0] == 1 and features.flatten(1).shape[1] == features.shape[1]:
            return size, int(features.shape[1])
    raise Invalid(f"{arch} can't be used: it makes no one row of features of a colour image of {sizes[-1]} pixels")


@cache
def _takes_any_size(name: str) -> bool:
    """Whether timm can let the network's position table follow the image: only some classes have that option."""
    try:
        with torch.device("meta"):
            _timm().create_model(name, dynamic_img_size=True)
    except TypeError:
        return False
    return True


def _url(published: Any) -> str | None:
    """``hf://<repository>/<file>`` on the Hugging Face hub, an ordinary address, or None without published weights."""
    if published.hf_hub_id:
        return f"hf://{published.hf_hub_id}/{published.hf_hub_filename or _HUB_FILE}"
    return published.url or None
