"""Training: labelled arrays in, a fitted model out. Seeded, and the same on every run on one machine.

The recipe for the small CNN is meant for few labels: AdamW under a one-cycle rate, at least ``MIN_STEPS`` steps
however few the labels, and small random shifts, turns and zooms. Images are never mirrored, because a mirrored digit
or letter is another sign. A head is a convex problem, so it is solved, not trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from shared.errors import Diverged, Invalid, Retryable
from shared.learning.config import SCRATCH, LearnConfig
from shared.learning.model import Model, build_network
from shared.learning.networks import LinearHead, Network, to_input
from shared.learning.predict import raw_logits

MIN_STEPS = 250
"""Fewer leave the CNN unfinished when there are only some dozens of labels."""
HOLDOUT_REPORTS = 10
"""How often at most the holdout is looked at during a training: it is only to be drawn."""
WARM_UP = 0.25
MAX_SHIFT, MAX_TURN, MAX_ZOOM = 0.06, math.radians(10), 0.1
HEAD_REPORT_EVERY = 10
HEAD_MAX_ITERATIONS = 500
HEAD_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """``loss`` and ``accuracy`` are over the training images as they were seen, augmented; holdout as it is."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    holdout_loss: float | None = None
    holdout_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    model: Model
    history: tuple[EpochReport, ...]


Holdout = tuple[npt.NDArray[Any], npt.NDArray[Any]]
OnEpoch = Callable[[EpochReport], None]
ShouldStop = Callable[[], bool]


def fit(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    n_classes: int,
    config: LearnConfig,
    holdout: Holdout | None = None,
    device: torch.device | str = "cpu",
    backbone_id: str | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: ShouldStop | None = None,
) -> Fitted:
    """Train a model on labelled images.

    Parameters
    ----------
    x : uint8 (n, S, S, C) pixels in mode ``scratch``; float32 (n, D) features in mode ``head``.
    y : integers (n,), columns from 0 to ``n_classes - 1``. Classes without any label are allowed.
    holdout : the same two arrays of images that are only measured on, for the reports.
    backbone_id : which backbone made the features; needed in mode ``head``.
    on_epoch : called after each epoch (``head``: after every ten iterations of the solver).
    should_stop : asked after every step; when it says yes, ``Retryable`` is raised and nothing is returned.

    Raises ``Invalid`` for arrays that don't fit the configuration.
    """
    _check(x, y, n_classes, config, "the training set")
    if holdout is not None and len(holdout[0]) == 0:
        holdout = None
    if holdout is not None:
        _check(*holdout, n_classes, config, "the holdout")
    if config.mode != SCRATCH and backbone_id is None:
        raise Invalid("a head needs to know which backbone made its features")
    run = _Run(holdout, torch.device(device), on_epoch or (lambda report: None), should_stop or (lambda: False))
    with _seeded(config.seed, run.device):
        network = build_network(config, n_classes, dim=x.shape[1]).to(run.device)
        train = _train_cnn if config.mode == SCRATCH else _solve_head
        history = train(network, x, torch.from_numpy(np.asarray(y, dtype=np.int64)), config, run)
    network.eval().requires_grad_(False)
    model = Model(config=config, n_classes=n_classes, network=network, backbone_id=backbone_id)
    return Fitted(model=model, history=tuple(history))


@dataclass(frozen=True)
class _Run:
    """What both ways of training are handed."""

    holdout: Holdout | None
    device: torch.device
    on_epoch: OnEpoch
    should_stop: ShouldStop

    def go_on(self) -> None:
        if self.should_stop():
            raise Retryable("the training was stopped before it was finished")

    def report(self, network: Network, epoch: int, epochs: int, loss: float, accuracy: float) -> EpochReport:
        if not math.isfinite(loss):
            raise Diverged(f"the training diverged in epoch {epoch} (its loss is {loss}); use a lower learning_rate")
        every = math.ceil(epochs / HOLDOUT_REPORTS)
        on_holdout = None
        if self.holdout is not None and (epoch % every == 0 or epoch == epochs):
            on_holdout = _measure(network, self.holdout, self.device)
        report = EpochReport(
            epoch=epoch,
            epochs=epochs,
            loss=loss,
            accuracy=accuracy,
            holdout_loss=on_holdout[0] if on_holdout else None,
            holdout_accuracy=on_holdout[1] if on_holdout else None,
        )
        self.on_epoch(report)
        return report


def _check(x: npt.NDArray[Any], y: npt.NDArray[Any], n_classes: int, config: LearnConfig, what: str) -> None:
    if len(x) == 0:
        raise Invalid(f"{what} holds no labelled image")
    if len(x) != len(y):
        raise Invalid(f"{what} has {len(x)} images but {len(y)} labels")
    if np.min(y) < 0 or np.max(y) >= n_classes:
        raise Invalid(f"a label in {what} is outside the {n_classes} classes")
    if config.mode == SCRATCH:
        wanted = (config.image_size, config.image_size, config.channels)
        if x.dtype != np.uint8 or x.shape[1:] != wanted:
            raise Invalid(f"{what} must be uint8 pixels of shape (n, {wanted}), not {x.dtype} of {x.shape}")
    elif x.ndim != 2 or not np.isfinite(x).all():
        raise Invalid(f"{what} must be finite features of shape (n, D)")


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what torch draws by itself (initial weights, dropout) and leave the caller's generators untouched."""
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


def _train_cnn(
    network: Network, x: npt.NDArray[np.uint8], y: Tensor, config: LearnConfig, run: _Run
) -> list[EpochReport]:
    network.standardise_with(*_channel_moments(x))
    pixels, n = torch.from_numpy(x), len(x)
    batches = math.ceil(n / config.batch_size)
    epochs = max(config.epochs, math.ceil(MIN_STEPS / batches))
    rng = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=epochs * batches, pct_start=WARM_UP
    )
    history = []
    for epoch in range(1, epochs + 1):
        network.train()
        loss_sum = right = 0.0
        # Batches of even size: a last batch of one image would unsettle batch norm.
        for rows in torch.randperm(n, generator=rng).tensor_split(batches):
            seen = _augment(to_input(pixels[rows]), rng).to(run.device)
            truth = y[rows].to(run.device)
            logits = network(seen)
            loss = F.cross_entropy(logits, truth)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(rows)
            right += (logits.argmax(1) == truth).sum().item()
            run.go_on()
        history.append(run.report(network, epoch, epochs, loss_sum / n, right / n))
    return history


def _channel_moments(x: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel from 0 to 1, from histograms: exact, and no float copy of the images."""
    values = np.arange(256) / 255
    moments = []
    for channel in range(x.shape[-1]):
        share = np.bincount(x[..., channel].ravel(), minlength=256) / x[..., channel].size
        mean = float(share @ values)
        moments.append((mean, math.sqrt(float(share @ (values - mean) ** 2))))
    mean_std = torch.tensor(moments, dtype=torch.float32)
    return mean_std[:, 0], mean_std[:, 1]


def _augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """A random small shift, turn and zoom of each image, float (n, C, S, S); edges are continued outwards."""
    turn, zoom, right, down = torch.rand(4, len(x), generator=rng) * 2 - 1
    turn, zoom = turn * MAX_TURN, 1 + zoom * MAX_ZOOM
    # grid_sample measures positions from -1 to 1, so a share of the side is twice that.
    rows = (
        torch.stack((turn.cos() * zoom, -turn.sin() * zoom, right * 2 * MAX_SHIFT), dim=1),
        torch.stack((turn.sin() * zoom, turn.cos() * zoom, down * 2 * MAX_SHIFT), dim=1),
    )
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _solve_head(
    network: Network, x: npt.NDArray[np.float32], y: Tensor, config: LearnConfig, run: _Run
) -> list[EpochReport]:
    """Minimise mean cross-entropy + head_decay / 2 * |W|^2 by L-BFGS in float64; the bias is not decayed."""
    assert isinstance(network, LinearHead)
    features = torch.from_numpy(np.asarray(x, dtype=np.float64)).to(run.device)
    y = y.to(run.device)
    network.standardise_with(features.mean(dim=0), features.std(dim=0, correction=0))
    network.double()
    weight, parameters = network.classifier.weight, list(network.classifier.parameters())
    solver = torch.optim.LBFGS(
        parameters, max_iter=HEAD_REPORT_EVERY, line_search_fn="strong_wolfe", tolerance_grad=HEAD_TOLERANCE
    )

    def closure() -> float:
        solver.zero_grad()
        loss = F.cross_entropy(network(features), y) + config.head_decay / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    history, epochs = [], HEAD_MAX_ITERATIONS // HEAD_REPORT_EVERY
    for epoch in range(1, epochs + 1):
        before = closure()
        solver.step(closure)  # type: ignore[no-untyped-call]
        run.go_on()
        with torch.no_grad():
            logits = network(features)
            loss = F.cross_entropy(logits, y).item()
            right = (logits.argmax(1) == y).double().mean().item()
        done = before - closure() < HEAD_TOLERANCE
        history.append(run.report(network, epoch, epoch if done else epochs, loss, right))
        if done:
            break
    network.float()
    return history


def _measure(network: Network, holdout: Holdout, device: torch.device) -> tuple[float, float]:
    network.eval()
    truth = torch.from_numpy(np.asarray(holdout[1], dtype=np.int64))
    logits = raw_logits(network, holdout[0], device)
    return F.cross_entropy(logits, truth).item(), (logits.argmax(1) == truth).double().mean().item()
