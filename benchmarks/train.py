"""Training throughput: images per second through the loop that the trainer runs, from stored bytes to updated weights.

The limit is a bare loop of forward pass, backward pass and AdamW step over a batch that already lies on the device as
floats: the same network and batch size, in the same arithmetic, nothing to prepare. The peer is the common way to do
it, a DataLoader whose workers change each image with torchvision's transforms. All three in one run, on a GPU where
there is one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.report import Row
from shared.learning.config import LearnConfig
from shared.learning.loop import Examples, Surroundings, train_network
from shared.learning.model import build_network, pick_device
from shared.learning.networks import to_input
from shared.learning.recipe import PHOTOS, Recipe, choose, overridden
from shared.learning.train import seeded

CLASSES = 10
TURNS = 3


def run() -> list[Row]:
    device = pick_device(None)
    large = device.type == "cuda"
    cases = [("cnn", "scratch", 32, 50_000 if large else 2_000, 256 if large else 64)]
    cases.append(
        ("resnet18" if large else "mobilenet_v2", "finetune", 224 if large else 96, 4_000 if large else 256, 64)
    )
    return [_case(*case, device=device) for case in cases]


def _case(arch: str, mode: str, size: int, images: int, batch: int, device: torch.device) -> Row:
    config = LearnConfig(arch=arch, mode=mode, image_size=size)
    recipe = overridden(
        choose(mode, labels=images, kind=PHOTOS), {"epochs": 1, "min_steps": 1, "batch_size": batch, "folds": 0}
    )
    rng = np.random.default_rng(0)
    data = Examples(
        x=rng.integers(0, 256, (images, size, size, 3), dtype=np.uint8),
        y=rng.integers(0, CLASSES, images),
        weight=np.ones(images, np.float32),
        n_classes=CLASSES,
    )
    spec = config.spec(CLASSES)
    ours = _rate(images, lambda: _loop(data, recipe, build_network(spec), device))
    bare = _rate(images, lambda: _bare(data, recipe, build_network(spec), device))
    peer = _rate(images, lambda: _loader(data, recipe, build_network(spec), device))
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} CPU cores"
    return Row(
        case=f"{arch} {mode}, {size} px, batches of {batch}, {where}",
        metric="training",
        value=ours,
        unit="images/s",
        better="higher",
        limit=bare,
        peer=peer,
        peer_name="DataLoader and torchvision transforms",
    )


def _rate(images: int, call: Callable[[], None]) -> float:
    """The best of several turns after one that doesn't count: the first chooses kernels."""
    seconds = []
    for _ in range(TURNS + 1):
        started = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return images / min(seconds[1:])


def _loop(data: Examples, recipe: Recipe, network: nn.Module, device: torch.device) -> None:
    with seeded(0, device):
        train_network(
            network,  # type: ignore[arg-type]
            data,
            recipe,
            run="bench",
            seed=0,
            around=Surroundings(device=device),
            on_epoch=lambda epoch, kept: {},
        )


def _steps(batches: Iterator[tuple[Tensor, Tensor]], network: nn.Module, recipe: Recipe, device: torch.device) -> None:
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    for x, y in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(network(x).float(), y, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _bare(data: Examples, recipe: Recipe, network: nn.Module, device: torch.device) -> None:
    x = to_input(torch.from_numpy(data.x[: recipe.batch_size])).to(device, memory_format=torch.channels_last)
    y = torch.from_numpy(data.y[: recipe.batch_size]).to(device)
    whole, rest = divmod(len(data.y), recipe.batch_size)
    sizes = [recipe.batch_size] * whole + ([rest] if rest else [])
    _steps(((x[:n], y[:n]) for n in sizes), network, recipe, device)


class _Images(Dataset[tuple[Tensor, int]]):
    def __init__(self, data: Examples) -> None:
        self.data = data
        size = data.x.shape[1]
        self.change = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(degrees=5, translate=(0.1, 0.1), scale=(0.85, 1.15)),
                v2.ColorJitter(0.2, 0.2, 0.2),
                v2.ToDtype(torch.float32, scale=True),
                v2.Resize((size, size)),
            ]
        )

    def __len__(self) -> int:
        return len(self.data.y)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(self.data.x[row]).permute(2, 0, 1)
        return self.change(pixels), int(self.data.y[row])


def _loader(data: Examples, recipe: Recipe, network: nn.Module, device: torch.device) -> None:
    workers = min(os.cpu_count() or 1, 8)
    loader = DataLoader(_Images(data), recipe.batch_size, shuffle=True, num_workers=workers)
    _steps(((x.to(device), y.to(device)) for x, y in loader), network, recipe, device)
