"""Several processes that train one model together, as ``torchrun`` starts them: one per GPU, on one machine or more.

Every process runs the same code on its share of each batch; gradients and batch-norm statistics are averaged, so the
model is the one that a single process would have trained. Only the first process reports and writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as together
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = timedelta(minutes=10)
"""How long one waits for the others before it takes them for dead."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """``rank`` of ``size`` processes. The default is the one that trains alone."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of ``n`` rows: parts differ by at most one row."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def average(self, network: nn.Module, device: torch.device) -> nn.Module:
        """``network``, made to average its gradients over the processes in every backward pass."""
        if self.size == 1:
            return network
        places = [device] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=places, broadcast_buffers=False)

    def total(self, values: Tensor) -> Tensor:
        """``values`` summed over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agree(self, value: Any) -> Any:
        """What the first process has for ``value``, in all of them. Small things only: it is pickled."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def hand_out(self, array: npt.NDArray[Any] | None, device: torch.device) -> npt.NDArray[Any] | None:
        """The first process's array, in all of them. It travels in pieces, by way of ``device``."""
        if self.size == 1:
            return array
        form = self.agree(None if array is None else (array.shape, array.dtype.str))
        if form is None:
            return None
        shape, dtype = form
        whole = np.array(array) if self.first else np.empty(shape, dtype)
        raw = torch.from_numpy(whole.reshape(-1).view(np.uint8))
        for piece in torch.split(raw, 256 * 2**20):
            moved = piece.to(device)
            dist.broadcast(moved, src=0)
            piece.copy_(moved)
        return whole


ALONE = Group()


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group that ``torchrun`` put this process into, by NCCL on GPUs and gloo elsewhere; else ``ALONE``."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Group(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """``device``, or of several GPUs on this machine the one that is this process's."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def synchronise_norms(network: nn.Module, group: Group, device: torch.device) -> nn.Module:
    """Make batch norms take their statistics over the whole batch and not over each process's share."""
    if group.size == 1:
        return network
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                child.__class__ = _GlooBatchNorm
                assert getattr(parent, name) is child
    return network


class _GlooBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes by plain sums: PyTorch's own, ``SyncBatchNorm``, needs GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims = (0, 2, 3)
        count = torch.full((1,), x.numel() / x.shape[1], dtype=x.dtype)
        sums = together.all_reduce(torch.cat((x.sum(dims), x.square().sum(dims), count)))  # type: ignore[no-untyped-call]
        n, channels = sums[-1], x.shape[1]
        mean, square = sums[:channels] / n, sums[channels:-1] / n
        variance = square - mean.square()
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        shape = (1, -1, 1, 1)
        scale = self.weight * (variance + self.eps).rsqrt()
        out: Tensor = (x - mean.reshape(shape)) * scale.reshape(shape) + self.bias.reshape(shape)
        return out
