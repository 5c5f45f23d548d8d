"""Training and predicting: that it learns, that it repeats itself, and what it says of what it can't learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from shared.domain import ProjectSettings
from shared.errors import Invalid, Permanent, Retryable
from shared.learning import train
from shared.learning.config import LearnConfig
from shared.learning.networks import Cnn, CnnConfig, LinearHead
from shared.learning.predict import pick_device, predict
from shared.learning.train import EpochReport, Fitted, fit

SMALL = LearnConfig(image_size=8, channels=1, epochs=1, learning_rate=3e-3)
HEAD = LearnConfig(arch="resnet18", mode="head")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as these lose more by waiting for a second thread than it gains them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that don't ask how well the network learned."""
    monkeypatch.setattr(train, "MIN_STEPS", 20)


def squares(n: int, seed: int = 0, *, size: int = 8, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright square at the top left, the top right or the bottom: three classes."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 100, (n, size, size, channels), dtype=np.uint8)
    y = rng.integers(0, 3, n)
    half = size // 2
    for image, kind in zip(x, y, strict=True):
        row, column = ((0, 0), (0, half), (half, half // 2))[kind]
        image[row : row + half, column : column + half] += 120
    return x, y


def blobs(n: int, seed: int = 0, dim: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    centres = np.random.default_rng(99).normal(size=(3, dim)) * 2
    return (centres[y] + rng.normal(size=(n, dim))).astype(np.float32), y


def weights_of(fitted: Fitted) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in fitted.model.network.state_dict().items()}


def test_the_cnn_learns_and_reports_every_epoch() -> None:
    seen: list[EpochReport] = []
    fitted = fit(*squares(90), n_classes=3, config=SMALL, holdout=squares(60, 1), on_epoch=seen.append)
    probabilities, features = predict(fitted.model, squares(60, 1)[0])
    assert (probabilities.argmax(axis=1) == squares(60, 1)[1]).mean() > 0.9
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    assert (probabilities.dtype, features.dtype, features.shape) == (np.float32, np.float32, (60, 128))
    assert tuple(seen) == fitted.history
    assert [report.epoch for report in seen] == list(range(1, seen[-1].epochs + 1))
    assert seen[-1].loss < seen[0].loss
    assert seen[-1].holdout_accuracy == pytest.approx((probabilities.argmax(axis=1) == squares(60, 1)[1]).mean())


def test_the_head_solves_its_problem() -> None:
    config = LearnConfig(arch="resnet18", mode="head", head_decay=0.01)
    x, y = blobs(120)
    fitted = fit(x, y, n_classes=3, config=config, holdout=blobs(90, 1), backbone_id="resnet18-abc")
    probabilities, features = predict(fitted.model, blobs(90, 1)[0])
    assert (probabilities.argmax(axis=1) == blobs(90, 1)[1]).mean() > 0.95
    assert np.array_equal(features, blobs(90, 1)[0])
    # At the minimum the gradient vanishes: mean (p - onehot) x' + head_decay W = 0.
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    residual = predict(fitted.model, x)[0] - np.eye(3)[y]
    assert isinstance(fitted.model.network, LinearHead)
    gradient = residual.T @ standard / len(x) + 0.01 * fitted.model.network.classifier.weight.numpy()
    assert np.abs(gradient).max() < 1e-3


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("config", [SMALL, HEAD], ids=["scratch", "head"])
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(config: LearnConfig) -> None:
    data = squares(40) if config.mode == "scratch" else blobs(40)
    first, second = (fit(*data, n_classes=3, config=config, backbone_id="resnet18-abc") for _ in range(2))
    assert weights_of(first) == weights_of(second)


@pytest.mark.usefixtures("few_steps")
def test_another_seed_gives_other_weights_and_the_callers_generator_is_untouched() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fit(*squares(20), n_classes=3, config=SMALL)
    assert torch.equal(torch.rand(1), expected)
    other = LearnConfig(image_size=8, channels=1, epochs=1, learning_rate=3e-3, seed=1)
    assert weights_of(first) != weights_of(fit(*squares(20), n_classes=3, config=other))


@pytest.mark.usefixtures("few_steps")
def test_looking_at_a_holdout_does_not_change_the_model() -> None:
    without = fit(*squares(40), n_classes=3, config=SMALL)
    with_holdout = fit(*squares(40), n_classes=3, config=SMALL, holdout=squares(30, 1))
    assert weights_of(without) == weights_of(with_holdout)


@pytest.mark.parametrize("n", [1, 2, 33])
def test_it_bears_few_labels_and_classes_without_any(n: int) -> None:
    x, _ = squares(n)
    probabilities, _ = predict(fit(x, np.zeros(n, int), n_classes=3, config=SMALL).model, x)
    assert np.isfinite(probabilities).all()
    assert (probabilities.argmax(axis=1) == 0).all()


def test_a_head_bears_one_label_and_features_that_never_vary() -> None:
    x = np.ones((1, 4), dtype=np.float32)
    model = fit(x, np.array([1]), n_classes=2, config=HEAD, backbone_id="resnet18-abc").model
    assert np.isfinite(predict(model, x)[0]).all()


def test_a_stop_ends_the_training_at_once_as_retryable() -> None:
    steps = iter([False, False, True])
    with pytest.raises(Retryable, match="stopped"):
        fit(*squares(40), n_classes=3, config=SMALL, should_stop=lambda: next(steps))
    with pytest.raises(Retryable):
        fit(*blobs(40), n_classes=3, config=HEAD, backbone_id="resnet18-abc", should_stop=lambda: True)


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
        fit(np.full((2, 3), np.nan, np.float32), np.zeros(2), n_classes=2, config=HEAD, backbone_id="resnet18-abc")
    with pytest.raises(Invalid, match="which backbone"):
        fit(*blobs(5), n_classes=3, config=HEAD)


@pytest.mark.usefixtures("few_steps")
def test_predicting_checks_what_it_is_given_and_bears_nothing() -> None:
    model = fit(*squares(20), n_classes=3, config=SMALL).model
    with pytest.raises(Invalid, match="takes uint8 pixels"):
        predict(model, np.zeros((2, 9, 9, 1), np.uint8))
    probabilities, features = predict(model, np.zeros((0, 8, 8, 1), np.uint8))
    assert (probabilities.shape, features.shape) == ((0, 3), (0, 128))
    head = fit(*blobs(20), n_classes=3, config=HEAD, backbone_id="resnet18-abc").model
    with pytest.raises(Invalid, match="takes features, not pixels"):
        predict(head, np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(Invalid, match="features of 20 numbers"):
        predict(head, np.zeros((2, 19), np.float32))


@pytest.mark.usefixtures("few_steps")
def test_predicting_in_batches_and_from_read_only_arrays_gives_the_same() -> None:
    model, (x, _) = fit(*squares(20), n_classes=3, config=SMALL).model, squares(50, 2)
    x.setflags(write=False)
    assert predict(model, x, batch_size=7)[0] == pytest.approx(predict(model, x)[0], abs=1e-5)


@pytest.mark.parametrize("size", [8, 9, 15, 28, 32, 64, 100, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_cnn_takes_any_size_from_eight_and_stays_small(size: int, channels: int) -> None:
    net = Cnn(CnnConfig(n_classes=7, image_size=size, channels=channels)).eval()
    x = torch.rand(2, channels, size, size)
    assert net(x).shape == (2, 7)
    assert net.features(x).shape == (2, 128)
    assert sum(parameter.numel() for parameter in net.parameters()) < 700_000


def test_the_cnn_has_three_blocks_of_two_convolutions_and_its_options_work() -> None:
    kinds = [type(layer).__name__ for layer in Cnn(CnnConfig(n_classes=2, batch_norm=False)).modules()]
    assert (kinds.count("Conv2d"), kinds.count("MaxPool2d"), kinds.count("BatchNorm2d")) == (6, 3, 0)
    assert [type(m).__name__ for m in Cnn(CnnConfig(n_classes=2)).modules()].count("BatchNorm2d") == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"arch": "resnet18"},
        {"mode": "head"},
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
