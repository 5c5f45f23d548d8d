"""Checkpoints: written, refused when they are not what was written, read again; and where weights come from."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torchvision import models

from shared.errors import Invalid, Permanent
from shared.learning import archs, backbones, torchvision_archs
from shared.learning.checkpoints import data_version, from_bytes, manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.model import Model
from shared.learning.networks import to_input
from shared.learning.predict import embed, predict, predict_members
from shared.learning.train import Extras, fit
from shared.weights import find_weights

CLASSES = [(11, "cat"), (7, "dog")]
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(12) % 2


def state_bytes(arch: str, seed: int = 0, **options: object) -> bytes:
    """A weights file as torchvision writes them, with random numbers in it."""
    torch.manual_seed(seed)
    if arch in torchvision_archs.WITH_AUX:
        options = {"aux_logits": True, "init_weights": False}
    out = io.BytesIO()
    torch.save(models.get_model(arch, weights=None, **options).state_dict(), out)
    return out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """What is computed here is small, and other processes may hold the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cnn() -> Model:
    return fit(PIXELS, LABELS, n_classes=2, config=LearnConfig(image_size=32, epochs=1)).model


@pytest.fixture(scope="module")
def backbone() -> backbones.Backbone:
    return backbones.load("squeezenet1_1", state_bytes("squeezenet1_1"))


def written(model: Model) -> tuple[bytes, dict[str, Any], str]:
    data = to_bytes(model)
    record = manifest(model, data, classes=CLASSES, data_version="d1", metrics={"accuracy": 0.5}, config=LearnConfig())
    return data, json.loads(json.dumps(record)), hashlib.sha256(data).hexdigest()


def test_a_checkpoint_read_again_predicts_the_same_to_the_last_bit(cnn: Model) -> None:
    data, record, sha256 = written(cnn)
    again = from_bytes(data, record, expected_sha256=sha256)
    for before, after in zip(predict(cnn, PIXELS), predict(again, PIXELS), strict=True):
        assert before.tobytes() == after.tobytes()
    assert again.spec == cnn.spec
    assert to_bytes(again) == data


def test_the_manifest_says_what_the_tensors_mean(cnn: Model) -> None:
    _, record, sha256 = written(cnn)
    assert record["classes"] == [{"id": 11, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert (record["arch"], record["sha256"], record["data_version"]) == ("cnn", sha256, "d1")
    assert record["preprocessing"]["size"] == 32
    assert record["metrics"] == {"accuracy": 0.5}
    assert record["backbone"] is None
    with pytest.raises(Invalid, match="2 columns but 1 classes"):
        manifest(cnn, b"", config=LearnConfig(), classes=CLASSES[:1], data_version="", metrics={})


def test_one_changed_byte_is_refused_before_anything_is_parsed(cnn: Model) -> None:
    data, record, sha256 = written(cnn)
    with pytest.raises(Permanent, match="not the one that was written"):
        from_bytes(data[:-1] + bytes([data[-1] ^ 1]), record, expected_sha256=sha256)
    with pytest.raises(Permanent, match="not the one that was written"):
        from_bytes(b"garbage", record, expected_sha256=sha256)


def test_a_manifest_of_another_model_is_refused(cnn: Model) -> None:
    data, record, sha256 = written(cnn)
    wrong = [
        record | {"sha256": "0" * 64},
        record | {"format": 99},
        record | {"classes": [*record["classes"], {"id": 1, "name": "cow"}]},
        record | {"network": record["network"] | {"image_size": 48}},
        record | {"network": record["network"] | {"depth": 9}},
        record | {"network": {}},
        {key: value for key, value in record.items() if key != "classes"},
    ]
    for changed in wrong:
        with pytest.raises(Permanent):
            from_bytes(data, changed, expected_sha256=sha256)


def test_a_checkpoint_of_the_first_format_is_still_read(cnn: Model) -> None:
    tensors = {name: tensor for name, tensor in cnn.network.state_dict().items() if name != "temperature"}
    data = save(tensors)
    sha256 = hashlib.sha256(data).hexdigest()
    config = {"arch": "cnn", "mode": "scratch", "image_size": 32, "channels": 3, "batch_norm": True, "dropout": 0.2}
    more = {"epochs": 30, "learning_rate": 0.003, "seed": 0, "batch_size": 32, "weight_decay": 0.01, "head_decay": 0.1}
    record = {
        "format": 1,
        "config": config | more,
        "classes": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "backbone": None,
        "sha256": sha256,
    }
    again = from_bytes(data, record, expected_sha256=sha256)
    logits = again.network(to_input(torch.from_numpy(PIXELS)))
    assert predict(again, PIXELS)[0] == pytest.approx(logits.softmax(1).numpy(), abs=1e-6)


def test_a_committee_is_kept_member_by_member() -> None:
    config = LearnConfig(image_size=32, recipe={"epochs": 1, "min_steps": 2, "committee": 2, "mc_dropout": 3})
    both = fit(PIXELS, LABELS, n_classes=2, config=config).model
    data, record, sha256 = written(both)
    again = from_bytes(data, record, expected_sha256=sha256)
    before, after = predict_members(both, PIXELS), predict_members(again, PIXELS)
    assert before.members is not None and after.members is not None and before.members.shape == (12, 6, 2)
    assert before.members.tobytes() == after.members.tobytes()


def test_bytes_that_are_no_safetensors_are_refused_even_with_the_right_hash(cnn: Model) -> None:
    _, record, _ = written(cnn)
    sha256 = hashlib.sha256(b"garbage").hexdigest()
    with pytest.raises(Permanent, match="don't fit"):
        from_bytes(b"garbage", record | {"sha256": sha256}, expected_sha256=sha256)


def test_a_head_holds_only_the_head_and_knows_its_backbone(backbone: backbones.Backbone) -> None:
    config = LearnConfig(arch="squeezenet1_1", mode="head", image_size=32)
    features = embed(backbone, PIXELS)
    model = fit(features, LABELS, n_classes=2, config=config, extras=Extras(backbone_id=backbone.id)).model
    data, record, sha256 = written(model)
    assert len(data) < 20_000
    assert record["backbone"] == {"id": backbone.id}
    without = from_bytes(data, record, expected_sha256=sha256)
    complete = from_bytes(data, record, expected_sha256=sha256, backbone=backbone)
    by_features, by_pixels = predict(without, features), predict(complete, PIXELS)
    assert by_pixels[0] == pytest.approx(by_features[0], abs=1e-6)
    other = backbones.load("squeezenet1_1", state_bytes("squeezenet1_1", seed=1))
    with pytest.raises(Permanent, match=f"trained on the backbone {backbone.id}, not on {other.id}"):
        from_bytes(data, record, expected_sha256=sha256, backbone=other)


def test_the_data_version_ignores_order_and_nothing_else() -> None:
    version = data_version([1, 2, 3], [7, 7, 8])
    assert version == data_version([3, 1, 2], [8, 7, 7])
    assert version != data_version([1, 2, 3], [7, 8, 7])
    assert version != data_version([1, 2], [7, 7])
    assert len(data_version([], [])) == 64


@pytest.mark.parametrize(
    ("arch", "dim"),
    [
        ("resnet18", 512),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("squeezenet1_0", 512),
        ("densenet121", 1024),
        ("efficientnet_b0", 1280),
        ("shufflenet_v2_x0_5", 1024),
        ("mnasnet0_5", 1280),
        ("regnet_y_400mf", 440),
        ("googlenet", 1024),
        ("inception_v3", 2048),
        ("alexnet", 4096),
        ("convnext_tiny", 768),
        ("swin_t", 768),
    ],
)
def test_any_torchvision_architecture_gives_its_penultimate_features(arch: str, dim: int) -> None:
    loaded = backbones.load(arch, state_bytes(arch))
    size = max(loaded.min_size, 64)
    features = embed(loaded, np.zeros((2, size, size, 3), np.uint8))
    assert loaded.dim == dim
    assert (features.shape, features.dtype) == ((2, dim), np.float32)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_backbone_stays_frozen_in_training_mode(backbone: backbones.Backbone) -> None:
    loaded = backbones.load("shufflenet_v2_x0_5", state_bytes("shufflenet_v2_x0_5"))
    before = embed(loaded, PIXELS)
    loaded.train()
    loaded(torch.rand(4, 3, 32, 32))
    assert np.array_equal(embed(loaded, PIXELS), before)
    assert not any(module.training for module in backbone.train().modules())


def test_grey_images_are_three_equal_channels(backbone: backbones.Backbone) -> None:
    grey = PIXELS[..., :1]
    assert np.array_equal(embed(backbone, grey), embed(backbone, np.repeat(grey, 3, axis=3)))


def test_features_are_what_the_classifier_would_have_read() -> None:
    data = state_bytes("resnet18")
    whole = models.resnet18(weights=None)
    whole.load_state_dict(torch.load(io.BytesIO(data), weights_only=True))
    loaded, x = backbones.load("resnet18", data), torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = whole.eval()((x - loaded.mean) / loaded.std)
        assert torch.allclose(whole.fc(loaded(x)), expected, atol=1e-5)


def test_a_transformer_takes_its_own_size_only() -> None:
    loaded = backbones.load("vit_b_32", state_bytes("vit_b_32", image_size=64))
    assert (loaded.fixed_size, loaded.dim) == (64, 768)
    with pytest.raises(Invalid, match="exactly 64"):
        embed(loaded, np.zeros((1, 96, 96, 3), np.uint8))


def test_images_below_an_architectures_least_size_are_refused(backbone: backbones.Backbone) -> None:
    with pytest.raises(Invalid, match="at least 17"):
        embed(backbone, np.zeros((1, 16, 16, 3), np.uint8))


def test_keys_of_the_first_densenet_files_are_understood() -> None:
    state = torch.load(io.BytesIO(state_bytes("densenet121")), weights_only=True)
    old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in state.items()}
    assert old.keys() != state.keys()
    out = io.BytesIO()
    torch.save(old, out)
    assert backbones.load("densenet121", out.getvalue()).dim == 1024


def test_weights_of_another_architecture_are_refused_with_the_difference() -> None:
    with pytest.raises(Permanent, match=r"not one of torchvision's resnet18: .* missing .*such as"):
        backbones.load("resnet18", state_bytes("squeezenet1_1"))
    with pytest.raises(Permanent, match="of another shape"):
        backbones.load("resnet18", state_bytes("resnet18", num_classes=7))


@pytest.mark.parametrize("data", [b"", b"no pickle", b"PK\x03\x04 torn zip"])
def test_bytes_that_are_no_weights_are_refused(data: bytes) -> None:
    with pytest.raises(Permanent, match="weights file for resnet18"):
        backbones.load("resnet18", data)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    out = io.BytesIO()
    torch.save({"weight": Bad()}, out)
    with pytest.raises(Permanent):
        backbones.load("resnet18", out.getvalue())
    assert not (tmp_path / "ran").exists()


def test_an_unknown_architecture_is_refused_with_the_known() -> None:
    for asked in (lambda: backbones.load("resnet19", b""), lambda: archs.info("resnet19")):
        with pytest.raises(Invalid, match="unknown arch 'resnet19'; did you mean resnet18"):
            asked()


def test_every_architecture_has_a_size_and_a_place_to_fetch_its_weights() -> None:
    for info in archs.all_infos():
        if info.pretrained:
            assert info.input_size >= 224 and str(info.weights_url).endswith(".pth")


def test_weights_are_taken_from_the_named_file_then_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"mine")
    (tmp_path / "resnet18.pth").write_bytes(b"folder")
    assert find_weights("resnet18", url=None, weights_dir=tmp_path, explicit=tmp_path / "mine.pth") == b"mine"
    assert find_weights("resnet18", url=None, weights_dir=tmp_path) == b"folder"
    with pytest.raises(Permanent, match=r"can't read the weights file .*other\.pth"):
        find_weights("resnet18", url=None, weights_dir=tmp_path, explicit=tmp_path / "other.pth")


def test_weights_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    name = f"tiny-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    (tmp_path / name).write_bytes(b"weights")
    url = (tmp_path / name).as_uri()
    assert find_weights("tiny", url=url) == b"weights"
    (tmp_path / name).unlink()
    assert find_weights("tiny", url=url) == b"weights"


def test_a_damaged_download_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny-0123abcd.pth").write_bytes(b"torn")
    with pytest.raises(Permanent, match="the download is damaged"):
        find_weights("tiny", url=(tmp_path / "tiny-0123abcd.pth").as_uri())
    assert not (tmp_path / "cache").exists()


def test_where_weights_cannot_be_had_the_error_names_the_file_to_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    missing = (tmp_path / "gone.pth").as_uri()
    with pytest.raises(Permanent, match=f"put the weights file at {tmp_path}/resnet18.pth .*gone.pth"):
        find_weights("resnet18", url=missing, weights_dir=tmp_path)
    with pytest.raises(Permanent, match=r"WINNOW_WEIGHTS_DIR/resnet18\.pth"):
        find_weights("resnet18", url=None)


def test_without_the_hubs_client_the_file_and_the_extra_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Permanent, match=r"timm/tiny\.pth \(or \.safetensors\).*pip install 'winnow\[timm\]'"):
        find_weights("timm/tiny", url="hf://timm/tiny/pytorch_model.bin", weights_dir=tmp_path)
