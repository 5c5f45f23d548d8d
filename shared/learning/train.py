"""Training: labelled arrays in, a fitted and calibrated model out. Seeded, and the same on every run on one machine.

How is chosen by ``shared.learning.recipe``; networks are trained by ``loop``, heads solved by ``heads`` and ``ridge``.
Here the parts meet: committees, the temperature that is fitted on labels which the model has not seen, and what the
unlabelled pool can add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shared.errors import Invalid
from shared.learning.calibration import fit_temperature, stratified_folds
from shared.learning.config import SCRATCH, LearnConfig, NetworkSpec
from shared.learning.loop import Epoch, Examples, Surroundings, train_network
from shared.learning.metrics import calibration_report, right_above
from shared.learning.model import Model, build_network
from shared.learning.networks import Network
from shared.learning.predict import predict, raw_logits
from shared.learning.recipe import Recipe, kind_of
from shared.learning.solve import Solved, solve

HOLDOUT_REPORTS = 10
"""How often at most the holdout is looked at during a training: it is only to be drawn."""
FIFTHS = 5
_LEAST_TO_CALIBRATE = 20
"""Fewer labels say nothing about how sure a model may be."""
SHRINK, PERTURB = 0.5, 0.1
"""Share of the last model's weights, and of fresh random ones, in ``shrink_perturb``."""
MOST_PER_LABEL = 20
"""Pseudo-labels per label at the most: the people's must not drown."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """``loss`` and ``accuracy`` are over the training images as they were seen, augmented; holdout as it is.

    ``stage`` is what is being trained (``model``, ``fold 1``, ``member 2``), ``done`` the share of the whole, 0 to 1.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    holdout_loss: float | None = None
    holdout_accuracy: float | None = None
    stage: str = "model"
    done: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The temperature, and what it did for labels that were predicted by models which had not seen them.

    Errors are measured on ``n`` such labels. The temperature was fitted on the same ones, but for a ridge and a head it
    is one number fitted on all: the difference to a fresh sample is small, and the holdout shows it.

    ``above`` is what ``metrics.right_above`` counts on them, ``above_at_random`` on those of them that were drawn at
    random from the pool. None for a committee of heads or ridges: its members are fitted on draws with repetition, so
    that what a fold leaves out is in the others.
    """

    temperature: float
    n: int
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    measured_on: str = "out-of-fold"
    above: dict[str, list[Any]] | None = None
    above_at_random: dict[str, list[Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Calibrated probabilities (m, C) of the labelled images ``rows`` (m,), by models that had not seen them."""

    rows: Ints
    probabilities: Floats


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """``history`` is that of the first member; ``details`` what a head's or a ridge's search found. ``unseen`` None:
    too few labels, or a committee of heads or ridges, see ``Calibration``."""

    model: Model
    history: tuple[EpochReport, ...]
    recipe: Recipe
    kind: str
    calibration: Calibration | None
    details: dict[str, Any]
    unseen: Unseen | None = None


Holdout = tuple[npt.NDArray[Any], npt.NDArray[Any]]
OnEpoch = Callable[[EpochReport], None]


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a training can do without.

    weights : float (n,), how much each label counts; None: all the same.
    at_random : bool (n,), whether each was drawn at random from the pool; None: not known.
    unlabelled : images of the pool in the form of ``x``, for pseudo-labels and FixMatch.
    class_names : tell signs from photos, see ``recipe.kind_of``.
    pretrained : a weights file, for ``finetune``.
    previous : the last round's model, for a warm start.
    backbone_id : which backbone made the features; needed in the modes that are trained on them.
    """

    weights: npt.NDArray[Any] | None = None
    at_random: npt.NDArray[Any] | None = None
    unlabelled: npt.NDArray[Any] | None = None
    class_names: Sequence[str] | None = None
    pretrained: bytes | None = None
    previous: Model | None = None
    backbone_id: str | None = None


def fit(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    n_classes: int,
    config: LearnConfig,
    holdout: Holdout | None = None,
    extras: Extras | None = None,
    device: torch.device | str = "cpu",
    around: Surroundings | None = None,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Train a model on labelled images.

    Parameters
    ----------
    x : uint8 (n, S, S, C) pixels in modes ``scratch`` and ``finetune``; float32 (n, D) features in ``head``, ``ridge``.
    y : integers (n,), columns from 0 to ``n_classes - 1``. Classes without any label are allowed.
    holdout : the same two arrays of images that are only measured on, for the reports.
    around : the processes to train with, the journal to go on from, when to stop; its device replaces ``device``.
    on_epoch : called after each epoch (heads: after each part of the solution), in the first process.

    Raises ``Invalid`` for arrays that don't fit the configuration, ``Diverged``, and ``Retryable`` when told to stop.
    """
    extras = extras or Extras()
    around = around or Surroundings(device=torch.device(device))
    check(x, y, n_classes, config, "the training set")
    if extras.weights is not None and not np.all(np.asarray(extras.weights) > 0):
        x, y, extras = _without_weightless(x, y, extras)
    if holdout is not None and len(holdout[0]) == 0:
        holdout = None
    if holdout is not None:
        check(*holdout, n_classes, config, "the holdout")
    spec = config.spec(n_classes, dim=x.shape[1] if config.spec(n_classes).reads_features else 0)
    if spec.reads_features and extras.backbone_id is None:
        raise Invalid(f"a {config.mode} needs to know which backbone made its features")
    if around.group.size > 1 and around.group.size * 2 > len(x):
        raise Invalid(f"{len(x)} labels are too few for {around.group.size} processes: train with one")
    grey = _is_grey(x)
    recipe = config.recipe_for(len(x), extras.class_names, grey=grey, gpu=around.device.type == "cuda")
    weights = np.ones(len(x)) if extras.weights is None else np.asarray(extras.weights, np.float64)
    data = Examples(
        x=x,
        y=np.asarray(y, np.int64),
        weight=(weights / weights.mean()).astype(np.float32),
        n_classes=n_classes,
        unlabelled=extras.unlabelled,
    )
    job = _Job(spec, data, recipe, config.seed, extras, around, holdout, on_epoch or (lambda report: None))
    with seeded(config.seed, around.device):
        fitted = job.run()
    return replace(fitted, kind=kind_of(tuple(extras.class_names or ()), grey=grey))


def _without_weightless(
    x: npt.NDArray[Any], y: npt.NDArray[Any], extras: Extras
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Extras]:
    """What weighs nothing is left out, so that it counts for no fold, batch or class either."""
    kept = np.flatnonzero(np.asarray(extras.weights) > 0)
    if not len(kept):
        raise Invalid("every label weighs nothing: there is nothing to learn from")
    drawn = None if extras.at_random is None else extras.at_random[kept]
    assert extras.weights is not None
    return x[kept], y[kept], replace(extras, weights=extras.weights[kept], at_random=drawn)


def check(x: npt.NDArray[Any], y: npt.NDArray[Any], n_classes: int, config: LearnConfig, what: str) -> None:
    """Raise ``Invalid`` unless ``x`` and ``y`` are what ``config`` trains on; ``what`` names them."""
    if len(x) == 0:
        raise Invalid(f"{what} holds no labelled image")
    if len(x) != len(y):
        raise Invalid(f"{what} has {len(x)} images but {len(y)} labels")
    if np.min(y) < 0 or np.max(y) >= n_classes:
        raise Invalid(f"a label in {what} is outside the {n_classes} classes")
    if config.spec(n_classes).reads_features:
        if x.ndim != 2 or not np.isfinite(x).all():
            raise Invalid(f"{what} must be finite features of shape (n, D)")
        return
    wanted = (config.image_size, config.image_size, config.channels)
    if x.dtype != np.uint8 or x.shape[1:] != wanted:
        raise Invalid(f"{what} must be uint8 pixels of shape (n, {wanted}), not {x.dtype} of {x.shape}")


def _is_grey(x: npt.NDArray[Any]) -> bool:
    """Whether the images have no colour; a hundred of them tell. Features have neither."""
    if x.ndim != 4:
        return False
    some = x[:100]
    return x.shape[-1] == 1 or bool((some[..., 0] == some[..., 1]).all() and (some[..., 1] == some[..., 2]).all())


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what torch draws by itself (initial weights, dropout) and leave the caller's generators untouched.

    Within it cuDNN keeps to kernels that give the same on every run.
    """
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


class _Job:
    """One call of ``fit``: its parts, in the order in which they are done."""

    def __init__(
        self,
        spec: NetworkSpec,
        data: Examples,
        recipe: Recipe,
        seed: int,
        extras: Extras,
        around: Surroundings,
        holdout: Holdout | None,
        on_epoch: OnEpoch,
    ) -> None:
        self.spec, self.data, self.recipe, self.seed = spec, data, recipe, seed
        self.extras, self.around, self.holdout, self.on_epoch = extras, around, holdout, on_epoch
        self.folds = recipe.folds if len(data.y) >= _LEAST_TO_CALIBRATE else 0
        self.passes = 2 if self._learns_from_itself else 1
        self.stages = self.passes * (recipe.committee + (0 if spec.reads_features else self.folds))
        self.stage = 0
        self.history: list[EpochReport] = []
        self.unseen: Unseen | None = None

    @property
    def _learns_from_itself(self) -> bool:
        return self.recipe.pseudo_labels > 0 and self.extras.unlabelled is not None and len(self.extras.unlabelled) > 0

    def run(self) -> Fitted:
        fitted = self._once("", self.data)
        if not self._learns_from_itself:
            return fitted
        self.history = []
        more, taken = self._with_pseudo_labels(fitted.model)
        again = self._once("again ", more) if taken else fitted
        return replace(again, details=again.details | {"pseudo_labels": taken})

    def _once(self, prefix: str, data: Examples) -> Fitted:
        if self.spec.reads_features:
            return self._solved(data)
        logits, rows = self._out_of_fold(prefix, data)
        calibration = self._calibrated(data, logits, rows) if len(rows) else None
        networks = []
        for member in range(self.recipe.committee):
            stage = f"{prefix}{'model' if member == 0 else f'member {member + 1}'}"
            network = self._trained(stage, self._rows(data, member), member)
            if calibration is not None:
                network.temperature.fill_(self.around.group.agree(calibration.temperature))
            networks.append(network)
        return self._fitted(networks, calibration, {})

    def _rows(self, data: Examples, member: int) -> Examples:
        """What a member of the committee is trained on."""
        if self.recipe.committee == 1 or (self.recipe.committee_by == "seeds" and not self.spec.reads_features):
            return data
        rng = np.random.default_rng([self.seed, member])
        return data.subset(rng.integers(0, len(data.y), len(data.y)))

    # Networks

    def _out_of_fold(self, prefix: str, data: Examples) -> tuple[Floats, Ints]:
        """Logits for the labels of some fifths by networks trained on the rest, and the rows of those labels."""
        # Pseudo-labels stay in training: only what people said tells how sure the model may be.
        own = len(self.data.y)
        folds = stratified_folds(data.y[:own], FIFTHS, self.seed) if self.folds else np.full(own, -1)
        logits, rows = [np.zeros((0, data.n_classes), np.float32)], [np.zeros(0, np.int64)]
        for fold in range(self.folds):
            out = np.flatnonzero(folds == fold)
            rest = np.setdiff1d(np.arange(len(data.y)), out)
            if not len(out) or len(rest) < 2 * self.around.group.size:
                continue
            network = self._trained(f"{prefix}fold {fold + 1}", data.subset(rest), 0)
            logits.append(raw_logits(network, data.x[out], self.around.device).numpy())
            rows.append(out)
        return np.concatenate(logits), np.concatenate(rows)

    def _trained(self, stage: str, data: Examples, member: int) -> Network:
        # Each network begins from its own seed, whatever was trained before it: a resumed training is the same.
        torch.manual_seed(self.seed + 1000 * member)
        network = self._begin()

        def report(epoch: Epoch, kept: Network) -> dict[str, Any]:
            return self._report(stage, epoch, kept).to_dict()

        notes = train_network(
            network,
            data,
            self.recipe,
            run=stage.replace(" ", "-"),
            seed=self.seed + 1000 * member,
            around=self.around,
            on_epoch=report,
        )
        self.stage += 1
        if stage.endswith("model"):
            self.history = [EpochReport(**note) for note in notes]
        return network.eval().requires_grad_(False)

    def _begin(self) -> Network:
        network = build_network(self.spec, self.extras.pretrained)
        if self.spec.mode == SCRATCH:
            network.standardise_with(*channel_moments(self.data.x))
        previous = self.extras.previous
        if self.recipe.start == "fresh" or previous is None or previous.spec != self.spec:
            return network
        keep, noise = (SHRINK, PERTURB) if self.recipe.start == "shrink_perturb" else (1.0, 0.0)
        old = dict(previous.network.named_parameters())
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.mul_(noise).add_(old[name].to(parameter.device), alpha=keep)
        return network

    def _report(self, stage: str, epoch: Epoch, network: Network) -> EpochReport:
        on_holdout = None
        every = -(-epoch.epochs // HOLDOUT_REPORTS)
        first = stage.endswith("model")
        if first and self.holdout is not None and (epoch.epoch % every == 0 or epoch.epoch == epoch.epochs):
            on_holdout = _measure(network, self.holdout, self.around.device)
        report = EpochReport(
            epoch=epoch.epoch,
            epochs=epoch.epochs,
            loss=epoch.loss,
            accuracy=epoch.accuracy,
            holdout_loss=on_holdout[0] if on_holdout else None,
            holdout_accuracy=on_holdout[1] if on_holdout else None,
            stage=stage,
            done=(self.stage + epoch.epoch / epoch.epochs) / self.stages,
        )
        self.on_epoch(report)
        return report

    # Heads

    def _solved(self, data: Examples) -> Fitted:
        solved: list[Solved] = []
        for member in range(self.recipe.committee):
            rows = self._rows(data, member)
            solved.append(solve(rows, self.spec, self.recipe, seed=self.seed + member, around=self.around))
            self.stage += 1
        first = solved[0]
        calibration = None
        if self.folds and first.out_of_fold is not None:
            logits, truth = first.out_of_fold
            if self.recipe.committee > 1:
                calibration = _calibration(logits, truth, temperature=first.temperature)
            else:
                calibration = self._calibrated(data, logits, np.arange(len(truth)), temperature=first.temperature)
            for one in solved:
                one.network.temperature.fill_(one.temperature or calibration.temperature)
        for number, (loss, accuracy) in enumerate(first.history, start=1):
            last = number == len(first.history)
            on_holdout = _measure(first.network, self.holdout, self.around.device) if last and self.holdout else None
            self._tell(number, len(first.history), loss, accuracy, on_holdout)
        return self._fitted([one.network for one in solved], calibration, first.details)

    def _tell(self, number: int, of: int, loss: float, accuracy: float, on_holdout: tuple[float, float] | None) -> None:
        report = EpochReport(
            epoch=number,
            epochs=of,
            loss=loss,
            accuracy=accuracy,
            holdout_loss=on_holdout[0] if on_holdout else None,
            holdout_accuracy=on_holdout[1] if on_holdout else None,
            done=(self.stage - 1 + number / of) / self.stages,
        )
        self.history.append(report)
        self.on_epoch(report)

    # Both

    def _calibrated(
        self, data: Examples, logits: npt.NDArray[Any], rows: Ints, temperature: float | None = None
    ) -> Calibration:
        """The calibration by ``logits`` of the labels ``rows``, with what they say of how sure the model may be."""
        found = _calibration(logits, data.y[rows], temperature)
        own = rows < len(self.data.y)  # pseudo-labels follow those of people, and are no evidence
        rows, truth = rows[own], data.y[rows[own]]
        said = (torch.from_numpy(np.asarray(logits, np.float64)[own]) / found.temperature).softmax(1).numpy()
        self.unseen = Unseen(rows=rows, probabilities=said.astype(np.float32))
        drawn = None if self.extras.at_random is None else np.asarray(self.extras.at_random, np.bool_)[rows]
        return replace(
            found,
            above=right_above(said, truth),
            above_at_random=None if drawn is None else right_above(said[drawn], truth[drawn]),
        )

    def _fitted(self, networks: list[Network], calibration: Calibration | None, details: dict[str, Any]) -> Fitted:
        model = Model(
            spec=self.spec,
            networks=tuple(networks),
            backbone_id=self.extras.backbone_id,
            mc_dropout=0 if self.spec.mode == "ridge" else self.recipe.mc_dropout,
        )
        return Fitted(
            model=model,
            history=tuple(self.history),
            recipe=self.recipe,
            kind="",
            calibration=calibration,
            details=details,
            unseen=self.unseen,
        )

    def _with_pseudo_labels(self, model: Model) -> tuple[Examples, int]:
        """The labels, and what the model is sure of in the unlabelled pool, the surest first; how many were taken."""
        unlabelled = self.extras.unlabelled
        assert unlabelled is not None
        probabilities, _ = predict(model, unlabelled, device=self.around.device)
        confidence = probabilities.max(axis=1)
        sure = np.flatnonzero(confidence >= self.recipe.pseudo_labels)
        sure = sure[np.argsort(-confidence[sure], kind="stable")][: MOST_PER_LABEL * len(self.data.y)]
        sure, said = self.around.group.agree((sure, probabilities[sure].argmax(axis=1)))
        weight = np.concatenate((self.data.weight, np.full(len(sure), self.recipe.pseudo_weight, np.float32)))
        more = Examples(
            x=np.concatenate((self.data.x, unlabelled[sure])),
            y=np.concatenate((self.data.y, said)),
            weight=(weight / weight.mean()).astype(np.float32),
            n_classes=self.data.n_classes,
            unlabelled=unlabelled,
        )
        return more, len(sure)


def _calibration(logits: npt.NDArray[Any], truth: Ints, temperature: float | None = None) -> Calibration:
    """``logits`` (n, C) of labels that the model behind them had not seen; the temperature is fitted unless given."""
    scores = torch.from_numpy(np.asarray(logits, np.float64))
    fitted = fit_temperature(np.asarray(logits, np.float64), truth) if temperature is None else temperature
    before, after = scores.softmax(1).numpy(), (scores / fitted).softmax(1).numpy()
    report = calibration_report(before, after, truth)
    return Calibration(
        temperature=fitted,
        n=len(truth),
        ece_before=report["ece_before"],
        ece_after=report["ece_after"],
        nll_before=report["nll_before"],
        nll_after=report["nll_after"],
    )


def channel_moments(x: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each channel from 0 to 1, from histograms: exact, and no float copy of the images."""
    values = np.arange(256) / 255
    moments = []
    for channel in range(x.shape[-1]):
        share = np.bincount(x[..., channel].ravel(), minlength=256) / x[..., channel].size
        mean = float(share @ values)
        moments.append((mean, float(np.sqrt(share @ (values - mean) ** 2))))
    mean_std = torch.tensor(moments, dtype=torch.float32)
    return mean_std[:, 0], mean_std[:, 1]


def _measure(network: Network, holdout: Holdout, device: torch.device) -> tuple[float, float]:
    training = network.training
    network.eval()
    truth = torch.from_numpy(np.asarray(holdout[1], dtype=np.int64))
    logits = raw_logits(network, holdout[0], device)
    network.train(training)
    loss = torch.nn.functional.cross_entropy(logits, truth).item()
    return loss, (logits.argmax(1) == truth).double().mean().item()
