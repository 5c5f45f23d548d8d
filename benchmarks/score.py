"""Scoring throughput: images per second through what a scorer does to a shard, on a GPU where there is one.

From stored pixels to features or probabilities in the machine's memory. The limit is the same network's forward pass
over a batch that already lies on the device as floats. Before it, once per image ever, comes reading JPEGs into pixels:
on as many threads as a scorer uses, beside one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from benchmarks.report import Row, best_of
from shared.imaging import to_pixels
from shared.learning.archs import build_trunk
from shared.learning.backbones import Backbone
from shared.learning.config import LearnConfig
from shared.learning.model import Model, build_network, pick_device
from shared.learning.networks import to_input
from shared.learning.predict import embed, predict

CLASSES = 10


def run() -> list[Row]:
    device = pick_device(None)
    large = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if large else f"{os.cpu_count()} CPU cores"
    rows = [_reading(2_000 if large else 500)]
    for arch, size, images in (("mobilenet_v2", 160, 256), ("resnet50", 224, 64)):
        backbone = Backbone(build_trunk(arch, None), f"{arch}-random").to(device)
        x = _pixels(images * (32 if large else 1), size)
        ours = _rate(len(x), partial(embed, backbone, x, device=device))
        rows.append(_row(f"{arch}, {size} px, {where}", "features", ours, _bare(backbone, x, 32, device)))
    config = LearnConfig(arch="cnn", image_size=32)
    model = Model(spec=config.spec(CLASSES), networks=(build_network(config.spec(CLASSES)),))
    x = _pixels(100_000 if large else 4_000, config.image_size)
    ours = _rate(len(x), partial(predict, model, x, device=device))
    bare = _bare(model.network.to(device).eval(), x, 256, device)
    return [*rows, _row(f"cnn, 32 px, {where}", "probabilities and features", ours, bare)]


def _row(case: str, metric: str, ours: float, bare: float) -> Row:
    return Row(case=case, metric=metric, value=ours, unit="images/s", better="higher", limit=bare)


def _bare(network: Callable[[Tensor], Tensor], x: npt.NDArray[np.uint8], batch: int, device: torch.device) -> float:
    ready = to_input(torch.from_numpy(x[:batch])).to(device)

    def over() -> None:
        with torch.inference_mode():
            for _ in range(len(x) // batch):
                network(ready)

    return _rate(len(x) // batch * batch, over)


def _reading(images: int) -> Row:
    photograph = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(photograph).resize((640, 480), Image.Resampling.BICUBIC).save(out, "JPEG")
    held = [out.getvalue()] * images
    threads = max(2, os.cpu_count() or 1)

    def read(data: bytes) -> npt.NDArray[np.uint8]:
        return to_pixels(data, size=224, channels=3)

    def together() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(read, held))

    return Row(
        case=f"JPEG of 640 x 480 to 224 px, {threads} threads",
        metric="reading",
        value=_rate(images, together),
        unit="images/s",
        better="higher",
        peer=_rate(images, lambda: [read(data) for data in held]),
        peer_name="one thread",
    )


def _pixels(images: int, size: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)


def _rate(images: int, call: Callable[[], object]) -> float:
    """The best of several turns after one that doesn't count: the first chooses kernels."""

    def whole() -> None:
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    whole()
    return images / best_of(whole)
