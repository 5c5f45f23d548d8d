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
DEFAULT_MIN_SIZE = 32
"""The stride of most networks, for those that timm names no least size of."""
_HUB_FILE = "pytorch_model.bin"


def installed() -> bool:
    """Whether the extra is there."""
    return find_spec("timm") is not None


def names() -> list[str]:
    """``timm/NAME`` of every network that timm publishes weights for. Raises ``Invalid`` without the extra."""
    return [PREFIX + name for name in _timm().list_models(pretrained=True)]


@cache
def info(arch: str) -> ArchInfo:
    """What timm's data configuration says of ``timm/NAME``, and the width of its pooled features before the logits.

    Raises ``Invalid`` for a name that timm doesn't know, and without the extra.
    """
    published = _published(arch)
    with torch.device("meta"):
        network, dynamic = _network(arch)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        network.reset_classifier(0)
    size = int(published.input_size[-1])
    fixed = size if published.fixed_input_size and not dynamic else None
    patch = max(network.patch_embed.patch_size) if dynamic else 1
    least = published.min_input_size[-1] if published.min_input_size else patch if dynamic else DEFAULT_MIN_SIZE
    return ArchInfo(
        name=arch,
        family=FAMILY,
        parameters=parameters,
        feature_size=int(getattr(network, "head_hidden_size", None) or network.num_features),
        input_size=size,
        min_size=fixed or int(least),
        fixed_size=fixed,
        multiple_of=int(patch),
        mean=tuple(published.mean),
        std=tuple(published.std),
        pretrained=bool(published.has_weights),
        weights_url=_url(arch, published),
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
        network.pretrained_cfg.pop("state_dict", None)
    network.reset_classifier(0)
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


@cache
def _takes_any_size(name: str) -> bool:
    """Whether timm can let the network's position table follow the image: only some classes have that option."""
    try:
        with torch.device("meta"):
            _timm().create_model(name, dynamic_img_size=True)
    except TypeError:
        return False
    return True


def _url(arch: str, published: Any) -> str | None:
    """``hf://<repository>/<file>`` on the Hugging Face hub, an ordinary address, or None without published weights."""
    if published.hf_hub_id:
        return f"hf://{published.hf_hub_id}/{published.hf_hub_filename or _HUB_FILE}"
    return published.url or None
