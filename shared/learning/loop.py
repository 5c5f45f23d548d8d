"""The loop that trains a network on pixels by gradient descent: on the CPU, on a GPU, or on several together.

Images lie on the device as bytes and are changed there; nothing waits for the device within an epoch. Where its memory
runs out a step is done in smaller pieces from then on. After each epoch the whole state can be written down, so that a
training that was killed goes on from there.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from shared.errors import Diverged, Permanent, Retryable
from shared.learning.augment import augment, draw, strong
from shared.learning.distributed import ALONE, Group, synchronise_norms
from shared.learning.networks import Network, to_input
from shared.learning.recipe import Recipe
from shared.learning.transfer import Transfer

WARM_UP = 0.25
FIRST_RATE = 0.04
"""What ``one_cycle`` begins with, as a share of the peak."""
_MOST_ON_DEVICE = 0.5
"""Of a GPU's free memory that the images may take; more stay in the machine's memory and travel batch by batch."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """``x`` uint8 (n, S, S, C), ``y`` int64 (n,), ``weight`` float32 (n,) of mean 1; ``unlabelled`` as ``x``."""

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    n_classes: int
    unlabelled: npt.NDArray[np.uint8] | None = None

    def subset(self, rows: npt.NDArray[Any]) -> Examples:
        weight = self.weight[rows]
        return Examples(
            x=self.x[rows],
            y=self.y[rows],
            weight=(weight / weight.mean()).astype(np.float32),
            n_classes=self.n_classes,
            unlabelled=self.unlabelled,
        )


class Journal(Protocol):
    """Where the state of a training is kept between its epochs, by the name of the run within it."""

    def load(self, run: str) -> bytes | None: ...

    def save(self, run: str, state: Callable[[], bytes]) -> None:
        """Told after every epoch; need not keep each. ``state`` makes the bytes, at the cost of a checkpoint."""
        ...


class NoJournal:
    """Keeps nothing: a training that is killed begins anew."""

    def load(self, run: str) -> bytes | None:
        return None

    def save(self, run: str, state: Callable[[], bytes]) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch came to: ``loss`` and ``accuracy`` over the training images as they were seen, augmented."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a training runs and whom it tells."""

    device: torch.device
    group: Group = ALONE
    journal: Journal = field(default_factory=NoJournal)
    should_stop: Callable[[], bool] = lambda: False
    micro_batch: int | None = None
    """The most images in a forward pass; None: as many as the batch has, until memory runs out."""

    def go_on(self) -> None:
        if self.should_stop():
            raise Retryable("the training was stopped before it was finished")


def train_network(
    network: Network,
    data: Examples,
    recipe: Recipe,
    *,
    run: str,
    seed: int,
    around: Surroundings,
    on_epoch: Callable[[Epoch, Network], Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Train ``network`` in place, on the device that it is on afterwards.

    ``run`` names this training in the journal. ``on_epoch`` is called in the first process, with the network as it
    would be kept; what it returns for every epoch (plain JSON) is returned, also of those before a crash.
    Raises ``Diverged`` when the loss is no number any more, ``Retryable`` when told to stop.
    """
    loop = _Loop(network, data, recipe, seed, around)
    loop.resume(around.journal.load(run) if around.group.first else None)
    while loop.epoch < loop.epochs:
        report = loop.run_epoch()
        if around.group.first:
            loop.notes.append(on_epoch(report, loop.kept))
            around.journal.save(run, loop.state)
    loop.keep()
    return loop.notes


class _Loop:
    """One training under way. ``epoch`` is how many are done."""

    def __init__(self, network: Network, data: Examples, recipe: Recipe, seed: int, around: Surroundings) -> None:
        self.around, self.device, self.group, self.recipe, self.data = (
            around,
            around.device,
            around.group,
            recipe,
            data,
        )
        self.network = network.to(self.device)
        synchronise_norms(self.network, self.group, self.device)
        self.network.to(memory_format=torch.channels_last)
        self.rng = np.random.default_rng(seed)
        self.per_epoch = _rows_per_epoch(data.y, recipe)
        self.batches = _batches(self.per_epoch, recipe, self.group)
        self.epochs = max(recipe.epochs, math.ceil(recipe.min_steps / self.batches))
        self.epoch = 0
        self.notes: list[Mapping[str, Any]] = []
        self.micro = around.micro_batch
        self._place()
        self.optimizer, self.schedule = _optimizer(self.network, recipe, self.epochs * self.batches)
        average = get_ema_multi_avg_fn(recipe.ema) if recipe.ema else None  # type: ignore[no-untyped-call]
        self.ema = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True) if recipe.ema else None
        forward = torch.compile(self.network) if recipe.compile else self.network
        self.forward = self.group.average(forward, self.device)  # type: ignore[arg-type]
        bf16 = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.bf16 = recipe.precision == "bfloat16" or (recipe.precision == "auto" and bf16)

    def _place(self) -> None:
        """Images and labels onto the device, if it has room for them."""
        x, unlabelled = self.data.x, self.data.unlabelled
        if self.recipe.consistency == 0:
            unlabelled = None
        size = x.nbytes + (0 if unlabelled is None else unlabelled.nbytes)
        roomy = self.device.type != "cuda" or size < _MOST_ON_DEVICE * torch.cuda.mem_get_info(self.device)[0]
        at = self.device if roomy else torch.device("cpu")
        self.x = torch.tensor(x, device=at) if at.type == "cuda" else torch.from_numpy(x)
        self.unlabelled = None if unlabelled is None else torch.tensor(unlabelled, device=at)
        self.y = torch.from_numpy(self.data.y).to(self.device)
        self.weight = torch.from_numpy(self.data.weight * _class_weights(self.data, self.recipe)).to(self.device)

    @property
    def kept(self) -> Network:
        """The network as it would be kept if the training ended now."""
        network: Any = self.network if self.ema is None else self.ema.module
        assert isinstance(network, Network)
        return network

    def keep(self) -> None:
        """Leave the network as a checkpoint of it would be read again, to the last bit."""
        if self.ema is not None:
            self.network.load_state_dict(self.kept.state_dict())
        self.network.to(memory_format=torch.contiguous_format)

    def run_epoch(self) -> Epoch:
        self._train_mode()
        sums = torch.zeros(2, device=self.device, dtype=torch.float64)
        for rows in np.array_split(self._order(), self.batches):
            # Drawn for the whole batch, so that it is the same however many processes share it.
            numbers, mixing = draw(len(rows), self.rng), self._mixing(len(rows))
            views = self._unlabelled_rows(len(rows))
            sums += self._step(rows, numbers, mixing, views)
            self.schedule.step()
            if self.ema is not None:
                self.ema.update_parameters(self.network)
            self.around.go_on()
        self.epoch += 1
        loss, right = (self.group.total(sums) / self.per_epoch).tolist()  # the one wait for the device
        if not math.isfinite(loss):
            raise Diverged(
                f"the training diverged in epoch {self.epoch} (its loss is {loss}); use a lower learning_rate"
            )
        return Epoch(epoch=self.epoch, epochs=self.epochs, loss=loss, accuracy=right)

    def _train_mode(self) -> None:
        self.forward.train()
        if isinstance(self.network, Transfer) and self.recipe.norm_policy == "frozen":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _order(self) -> npt.NDArray[np.int64]:
        """The rows of an epoch, as ``imbalance`` asks for them; a single one twice."""
        rows = self._drawn()
        return rows if len(rows) > 1 else np.repeat(rows, 2)

    def _drawn(self) -> npt.NDArray[np.int64]:
        y = self.data.y
        if self.recipe.imbalance == "balanced":
            counts = np.bincount(y, minlength=self.data.n_classes)
            share = 1 / (counts[y] * np.count_nonzero(counts))
            return self.rng.choice(len(y), size=len(y), p=share)
        if self.recipe.imbalance == "undersample":
            least = _rarest(y)
            drawn = [self.rng.choice(np.flatnonzero(y == c), size=least, replace=False) for c in np.unique(y)]
            return self.rng.permutation(np.concatenate(drawn))
        return self.rng.permutation(len(y))

    def _mixing(self, n: int) -> tuple[npt.NDArray[np.int64], Tensor] | None:
        """Partners and shares of mixup for a batch of ``n``."""
        if not self.recipe.mixup:
            return None
        share = self.rng.beta(self.recipe.mixup, self.recipe.mixup, size=n).astype(np.float32)
        return self.rng.permutation(n), torch.from_numpy(share)

    def _unlabelled_rows(self, n: int) -> tuple[npt.NDArray[np.int64], Tensor, Tensor] | None:
        """Which unlabelled images a step of FixMatch looks at, and the numbers for their two views."""
        if self.unlabelled is None:
            return None
        rows = self.rng.integers(0, len(self.unlabelled), size=n * self.recipe.consistency_ratio)
        return rows, draw(len(rows), self.rng), draw(len(rows), self.rng)

    def _step(
        self,
        rows: npt.NDArray[np.int64],
        numbers: Tensor,
        mixing: tuple[npt.NDArray[np.int64], Tensor] | None,
        views: tuple[npt.NDArray[np.int64], Tensor, Tensor] | None,
    ) -> Tensor:
        """One optimiser step on this process's share of a batch: (loss summed, right answers) as float64 (2,)."""
        mine = np.arange(len(rows))[self.group.share(len(rows))]
        while True:
            try:
                self.optimizer.zero_grad(set_to_none=True)
                sums = torch.zeros(2, device=self.device, dtype=torch.float64)
                pieces = np.array_split(mine, math.ceil(len(mine) / (self.micro or len(mine))))
                for index, piece in enumerate(pieces):
                    last = index == len(pieces) - 1
                    alone = last or self.group.size == 1
                    with nullcontext() if alone else self.forward.no_sync():  # type: ignore[operator]
                        sums += self._backward(rows, piece, numbers, mixing, views)
                self.optimizer.step()
                return sums
            except torch.OutOfMemoryError as error:
                self._halve(len(mine), error)

    def _halve(self, n: int, error: torch.OutOfMemoryError) -> None:
        """Work in pieces of half the size from now on. With others in step there is no way back: it begins anew."""
        self.micro = min(self.micro or n, n) // 2
        if self.group.size > 1 or self.micro < 1:
            what = "one image" if self.micro < 1 else f"{2 * self.micro} images at once"
            kind = Permanent if self.micro < 1 else Retryable
            raise kind(f"the device's memory does not suffice for {what}: lower image_size or batch_size") from error
        torch.cuda.empty_cache()

    def _backward(
        self,
        rows: npt.NDArray[np.int64],
        piece: npt.NDArray[np.int64],
        numbers: Tensor,
        mixing: tuple[npt.NDArray[np.int64], Tensor] | None,
        views: tuple[npt.NDArray[np.int64], Tensor, Tensor] | None,
    ) -> Tensor:
        """Gradients of a ``piece`` of the batch, added to those that are there."""
        n = len(rows)
        place = self._rows(rows[piece])
        seen, truth, weight = (
            self._images(self.x, place, numbers[piece], self.recipe),
            self.y[place],
            self.weight[place],
        )
        target: Tensor = truth
        if mixing is not None:
            partners, share = mixing
            other = self._rows(rows[partners[piece]])
            part = share[piece].to(self.device)
            pair = self._images(self.x, other, numbers[torch.from_numpy(partners[piece])], self.recipe)
            wide = part.reshape(-1, 1, 1, 1)
            seen = wide * seen + (1 - wide) * pair
            classes = self.data.n_classes
            part = part[:, None]
            target = part * F.one_hot(truth, classes) + (1 - part) * F.one_hot(self.y[other], classes)
        extra = self._views(piece, n, views) if views is not None else None
        images = seen if extra is None else torch.cat((seen, *extra))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.forward(images).float()
        of_labelled = logits[: len(piece)]
        losses = F.cross_entropy(of_labelled, target, reduction="none", label_smoothing=self.recipe.label_smoothing)
        loss = (losses * weight).sum() / n
        if extra is not None:
            loss = loss + self.recipe.consistency * self._consistency(logits[len(piece) :], n)
        # The processes' gradients are averaged, so that each counts its share of the batch as many times over.
        (loss * self.group.size).backward()  # type: ignore[no-untyped-call]
        right = (of_labelled.detach().argmax(1) == truth).sum()
        return torch.stack((losses.detach().sum().double(), right.double()))

    def _rows(self, rows: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(rows).to(self.device, non_blocking=True)

    def _images(self, source: Tensor, place: Tensor, numbers: Tensor, recipe: Recipe) -> Tensor:
        pixels = source[place if source.device == place.device else place.cpu()].to(self.device, non_blocking=True)
        changed = augment(to_input(pixels), numbers.to(self.device, non_blocking=True), recipe)
        return changed.contiguous(memory_format=torch.channels_last)

    def _views(
        self, piece: npt.NDArray[np.int64], n: int, views: tuple[npt.NDArray[np.int64], Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """A weakly and a strongly changed view of the unlabelled images that belong to a piece of the batch."""
        assert self.unlabelled is not None
        rows, weak, hard = views
        ratio = self.recipe.consistency_ratio
        own = (piece[:, None] + np.arange(ratio) * n).ravel()
        place = self._rows(rows[own])
        return (
            self._images(self.unlabelled, place, weak[own], self.recipe),
            self._images(self.unlabelled, place, hard[own], strong(self.recipe)),
        )

    def _consistency(self, logits: Tensor, n: int) -> Tensor:
        """FixMatch: what the network is sure of in the weak view is the target for the strong one (eq. 4)."""
        weak, hard = logits.chunk(2)
        confidence, target = weak.detach().softmax(1).max(1)
        sure = (confidence >= self.recipe.consistency_threshold).float()
        losses = F.cross_entropy(hard, target, reduction="none")
        return (losses * sure).sum() / (n * self.recipe.consistency_ratio)

    # Going on after a crash

    def state(self) -> bytes:
        """All that a later process needs to go on as this one would have."""
        held = {
            "epoch": self.epoch,
            "notes": json.dumps(self.notes),
            "micro": self.micro,
            "network": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "dropout": torch.get_rng_state(),
            "dropout_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        out = io.BytesIO()
        torch.save(held, out)
        return out.getvalue()

    def resume(self, state: bytes | None) -> None:
        """Go on from ``state``, which the first process holds; from the beginning if there is none."""
        state = self.group.agree(state)
        if state is None:
            return
        held = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        self.network.load_state_dict(held["network"])
        if self.ema is not None:
            self.ema.load_state_dict(held["ema"])
        self.optimizer.load_state_dict(held["optimizer"])
        self.schedule.load_state_dict(held["schedule"])
        self.rng.bit_generator.state = json.loads(held["rng"])
        torch.set_rng_state(held["dropout"])
        if self.device.type == "cuda" and held["dropout_cuda"] is not None:
            torch.cuda.set_rng_state(held["dropout_cuda"], self.device)
        self.epoch = int(held["epoch"])
        self.notes = json.loads(held["notes"])
        self.micro = held["micro"] if self.micro is None else self.micro


def _rarest(y: npt.NDArray[np.int64]) -> int:
    return int(np.unique(y, return_counts=True)[1].min())


def _rows_per_epoch(y: npt.NDArray[np.int64], recipe: Recipe) -> int:
    rows = _rarest(y) * len(np.unique(y)) if recipe.imbalance == "undersample" else len(y)
    return max(rows, 2)


def _batches(rows: int, recipe: Recipe, group: Group) -> int:
    """How many batches an epoch has. Each holds two images at least, and one for each process.

    A batch norm that sees one position of one image, as the last ones of a deep network do where images are small, can
    take no variance. So rather than leaving an image over, batches grow by one.
    """
    return max(1, min(math.ceil(rows / recipe.batch_size), rows // max(2, group.size)))


def _class_weights(data: Examples, recipe: Recipe) -> npt.NDArray[np.float32]:
    """Per image, mean 1: every class that is there has the same sum where ``imbalance`` is ``weighted``."""
    if recipe.imbalance != "weighted":
        return np.ones(len(data.y), np.float32)
    counts = np.bincount(data.y, minlength=data.n_classes)
    share = len(data.y) / (counts[data.y] * np.count_nonzero(counts))
    return share.astype(np.float32)


def _optimizer(
    network: Network, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Biases and norms are not decayed. Stages of a pretrained network have rates of their own."""
    stages = network.stages() if isinstance(network, Transfer) else [list(network.parameters())]
    groups, factors = [], []
    for index, stage in enumerate(stages):
        height = index / max(len(stages) - 1, 1)  # 0: next to the pixels, 1: the classifier
        rate = recipe.learning_rate * recipe.trunk_rate ** (1 - height) if len(stages) > 1 else recipe.learning_rate
        for decay, chosen in (
            (recipe.weight_decay, [p for p in stage if p.ndim > 1]),
            (0.0, [p for p in stage if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
                factors.append(_rate(recipe, steps, begin=recipe.unfreeze * (1 - height)))
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    else:
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factors)


def _rate(recipe: Recipe, steps: int, begin: float) -> Callable[[int], float]:
    """The learning rate over time as a share of its peak; 0 until the share ``begin`` of the training."""

    def factor(step: int) -> float:
        done = min(step / steps, 1.0)
        if done < begin:
            return 0.0
        if recipe.schedule == "constant":
            return 1.0
        warm = WARM_UP if recipe.schedule == "one_cycle" else 0.0
        if done < warm:
            return FIRST_RATE + (1 - FIRST_RATE) * done / warm
        return 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm)))

    return factor
