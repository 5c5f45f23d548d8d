"""Training and predicting: that it learns, that it repeats itself, and what it says of what it can't learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from shared.domain import ProjectSettings
from shared.errors import Invalid, Permanent, Retryable
from shared.learning.config import LearnConfig
from shared.learning.loop import Surroundings
from shared.learning.networks import LinearHead, Network
from shared.learning.predict import pick_device, predict, predict_members
from shared.learning.train import EpochReport, Extras, Fitted, fit
from tests.unit.learning_support import Notebook, blobs, squares

SMALL = LearnConfig(image_size=8, channels=1, epochs=1)
QUICK = LearnConfig(image_size=8, channels=1, epochs=1, recipe={"min_steps": 20})
"""For tests that don't ask how well the network learned."""
HEAD = LearnConfig(arch="resnet18", mode="head")
RIDGE = LearnConfig(arch="resnet18", mode="ridge")
OF_RESNET = Extras(backbone_id="resnet18-abc")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as these lose more by waiting for a second thread than it gains them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def told(should_stop: Callable[[], bool]) -> Surroundings:
    return Surroundings(device=torch.device("cpu"), should_stop=should_stop)


def weights_of(fitted: Fitted) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in fitted.model.network.state_dict().items()}


def test_the_cnn_learns_and_reports_every_epoch() -> None:
    seen: list[EpochReport] = []
    fitted = fit(*squares(90), n_classes=3, config=SMALL, holdout=squares(60, 1), on_epoch=seen.append)
    probabilities, features = predict(fitted.model, squares(60, 1)[0])
    assert (probabilities.argmax(axis=1) == squares(60, 1)[1]).mean() > 0.9
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    assert (probabilities.dtype, features.dtype, features.shape) == (np.float32, np.float32, (60, 128))
    of_model = [report for report in seen if report.stage == "model"]
    assert tuple(of_model) == fitted.history
    assert [report.epoch for report in of_model] == list(range(1, of_model[-1].epochs + 1))
    assert of_model[-1].loss < of_model[0].loss
    shares = [report.done for report in seen]
    assert shares == sorted(shares) and shares[-1] == 1
    assert seen[-1].holdout_accuracy == pytest.approx((probabilities.argmax(axis=1) == squares(60, 1)[1]).mean())


def test_the_head_solves_its_problem() -> None:
    config = LearnConfig(arch="resnet18", mode="head", recipe={"head_decay": 0.01, "folds": 0})
    x, y = blobs(120)
    fitted = fit(x, y, n_classes=3, config=config, holdout=blobs(90, 1), extras=OF_RESNET)
    probabilities, features = predict(fitted.model, blobs(90, 1)[0])
    assert (probabilities.argmax(axis=1) == blobs(90, 1)[1]).mean() > 0.95
    assert np.array_equal(features, blobs(90, 1)[0])
    # At the minimum the gradient vanishes: mean (p - onehot) x' + head_decay W = 0.
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    residual = predict(fitted.model, x)[0] - np.eye(3)[y]
    assert isinstance(fitted.model.network, LinearHead)
    gradient = residual.T @ standard / len(x) + 0.01 * fitted.model.network.classifier.weight.numpy()
    assert np.abs(gradient).max() < 1e-3


@pytest.mark.parametrize("config", [QUICK, HEAD, RIDGE], ids=["scratch", "head", "ridge"])
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(config: LearnConfig) -> None:
    data = squares(40) if config.mode == "scratch" else blobs(40)
    first, second = (fit(*data, n_classes=3, config=config, extras=OF_RESNET) for _ in range(2))
    assert weights_of(first) == weights_of(second)


def test_another_seed_gives_other_weights_and_the_callers_generator_is_untouched() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fit(*squares(20), n_classes=3, config=QUICK)
    assert torch.equal(torch.rand(1), expected)
    other = replace(QUICK, seed=1)
    assert weights_of(first) != weights_of(fit(*squares(20), n_classes=3, config=other))


def test_looking_at_a_holdout_does_not_change_the_model() -> None:
    without = fit(*squares(40), n_classes=3, config=QUICK)
    with_holdout = fit(*squares(40), n_classes=3, config=QUICK, holdout=squares(30, 1))
    assert weights_of(without) == weights_of(with_holdout)


@pytest.mark.parametrize("n", [1, 2, 33])
def test_it_bears_few_labels_and_classes_without_any(n: int) -> None:
    x, _ = squares(n)
    probabilities, _ = predict(fit(x, np.zeros(n, int), n_classes=3, config=SMALL).model, x)
    assert np.isfinite(probabilities).all()
    assert (probabilities.argmax(axis=1) == 0).all()


def test_a_head_bears_one_label_and_features_that_never_vary() -> None:
    x = np.ones((1, 4), dtype=np.float32)
    model = fit(x, np.array([1]), n_classes=2, config=HEAD, extras=OF_RESNET).model
    assert np.isfinite(predict(model, x)[0]).all()


def test_a_stop_ends_the_training_at_once_as_retryable() -> None:
    steps = iter([False, False, True])
    with pytest.raises(Retryable, match="stopped"):
        fit(*squares(40), n_classes=3, config=SMALL, around=told(lambda: next(steps)))
    with pytest.raises(Retryable):
        fit(*blobs(40), n_classes=3, config=HEAD, extras=OF_RESNET, around=told(lambda: True))


def test_a_training_that_diverges_says_so() -> None:
    wild = LearnConfig(image_size=8, channels=1, learning_rate=1e30, batch_norm=False)
    with pytest.raises(Permanent, match="lower learning_rate"):
        fit(*squares(40), n_classes=3, config=wild)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0), "no labelled image"),
        (np.zeros((2, 8, 8, 1), np.uint8), np.zeros(3), "2 images but 3 labels"),
        (np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 3]), "outside the 3 classes"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2), "must be uint8 pixels"),
        (np.zeros((2, 8, 8, 1), np.float32), np.zeros(2), "must be uint8 pixels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        fit(x, y, n_classes=3, config=SMALL)


def test_a_head_wants_finite_features_and_their_backbone() -> None:
    with pytest.raises(Invalid, match="finite features"):
        fit(np.full((2, 3), np.nan, np.float32), np.zeros(2), n_classes=2, config=HEAD, extras=OF_RESNET)
    with pytest.raises(Invalid, match="which backbone"):
        fit(*blobs(5), n_classes=3, config=HEAD)


def test_predicting_checks_what_it_is_given_and_bears_nothing() -> None:
    model = fit(*squares(20), n_classes=3, config=QUICK).model
    with pytest.raises(Invalid, match="takes uint8 pixels"):
        predict(model, np.zeros((2, 9, 9, 1), np.uint8))
    probabilities, features = predict(model, np.zeros((0, 8, 8, 1), np.uint8))
    assert (probabilities.shape, features.shape) == ((0, 3), (0, 128))
    head = fit(*blobs(20), n_classes=3, config=HEAD, extras=OF_RESNET).model
    with pytest.raises(Invalid, match="takes features, not pixels"):
        predict(head, np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(Invalid, match="features of 20 numbers"):
        predict(head, np.zeros((2, 19), np.float32))


def test_predicting_in_batches_and_from_read_only_arrays_gives_the_same() -> None:
    model, (x, _) = fit(*squares(20), n_classes=3, config=QUICK).model, squares(50, 2)
    x.setflags(write=False)
    assert predict(model, x, batch_size=7)[0] == pytest.approx(predict(model, x)[0], abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "head"},
        {"mode": "finetune"},
        {"recipe": {"depth": 3}},
        {"recipe": {"augment": "wild"}},
        {"recipe": {"epochs": "many"}},
        {"recipe": {"flip": 1}},
        {"recipe": {"ema": 1.0}},
        {"mode": "magic"},
        {"channels": 2},
        {"image_size": 4},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"dropout": 1.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        LearnConfig(**wrong)


def test_settings_survive_the_way_through_a_dict_and_come_from_a_project() -> None:
    config = LearnConfig.from_settings(ProjectSettings(epochs=7, dropout=0.0, seed=3))
    assert (config.epochs, config.dropout, config.seed) == (7, 0.0, 3)
    assert LearnConfig.from_dict(config.to_dict()) == config
    with pytest.raises(Invalid, match="unknown training settings: depth"):
        LearnConfig.from_dict({"depth": 3})


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("frob", "cuda:99"):
        with pytest.raises(Permanent, match=f"the device '{name}' was asked for"):
            pick_device(name)


def test_out_of_memory_halves_the_pieces_and_gives_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(QUICK, batch_norm=False, dropout=0.0, recipe={"min_steps": 20, "folds": 0})
    roomy = fit(*squares(40), n_classes=3, config=config)
    sizes: list[int] = []
    forward = Network.forward

    def narrow(self: Network, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 6:
            raise torch.OutOfMemoryError("a forward pass of this size does not fit")
        return forward(self, x)

    monkeypatch.setattr(Network, "forward", narrow)
    tight = fit(*squares(40), n_classes=3, config=config)
    assert sizes[:3] == [20, 10, 5] and max(sizes[3:]) == 5
    for name, weights in roomy.model.network.state_dict().items():
        assert torch.allclose(weights, tight.model.network.state_dict()[name], atol=1e-4), name


def never_enough(self: Network, x: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("no")


def test_one_image_that_does_not_fit_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "forward", never_enough)
    with pytest.raises(Permanent, match="does not suffice for one image: lower image_size"):
        fit(*squares(40), n_classes=3, config=QUICK)


def test_scoring_that_runs_out_of_memory_goes_on_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit(
        *squares(40), n_classes=3, config=replace(QUICK, dropout=0.3, recipe={"min_steps": 20, "mc_dropout": 3})
    )
    x = squares(50, 2)[0]
    roomy = predict_members(fitted.model, x)
    sizes: list[int] = []
    probabilities = Network.probabilities

    def narrow(self: Network, features: torch.Tensor) -> torch.Tensor:
        sizes.append(len(features))
        if len(features) > 12 and self.training:
            raise torch.OutOfMemoryError("a batch of this size does not fit")
        return probabilities(self, features)

    monkeypatch.setattr(Network, "probabilities", narrow)
    tight = predict_members(fitted.model, x)
    assert max(sizes[6:]) <= 12
    assert np.allclose(roomy.probabilities, tight.probabilities, atol=1e-6)
    monkeypatch.setattr(type(fitted.model.network), "features", never_enough)
    with pytest.raises(Permanent, match="does not suffice for one image"):
        predict(fitted.model, x)


@pytest.mark.parametrize("epochs_before", [0, 7, 24])
@pytest.mark.parametrize("recipe", [{}, {"ema": 0.9, "mixup": 0.2}, {"augment": "rand", "optimizer": "sgd"}])
def test_a_killed_training_goes_on_and_gives_the_same_model(epochs_before: int, recipe: dict[str, Any]) -> None:
    """20 epochs for the temperature, on four fifths of the labels, then 10 of the model: killed in either."""
    config = replace(QUICK, dropout=0.3, recipe={"min_steps": 20, **recipe})
    whole = fit(*squares(40), n_classes=3, config=config)
    kept = Notebook(break_after=epochs_before)
    with pytest.raises(KeyboardInterrupt):
        fit(*squares(40), n_classes=3, config=config, around=Surroundings(device=torch.device("cpu"), journal=kept))
    kept.left = None
    seen: list[EpochReport] = []
    resumed = fit(
        *squares(40),
        n_classes=3,
        config=config,
        around=Surroundings(device=torch.device("cpu"), journal=kept),
        on_epoch=seen.append,
    )
    assert weights_of(resumed) == weights_of(whole)
    assert resumed.history == whole.history
    assert len(seen) == 29 - epochs_before


def test_a_committee_differs_and_says_what_each_member_thinks() -> None:
    config = replace(QUICK, recipe={"min_steps": 20, "committee": 3, "committee_by": "bootstrap", "folds": 0})
    fitted = fit(*squares(60), n_classes=3, config=config)
    scores = predict_members(fitted.model, squares(30, 1)[0])
    assert scores.members is not None and scores.members.shape == (30, 3, 3)
    assert scores.members.mean(axis=1) == pytest.approx(scores.probabilities, abs=1e-6)
    assert scores.members.std(axis=1).max() > 0.01
    assert predict(fitted.model, squares(30, 1)[0])[0] == pytest.approx(scores.probabilities, abs=1e-6)


def test_dropout_makes_members_of_one_model_the_same_for_the_same_seed() -> None:
    config = replace(QUICK, dropout=0.5, recipe={"min_steps": 20, "mc_dropout": 8})
    model = fit(*squares(60), n_classes=3, config=config).model
    first, second = (predict_members(model, squares(30, 1)[0], seed=4).members for _ in range(2))
    assert first is not None and second is not None and first.shape == (30, 8, 3)
    assert np.array_equal(first, second)
    assert first.std(axis=1).max() > 0.01
    assert predict_members(model, squares(30, 1)[0], seed=5).members != pytest.approx(first)


@pytest.mark.parametrize("config", [QUICK, HEAD, RIDGE], ids=["scratch", "head", "ridge"])
def test_the_temperature_is_fitted_on_labels_that_the_model_did_not_see(config: LearnConfig) -> None:
    rng = np.random.default_rng(0)
    x, y = squares(80) if config.mode == "scratch" else blobs(80)
    y = np.where(rng.random(80) < 0.4, rng.integers(0, 3, 80), y)  # so that nobody can be as sure as the training is
    found = fit(x, y, n_classes=3, config=config, extras=OF_RESNET)
    assert found.calibration is not None
    assert found.model.network.temperature.item() == pytest.approx(found.calibration.temperature)
    assert found.calibration.nll_after <= found.calibration.nll_before + 1e-9
    assert found.calibration.n == (16 if config.mode == "scratch" else 80)


def test_a_warm_start_begins_where_the_last_round_ended() -> None:
    before = fit(*squares(60), n_classes=3, config=SMALL).model
    slow = replace(SMALL, learning_rate=1e-9, recipe={"min_steps": 1, "folds": 0, "weight_decay": 0.0})
    for start, share in (("fresh", None), ("warm", 1.0), ("shrink_perturb", 0.5)):
        config = replace(slow, recipe={**slow.recipe, "start": start})
        after = fit(*squares(60), n_classes=3, config=config, extras=Extras(previous=before)).model
        old, new = (model.network.get_parameter("hidden.weight") for model in (before, after))
        if share is None:
            assert not torch.allclose(new, old, atol=1e-3)
        else:
            assert (new - share * old).abs().mean() < (0.0 if share == 1 else 0.1) * old.abs().mean() + 1e-6


@pytest.mark.parametrize("imbalance", ["weighted", "balanced", "undersample"])
def test_a_rare_class_is_found_when_it_is_made_to_count(imbalance: str) -> None:
    rng = np.random.default_rng(0)
    x, y = squares(300, 3)
    x = (x * 0.3 + rng.integers(0, 150, x.shape)).astype(np.uint8)
    kept = np.flatnonzero((y != 2) | (np.cumsum(y == 2) <= 6))
    test_x, test_y = squares(300, 4)
    test_x = (test_x * 0.3 + rng.integers(0, 150, test_x.shape)).astype(np.uint8)

    def recall(how: str) -> float:
        config = replace(SMALL, recipe={"imbalance": how, "folds": 0, "min_steps": 60})
        model = fit(x[kept], y[kept], n_classes=3, config=config).model
        return float((predict(model, test_x[test_y == 2])[0].argmax(axis=1) == 2).mean())

    assert recall(imbalance) > recall("none")


@pytest.mark.parametrize("config", [SMALL, HEAD], ids=["scratch", "head"])
def test_pseudo_labels_are_taken_from_what_the_model_is_sure_of(config: LearnConfig) -> None:
    make = squares if config.mode == "scratch" else blobs
    sure = replace(config, recipe={"pseudo_labels": 0.8, "min_steps": 60})
    pool, _ = make(100, 5)
    extras = replace(OF_RESNET, unlabelled=pool)
    fitted = fit(*make(60), n_classes=3, config=sure, extras=extras)
    assert 0 < fitted.details["pseudo_labels"] <= 100
    nothing = fit(*make(60), n_classes=3, config=sure, extras=replace(extras, unlabelled=pool[:0]))
    assert "pseudo_labels" not in nothing.details


def test_consistency_learns_from_images_without_labels() -> None:
    x, y = squares(400, 7, size=16)
    test_x, test_y = squares(300, 8, size=16)
    few = [int(np.flatnonzero(y == c)[0]) for c in range(3)]
    base = {"folds": 0, "min_steps": 150, "batch_size": 8}

    def accuracy(recipe: dict[str, Any]) -> float:
        config = LearnConfig(image_size=16, channels=1, epochs=1, recipe=base | recipe)
        model = fit(x[few], y[few], n_classes=3, config=config, extras=Extras(unlabelled=x)).model
        return float((predict(model, test_x)[0].argmax(axis=1) == test_y).mean())

    assert accuracy({"consistency": 1.0, "consistency_ratio": 4, "consistency_threshold": 0.8}) >= accuracy({})


ONE_LABEL = [
    LearnConfig(arch="cnn", image_size=8, recipe={"min_steps": 4}),
    LearnConfig(arch="resnet18", image_size=32, recipe={"min_steps": 2}),
    LearnConfig(arch="resnet18", image_size=32, recipe={"min_steps": 2, "mixup": 0.2, "imbalance": "undersample"}),
    LearnConfig(arch="resnet18", mode="finetune", image_size=32, recipe={"min_steps": 2, "norm_policy": "train"}),
    LearnConfig(arch="resnet18", mode="head"),
    LearnConfig(arch="resnet18", mode="head", recipe={"head": "mlp"}),
    LearnConfig(arch="resnet18", mode="ridge"),
]
"""At 32 pixels a ResNet's last batch norms see one position, so that a lone image has no variance there."""


@pytest.mark.parametrize("config", ONE_LABEL, ids=lambda config: f"{config.arch}-{config.mode}")
def test_one_label_is_enough_to_train_on(config: LearnConfig) -> None:
    side = config.image_size
    x = blobs(1)[0] if config.mode in ("head", "ridge") else squares(1, size=side, channels=3)[0]
    fitted = fit(x, np.array([1]), n_classes=3, config=config, extras=OF_RESNET)
    probabilities, _ = predict(fitted.model, x)
    assert np.isfinite(probabilities).all() and probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert all(0 <= report.accuracy <= 1 for report in fitted.history)


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_no_image_is_left_alone_in_a_batch(labels: int) -> None:
    config = LearnConfig(arch="resnet18", image_size=32, recipe={"batch_size": 2, "epochs": 1, "min_steps": 1})
    x, y = squares(labels, size=32, channels=3)
    fitted = fit(x, y, n_classes=3, config=config)
    assert np.isfinite(predict(fitted.model, x)[0]).all()
    assert fitted.history[-1].loss > 0


@pytest.mark.parametrize("config", [QUICK, HEAD, RIDGE], ids=["scratch", "head", "ridge"])
def test_what_is_right_above_a_confidence_is_counted_for_all_labels_and_for_random_ones(config: LearnConfig) -> None:
    x, y = squares(80) if config.mode == "scratch" else blobs(80)
    at_random = np.arange(80) % 4 == 0
    every_fold = replace(config, recipe={**config.recipe, "folds": 5})
    found = fit(x, y, n_classes=3, config=every_fold, extras=replace(OF_RESNET, at_random=at_random)).calibration
    assert found is not None and found.above is not None and found.above_at_random is not None
    counted, drawn = found.above["n"], found.above_at_random["n"]
    assert found.n == 80 and 80 >= counted[0] > 40 and 20 >= drawn[0] > 10
    assert counted == sorted(counted, reverse=True)
    assert all(right <= n for n, right in zip(counted, found.above["right"], strict=True))
    assert all(some <= n for n, some in zip(counted, drawn, strict=True))


def test_a_committee_of_heads_has_no_evidence_of_how_sure_it_may_be() -> None:
    config = replace(RIDGE, recipe={"committee": 2})
    found = fit(*blobs(80), n_classes=3, config=config, extras=OF_RESNET).calibration
    assert found is not None and found.above is None
