"""Training pretrained networks further, through the loop: stages, rates, batch norms."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torchvision import models

from shared.errors import Invalid
from shared.learning import archs, backbones
from shared.learning.config import LearnConfig
from shared.learning.loop import Examples, Surroundings, train_network
from shared.learning.networks import to_input
from shared.learning.predict import embed
from shared.learning.recipe import Recipe
from shared.learning.transfer import Transfer, build_transfer

FAMILIES = [
    ("vgg16", 32),
    ("densenet121", 32),
    ("resnet18", 32),
    ("resnet50", 32),
    ("mobilenet_v2", 32),
    ("mobilenet_v3_small", 32),
    ("squeezenet1_0", 32),
    ("efficientnet_b0", 32),
    ("convnext_tiny", 32),
    ("vit_b_16", 32),
    ("inception_v3", 75),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def examples(size: int, n: int = 4) -> Examples:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return Examples(x=x, y=np.arange(n) % 3, weight=np.ones(n, np.float32), n_classes=3)


def state_bytes(arch: str) -> bytes:
    torch.manual_seed(0)
    out = io.BytesIO()
    torch.save(models.get_model(arch, weights=None).state_dict(), out)
    return out.getvalue()


def one_step(network: Transfer, data: Examples, **recipe: object) -> None:
    once = Recipe(epochs=1, min_steps=1, batch_size=4, schedule="constant", learning_rate=1e-3, **recipe)  # type: ignore[arg-type]
    around = Surroundings(device=torch.device("cpu"))
    train_network(network, data, once, run="t", seed=0, around=around, on_epoch=lambda epoch, kept: {})


@pytest.mark.parametrize(("arch", "size"), FAMILIES)
def test_every_family_gives_features_and_learns_in_one_step(arch: str, size: int) -> None:
    network = build_transfer(arch, 3, image_size=size, dropout=0.0)
    data = examples(size)
    with torch.inference_mode():
        features = network.eval().features(to_input(torch.from_numpy(data.x)))
        logits = network.logits(features)
    assert features.shape == (4, archs.info(arch).feature_size)
    assert logits.shape == (4, 3) and torch.isfinite(logits).all()
    before = {name: value.clone() for name, value in network.named_parameters()}
    one_step(network, data)
    moved = [name for name, value in network.named_parameters() if not torch.equal(value, before[name])]
    assert len(moved) > 0.9 * len(before)


@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_0", "resnet18"])
def test_before_it_is_trained_its_features_are_those_of_the_frozen_network(arch: str) -> None:
    weights, pixels = state_bytes(arch), examples(64).x
    network = build_transfer(arch, 3, image_size=64, dropout=0.0, weights=weights).eval()
    with torch.inference_mode():
        features = network.features(to_input(torch.from_numpy(pixels))).numpy()
    assert features == pytest.approx(embed(backbones.load(arch, weights), pixels), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "vgg16", "convnext_tiny"])
def test_the_stages_hold_every_parameter_once_and_end_with_the_classifier(arch: str) -> None:
    network = build_transfer(arch, 3, image_size=64, dropout=0.0)
    stages = network.stages()
    held = [id(parameter) for stage in stages for parameter in stage]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())
    assert len(stages) == 5
    assert [id(p) for p in stages[-1]] == [id(p) for p in network.classifier.parameters()]


def test_layers_next_to_the_pixels_are_moved_least_and_last() -> None:
    def moved(**recipe: object) -> list[float]:
        torch.manual_seed(0)
        network = build_transfer("squeezenet1_0", 3, image_size=32, dropout=0.0)
        stages = network.stages()
        before = [[p.detach().clone() for p in stage] for stage in stages]
        one_step(network, examples(32), weight_decay=0.0, **recipe)
        return [
            max(float((p.detach() - q).abs().max()) for p, q in zip(stage, old, strict=True))
            for stage, old in zip(stages, before, strict=True)
        ]

    # AdamW's first step is as long as its rate, whatever the gradient.
    assert moved(trunk_rate=0.01)[0] == pytest.approx(1e-5, rel=0.05)
    assert moved(trunk_rate=0.01)[-1] == pytest.approx(1e-3, rel=0.05)
    gradual = moved(trunk_rate=1.0, unfreeze=0.5)
    assert gradual[:4] == [0.0, 0.0, 0.0, 0.0] and gradual[4] > 0


def test_frozen_batch_norms_keep_what_they_learnt_before() -> None:
    def statistics(policy: str) -> torch.Tensor:
        torch.manual_seed(0)
        network = build_transfer("resnet18", 3, image_size=32, dropout=0.0)
        one_step(network, examples(32), norm_policy=policy)
        mean: torch.Tensor = network.get_buffer("trunk.bn1.running_mean")
        return mean

    assert not statistics("frozen").any()
    assert statistics("train").any()


def test_a_size_that_a_network_cannot_take_is_refused() -> None:
    with pytest.raises(Invalid, match="multiple of 16"):
        build_transfer("vit_b_16", 3, image_size=50, dropout=0.0)
    with pytest.raises(Invalid, match="no published weights"):
        build_transfer("cnn", 3, image_size=32, dropout=0.0)
    with pytest.raises(Invalid, match="needs a pretrained architecture"):
        LearnConfig(arch="cnn", mode="finetune")
