"""What differs on a GPU: real memory that runs out, arithmetic in half precision, kernels in an order of their own.

Skipped where PyTorch has no GPU. The rest of the unit tests say what training is; these that it is the same here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from shared.learning import loop
from shared.learning.archs import build_trunk
from shared.learning.backbones import Backbone
from shared.learning.config import LearnConfig
from shared.learning.loop import Surroundings
from shared.learning.predict import embed, predict, predict_members
from shared.learning.train import Extras, Fitted, fit
from tests.unit.learning_support import Notebook, blobs, squares

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch has no GPU here")
CUDA = torch.device("cuda")
CNN = LearnConfig(image_size=16, channels=3, epochs=1, recipe={"min_steps": 60, "augment": "rand", "flip": False})
RESNET = LearnConfig(
    arch="resnet18",
    mode="finetune",
    image_size=64,
    epochs=1,
    recipe={"min_steps": 60, "norm_policy": "train", "flip": False},
)
HEAD = LearnConfig(arch="resnet18", mode="head")
RIDGE = LearnConfig(arch="resnet18", mode="ridge")
OF_RESNET = Extras(backbone_id="resnet18-abc")


@pytest.fixture
def little_memory() -> Iterator[Callable[[float], None]]:
    """Lets this process have so many MiB of the GPU."""

    def limit(mib: float) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(mib * 2**20 / torch.cuda.get_device_properties(CUDA).total_memory)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)


def trained(config: LearnConfig, n: int = 90, **others: Any) -> Fitted:
    data = squares(n, size=config.image_size, channels=3)
    return fit(*data, n_classes=3, config=config, **{"device": CUDA, **others})


def weights_of(fitted: Fitted) -> dict[str, bytes]:
    return {name: tensor.cpu().numpy().tobytes() for name, tensor in fitted.model.network.state_dict().items()}


def accuracy(fitted: Fitted, size: int) -> float:
    x, y = squares(300, 1, size=size, channels=3)
    return float((predict(fitted.model, x, device=CUDA)[0].argmax(axis=1) == y).mean())


@pytest.mark.parametrize("config", [CNN, RESNET], ids=["cnn", "resnet18"])
def test_it_learns_and_the_same_seed_gives_the_same_weights_to_the_last_bit(config: LearnConfig) -> None:
    first = trained(config)
    assert accuracy(first, config.image_size) > 0.9
    assert weights_of(trained(config)) == weights_of(first)


@pytest.mark.parametrize("config", [HEAD, RIDGE], ids=["head", "ridge"])
def test_heads_are_those_of_the_processor(config: LearnConfig) -> None:
    x = blobs(120)[0]
    here, there = (
        fit(*blobs(90), n_classes=3, config=config, extras=OF_RESNET, device=device) for device in (CUDA, "cpu")
    )
    said, other = (predict(fitted.model, x, device=device)[0] for fitted, device in ((here, CUDA), (there, "cpu")))
    assert np.abs(said - other).max() < 0.02


def test_what_a_model_says_is_what_it_says_on_the_processor() -> None:
    fitted = trained(replace(CNN, recipe={**CNN.recipe, "committee": 2}))
    x = squares(70, 3, size=16, channels=3)[0]
    here, there = (predict_members(fitted.model, x, device=device) for device in (CUDA, "cpu"))
    assert here.members is not None and there.members is not None
    assert np.abs(here.members - there.members).max() < 0.02
    assert np.abs(here.features - there.features).max() < 0.02 * np.abs(there.features).max()


def test_a_training_that_runs_out_of_memory_goes_on_in_smaller_pieces(
    little_memory: Callable[[float], None],
) -> None:
    config = replace(RESNET, image_size=128, recipe={**RESNET.recipe, "min_steps": 12, "batch_size": 256, "folds": 0})
    kept = Notebook()
    little_memory(600)  # weights and AdamW take 180 of them
    trained(config, 256, around=Surroundings(device=CUDA, journal=kept))
    state = torch.load(io.BytesIO(kept.states["model"]), weights_only=True)
    assert 1 <= state["micro"] < 256


def test_scoring_that_runs_out_of_memory_goes_on_in_smaller_batches(little_memory: Callable[[float], None]) -> None:
    backbone = Backbone(build_trunk("resnet18", None), "resnet18-abc").to(CUDA)
    x = squares(512, size=224, channels=3)[0]
    roomy = embed(backbone, x, batch_size=64, device=CUDA)
    little_memory(600)
    tight = embed(backbone, x, batch_size=512, device=CUDA)
    assert np.abs(roomy - tight).max() < 0.02 * np.abs(roomy).max()


def test_images_that_the_gpu_has_no_room_for_travel_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {**CNN.recipe, "consistency": 1.0, "min_steps": 20}
    unlabelled = Extras(unlabelled=squares(200, 5, size=16, channels=3)[0])
    on_device = trained(replace(CNN, recipe=recipe), extras=unlabelled)
    monkeypatch.setattr(loop, "_MOST_ON_DEVICE", 0.0)
    assert weights_of(trained(replace(CNN, recipe=recipe), extras=unlabelled)) == weights_of(on_device)


def test_a_killed_training_goes_on_and_gives_the_same_model() -> None:
    config = replace(CNN, dropout=0.3, recipe={**CNN.recipe, "ema": 0.9, "mixup": 0.2})
    whole = trained(config)
    kept = Notebook(break_after=9)
    with pytest.raises(KeyboardInterrupt):
        trained(config, around=Surroundings(device=CUDA, journal=kept))
    kept.left = None
    resumed = trained(config, around=Surroundings(device=CUDA, journal=kept))
    assert weights_of(resumed) == weights_of(whole)
    assert resumed.history == whole.history


def test_a_compiled_network_learns_as_well() -> None:
    config = replace(CNN, recipe={**CNN.recipe, "compile": True, "folds": 0})
    assert accuracy(trained(config), 16) > 0.9
