"""Pretrained networks with a classifier of one's own: shapes, one step of training, stages, weights."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import models

from shared.errors import Invalid, Permanent
from shared.learning import archs, backbones
from shared.learning.transfer import Transfer, build_transfer

SIZES = {
    "vgg16": 32,
    "densenet121": 32,
    "resnet18": 32,
    "resnet50": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "squeezenet1_0": 32,
    "efficientnet_b0": 32,
    "convnext_tiny": 32,
    "vit_b_16": 32,
    "googlenet": 32,
    "inception_v3": 80,
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """What is computed here is small, and other processes may hold the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(state: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def published(arch: str, **options: Any) -> bytes:
    """A weights file as torchvision writes them, with random numbers in it."""
    torch.manual_seed(0)
    return saved(models.get_model(arch, weights=None, **options).state_dict())


def step(network: Transfer, x: Tensor, y: Tensor) -> set[str]:
    """Train for one step; the names of the weights that moved."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    F.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {name for name, parameter in network.named_parameters() if not torch.equal(before[name], parameter)}


@pytest.mark.parametrize("arch", SIZES)
def test_it_trains_from_its_first_layer_to_its_last(arch: str) -> None:
    torch.manual_seed(0)
    network = build_transfer(arch, 5, image_size=SIZES[arch], dropout=0.0)
    x = torch.rand(2, 3, SIZES[arch], SIZES[arch])
    features = network.eval().features(x)
    assert features.shape == (2, archs.info(arch).feature_size)
    assert torch.equal(network.logits(features), network(x))
    moved = step(network, x, torch.tensor([0, 1]))
    first = next(name for name, parameter in network.named_parameters() if parameter.ndim == 4)
    assert {first, "classifier.weight"} <= moved


@pytest.mark.parametrize("arch", ["mobilenet_v2", "squeezenet1_0"])
def test_untrained_it_gives_the_features_of_the_frozen_backbone(arch: str) -> None:
    data, x = published(arch), torch.rand(2, 3, 48, 48)
    network = build_transfer(arch, 5, image_size=48, dropout=0.5, weights=data).eval()
    with torch.inference_mode():
        assert torch.equal(network.features(x), backbones.load(arch, data)(x))


def test_its_only_dropout_before_the_classifier_is_the_one_asked_for() -> None:
    network = build_transfer("vgg11", 5, image_size=32, dropout=0.3)
    rates = [module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates == [0.5, 0.3]  # VGG's own is between its fully connected layers


def test_grey_images_are_three_equal_channels() -> None:
    network, grey = build_transfer("resnet18", 5, image_size=32, dropout=0.0).eval(), torch.rand(2, 1, 32, 32)
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_it_begins_with_the_normalisation_of_the_published_weights() -> None:
    network = build_transfer("resnet18", 5, image_size=32, dropout=0.0)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert network.std.shape == (1, 3, 1, 1)


def test_from_scratch_it_can_be_given_the_statistics_of_grey_images() -> None:
    network = build_transfer("resnet18", 5, image_size=32, dropout=0.0)
    network.standardise_with(torch.tensor([0.25]), torch.tensor([0.5]))
    assert network.mean.flatten().tolist() == [0.25] * 3
    assert network.std.flatten().tolist() == [0.5] * 3


@pytest.mark.parametrize("arch", ["resnet18", "vgg11", "densenet121", "squeezenet1_0", "convnext_tiny", "vit_b_32"])
def test_stages_hold_every_weight_once_from_the_input_to_the_classifier(arch: str) -> None:
    with torch.device("meta"):
        network = build_transfer(arch, 5, image_size=32, dropout=0.0)
    stages = network.stages()
    flat = [id(parameter) for stage in stages for parameter in stage]
    assert flat == [id(parameter) for parameter in network.parameters()]
    assert len(stages) == 5
    assert [id(one) for one in stages[-1]] == [id(one) for one in network.classifier.parameters()]


@pytest.mark.parametrize("arch", ["resnet18", "vit_b_32", "googlenet"])
def test_a_checkpoint_fills_a_network_built_without_weights(arch: str) -> None:
    torch.manual_seed(0)
    trained = build_transfer(arch, 5, image_size=64, dropout=0.0).eval()
    again = build_transfer(arch, 5, image_size=64, dropout=0.0).eval()
    again.load_state_dict(trained.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(x), trained(x))


def test_auxiliary_classifiers_in_a_file_are_left_out() -> None:
    data = published("googlenet", aux_logits=True, init_weights=False)
    network = build_transfer("googlenet", 5, image_size=32, dropout=0.0, weights=data)
    assert not [key for key in network.state_dict() if "aux" in key]


class TestVisionTransformer:
    def test_its_position_table_follows_the_size_of_the_images(self) -> None:
        data = published("vit_b_32", image_size=96)
        table = torch.load(io.BytesIO(data), weights_only=True)["encoder.pos_embedding"]
        network = build_transfer("vit_b_32", 5, image_size=160, dropout=0.0, weights=data).eval()
        stretched = network.trunk.get_parameter("encoder.pos_embedding")
        assert stretched.shape == (1, 1 + 5 * 5, 768)
        corners = (1 + torch.tensor([0, 4, 20, 24]), 1 + torch.tensor([0, 2, 6, 8]))
        assert torch.allclose(stretched[:, corners[0]], table[:, corners[1]], atol=1e-5)
        assert network(torch.rand(1, 3, 160, 160)).shape == (1, 5)

    def test_at_the_size_of_its_weights_nothing_is_interpolated(self) -> None:
        data, x = published("vit_b_32", image_size=64), torch.rand(1, 3, 64, 64)
        network = build_transfer("vit_b_32", 5, image_size=64, dropout=0.0, weights=data).eval()
        with torch.inference_mode():
            assert torch.equal(network.features(x), backbones.load("vit_b_32", data)(x))

    def test_a_size_between_its_patches_is_refused(self) -> None:
        with pytest.raises(Invalid, match="a multiple of 16 pixels; image_size is 40"):
            build_transfer("vit_b_16", 5, image_size=40, dropout=0.0)


@pytest.mark.parametrize(("arch", "size"), [("squeezenet1_0", 20), ("maxvit_t", 96), ("inception_v3", 32)])
def test_a_size_that_it_cannot_take_is_refused_before_it_is_built(arch: str, size: int) -> None:
    with pytest.raises(Invalid, match=f"{arch} takes images of .* image_size is {size}"):
        build_transfer(arch, 5, image_size=size, dropout=0.0)


def test_weights_may_come_as_safetensors_or_wrapped_by_a_training_script() -> None:
    torch.manual_seed(0)
    state = models.get_model("squeezenet1_1", weights=None).state_dict()
    x = torch.rand(1, 3, 32, 32)
    plain, safe, wrapped = (
        build_transfer("squeezenet1_1", 5, image_size=32, dropout=0.0, weights=data).eval().features(x)
        for data in (saved(state), safetensors.torch.save(state), saved({"epoch": 3, "state_dict": state}))
    )
    assert torch.equal(plain, safe) and torch.equal(plain, wrapped)


def test_a_torn_safetensors_file_is_refused() -> None:
    data = safetensors.torch.save({"a": torch.zeros(9)})[:-8]
    with pytest.raises(Permanent, match="not a PyTorch state dict"):
        backbones.load("resnet18", data)


class TestTimm:
    VIT = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"

    @pytest.fixture(autouse=True)
    def _extra(self) -> None:
        pytest.importorskip("timm")

    def published(self, arch: str, **options: Any) -> bytes:
        import timm

        torch.manual_seed(0)
        return safetensors.torch.save(timm.create_model(arch.removeprefix("timm/"), **options).state_dict())

    @pytest.mark.parametrize("arch", ["timm/resnet18.a1_in1k", "timm/mobilenetv3_small_050.lamb_in1k", VIT])
    def test_it_trains_and_begins_with_the_features_of_the_frozen_backbone(self, arch: str) -> None:
        data, x = self.published(arch), torch.rand(2, 3, 64, 64)
        network = build_transfer(arch, 5, image_size=64, dropout=0.0, weights=data).eval()
        backbone = backbones.load(arch, data)
        with torch.inference_mode():
            features = backbone(x)
            assert torch.equal(network.features(x), features)
        assert features.shape == (2, backbone.dim) and backbone.dim == archs.info(arch).feature_size
        assert "/" not in backbone.id
        stages = network.stages()
        assert [id(one) for stage in stages for one in stage] == [id(one) for one in network.parameters()]
        assert "classifier.weight" in step(network, x, torch.tensor([0, 1]))

    def test_the_features_are_what_its_own_classifier_would_have_read(self) -> None:
        import timm

        arch, x = "timm/resnet18.a1_in1k", torch.rand(2, 3, 64, 64)
        data = self.published(arch)
        whole = timm.create_model("resnet18.a1_in1k").eval()
        whole.load_state_dict(safetensors.torch.load(data))
        backbone = backbones.load(arch, data)
        with torch.inference_mode():
            expected = whole((x - backbone.mean) / backbone.std)
            assert torch.allclose(whole.fc(backbone(x)), expected, atol=1e-5)

    def test_a_transformer_takes_multiples_of_its_patch(self) -> None:
        backbone = backbones.load(self.VIT, self.published(self.VIT))
        assert backbone(torch.rand(1, 3, 96, 96)).shape == (1, 192)
        with pytest.raises(Invalid, match="a multiple of 16"):
            backbone(torch.rand(1, 3, 100, 100))

    def test_weights_of_another_network_are_refused(self) -> None:
        arch = "timm/resnet18.a1_in1k"
        with pytest.raises(Permanent, match=r"not one of timm's resnet18\.a1_in1k"):
            backbones.load(arch, self.published("timm/resnet26.bt_in1k"))
        with pytest.raises(Permanent, match="not one of timm's"):
            backbones.load(arch, self.published(arch, num_classes=7))
