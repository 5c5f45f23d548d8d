"""The list of architectures says of each what its network turns out to be."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torchvision import models
from typer.testing import CliRunner

from shared.errors import Invalid
from shared.learning import archs, torchvision_archs
from winnow.cli import app


@pytest.mark.parametrize("arch", [one for one in archs.names() if one in torchvision_archs.names()])
def test_the_width_of_the_features_is_what_the_network_gives(arch: str) -> None:
    info = archs.info(arch)
    with torchvision_archs.Weightless():
        trunk = archs.build_trunk(arch, None).net.to("meta").eval()
    with torch.inference_mode():
        features = trunk(torch.empty(2, 3, info.input_size, info.input_size, device="meta"))
    assert features.flatten(1).shape == (2, info.feature_size)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "squeezenet1_0", "regnet_y_400mf", "vit_b_32"])
def test_parameters_are_those_of_the_published_network(arch: str) -> None:
    with torchvision_archs.Weightless():
        network = models.get_model(arch, weights=None)
    assert archs.info(arch).parameters == sum(parameter.numel() for parameter in network.parameters())


def test_image_size_and_normalisation_are_those_of_the_published_weights() -> None:
    assert archs.info("inception_v3").input_size == 299
    assert archs.info("efficientnet_b4").input_size == 380
    assert archs.info("resnet50").mean == (0.485, 0.456, 0.406)
    assert archs.info("efficientnet_v2_l").mean == (0.5, 0.5, 0.5)
    assert archs.info("vit_b_16").fixed_size == 224


def test_every_torchvision_network_has_a_place_to_fetch_its_weights() -> None:
    for info in archs.all_infos():
        assert info.pretrained == (info.family != "winnow")
        assert (info.weights_url or "").endswith(".pth") == info.pretrained


@pytest.mark.parametrize("arch", ["cnn", "cnn_mnist", "cnn_fruits"])
def test_winnows_own_networks_are_listed_with_their_numbers(arch: str) -> None:
    info = archs.info(arch)
    assert (info.family, info.feature_size, info.min_size, info.mean) == ("winnow", 128, 8, None)
    with pytest.raises(Invalid, match="no published weights"):
        archs.build_trunk(arch, None)


def test_an_unknown_architecture_is_refused_with_close_ones() -> None:
    with pytest.raises(Invalid, match="unknown arch 'resnet19'; did you mean resnet18 "):
        archs.info("resnet19")


def test_without_timm_its_names_are_refused_with_what_to_install() -> None:
    program = (
        "import sys; sys.modules['timm'] = None\n"
        "from importlib import util; found = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'timm' else found(name)\n"
        "from shared.learning import archs; print(archs.timm_names())\n"
        "archs.info('timm/resnet18.a1_in1k')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "[]\n"
    assert "pip install 'winnow[timm]'" in ended.stderr


class TestCommand:
    def test_it_prints_all_that_is_known_of_one(self) -> None:
        ended = CliRunner().invoke(app, ["archs", "resnet18", "--json"])
        assert json.loads(ended.stdout)[0]["feature_size"] == 512

    def test_it_lists_what_a_pattern_fits(self) -> None:
        ended = CliRunner().invoke(app, ["archs", "vgg1?_bn"])
        listed = {line.split()[0] for line in ended.stdout.splitlines() if "torchvision" in line}
        assert listed == {"vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"}

    def test_it_lists_every_name(self) -> None:
        ended = CliRunner().invoke(app, ["archs", "--json"])
        assert [one["name"] for one in json.loads(ended.stdout)] == archs.names()


class TestTimm:
    @pytest.fixture(autouse=True)
    def _extra(self) -> None:
        pytest.importorskip("timm")

    @pytest.mark.parametrize(
        ("name", "size", "step", "width"),
        [
            ("resnet18.a1_in1k", 224, 1, 512),
            ("mobilenetv3_small_100.lamb_in1k", 224, 1, 1024),
            ("vit_small_patch14_dinov2.lvd142m", 518, 14, 384),
            ("vit_base_patch16_clip_224.openai", 224, 16, 768),
            ("vit_tiny_r_s16_p8_224.augreg_in21k", 224, 32, 192),
            ("swinv2_cr_tiny_ns_224.sw_in1k", 224, 4, 768),
        ],
    )
    def test_its_facts_are_those_of_its_data_configuration(self, name: str, size: int, step: int, width: int) -> None:
        info = archs.info(f"timm/{name}")
        assert (info.input_size, info.multiple_of, info.feature_size) == (size, step, width)
        assert info.weights_url == f"hf://timm/{name}/pytorch_model.bin"

    def test_normalisation_is_that_of_the_published_weights(self) -> None:
        mean = archs.info("timm/vit_base_patch16_clip_224.openai").mean
        assert mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))

    def test_a_least_size_is_found_where_timm_names_none(self) -> None:
        assert archs.info("timm/ghostnetv2_160.in1k").min_size == 64

    @pytest.mark.parametrize("name", ["resnet19", "resnet18.no_such_tag", "hf-hub:somebody/something"])
    def test_an_unknown_name_is_refused(self, name: str) -> None:
        with pytest.raises(Invalid, match="unknown arch 'timm/"):
            archs.info(f"timm/{name}")

    def test_what_it_publishes_is_listed(self) -> None:
        assert "timm/resnet18.a1_in1k" in archs.timm_names()
