"""Winnow's own networks: what shapes they take, and what their probabilities are."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from shared.errors import Invalid
from shared.learning.config import CNNS
from shared.learning.networks import LinearHead, MlpHead, Network, build_cnn


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 28, 57, 100])
@pytest.mark.parametrize("arch", CNNS)
def test_a_cnn_takes_images_of_any_size(arch: str, size: int, channels: int, batch_norm: bool) -> None:
    network = build_cnn(arch, 4, size, channels, batch_norm, dropout=0.1)
    features = network.features(torch.rand(2, channels, size, size))
    assert features.shape == (2, 128)
    assert network.logits(features).shape == (2, 4)


@pytest.mark.parametrize("arch", CNNS)
def test_a_cnn_does_not_grow_with_large_images(arch: str) -> None:
    assert weights(build_cnn(arch, 4, 448, 3)) <= weights(build_cnn(arch, 4, 112, 3))


@pytest.mark.parametrize(("arch", "kernels", "matrices"), [("cnn", 6, 2), ("cnn_mnist", 2, 2), ("cnn_fruits", 3, 3)])
def test_a_cnn_has_the_layers_of_its_name(arch: str, kernels: int, matrices: int) -> None:
    shapes = [parameter.ndim for parameter in build_cnn(arch, 4, 32, 3).parameters()]
    assert (shapes.count(4), shapes.count(2)) == (kernels, matrices)


@pytest.mark.parametrize("arch", CNNS)
def test_without_batch_norm_there_is_none(arch: str) -> None:
    kinds = {type(module) for module in build_cnn(arch, 4, 32, 3, batch_norm=False).modules()}
    assert torch.nn.BatchNorm2d not in kinds


def test_what_no_cnn_can_be_built_for_is_refused() -> None:
    with pytest.raises(Invalid, match="at least 8"):
        build_cnn("cnn", 2, 7, 3)
    with pytest.raises(Invalid, match=r"1 \(grey\) or 3"):
        build_cnn("cnn", 2, 32, 4)
    with pytest.raises(Invalid, match="none of Winnow's own networks"):
        build_cnn("resnet18", 2, 32, 3)


@pytest.mark.parametrize("head", [LinearHead(6, 3), MlpHead(6, 3, hidden=5)])
def test_the_features_of_a_head_are_those_of_its_backbone(head: Network) -> None:
    x = torch.rand(4, 6)
    assert head.features(x) is x
    assert head.eval()(x).shape == (4, 3)


def test_an_mlp_head_separates_what_no_line_separates() -> None:
    torch.manual_seed(0)
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    y = torch.tensor([0, 0, 1, 1])
    head = MlpHead(2, 2, hidden=32, dropout=0.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(head(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert head(x).argmax(1).tolist() == [0, 0, 1, 1]


def test_a_temperature_softens_the_probabilities_and_travels_with_the_weights() -> None:
    torch.manual_seed(0)
    network, x = MlpHead(6, 3).eval(), torch.rand(4, 6)
    assert torch.equal(network.probabilities(x), network(x).softmax(1))
    network.temperature.fill_(2.0)
    copy = MlpHead(6, 3).eval()
    copy.load_state_dict(network.state_dict())
    assert torch.equal(copy.probabilities(x), (network(x) / 2).softmax(1))


def weights(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
