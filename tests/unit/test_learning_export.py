"""Models for use elsewhere say what they say here."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision import models

from shared.errors import Invalid, Permanent
from shared.learning import backbones
from shared.learning.checkpoints import from_bytes, manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.export import export
from shared.learning.model import Model
from shared.learning.networks import to_input
from shared.learning.predict import embed, predict
from shared.learning.train import Extras, fit

CLASSES = ["cat", "dog", "cow"]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
QUICK = {"epochs": 1, "min_steps": 3, "folds": 0}


def weights_of(arch: str) -> bytes:
    torch.manual_seed(0)
    out = io.BytesIO()
    torch.save(models.get_model(arch, weights=None).state_dict(), out)
    return out.getvalue()


def cnn() -> Model:
    config = LearnConfig(image_size=32, recipe=QUICK | {"committee": 2})
    model = fit(PIXELS, LABELS, n_classes=3, config=config).model
    for network in model.networks:
        network.temperature.fill_(1.7)
    return model


def finetuned() -> Model:
    config = LearnConfig(arch="mobilenet_v2", mode="finetune", image_size=32, recipe=QUICK)
    return fit(PIXELS, LABELS, n_classes=3, config=config, extras=Extras(pretrained=weights_of("mobilenet_v2"))).model


def ridge() -> Model:
    backbone = backbones.load("squeezenet1_1", weights_of("squeezenet1_1"))
    config = LearnConfig(arch="squeezenet1_1", mode="ridge", image_size=32)
    extras = Extras(backbone_id=backbone.id)
    model = fit(embed(backbone, PIXELS), LABELS, n_classes=3, config=config, extras=extras).model
    body = to_bytes(model)
    named = list(enumerate(CLASSES))
    record = manifest(model, body, config=config, classes=named, data_version="", metrics={})
    return from_bytes(body, record, expected_sha256=record["sha256"], backbone=backbone)


@pytest.mark.parametrize("make", [cnn, finetuned, ridge])
def test_torchscript_says_what_the_model_says(make: Callable[[], Model]) -> None:
    model = make()
    meta = {"winnow.json": ""}
    loaded = torch.jit.load(io.BytesIO(export(model, "torchscript", CLASSES)), _extra_files=meta)  # type: ignore[no-untyped-call]
    for some in (PIXELS[:1], PIXELS):
        said = loaded(to_input(torch.from_numpy(some))).detach().numpy()
        assert said == pytest.approx(predict(model, some)[0], abs=1e-4)
    assert json.loads(meta["winnow.json"])["classes"] == CLASSES


@pytest.mark.parametrize("make", [cnn, finetuned, ridge])
def test_onnx_says_what_the_model_says(make: Callable[[], Model]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make()
    session = onnxruntime.InferenceSession(export(model, "onnx", CLASSES))
    for some in (PIXELS[:1], PIXELS):
        (said,) = session.run(["probabilities"], {"images": to_input(torch.from_numpy(some)).numpy()})
        assert said == pytest.approx(predict(model, some)[0], abs=1e-4)
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["winnow"])["classes"] == CLASSES


def test_what_cannot_be_exported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cnn()
    with pytest.raises(Invalid, match="no format 'pickle'"):
        export(model, "pickle", CLASSES)
    with pytest.raises(Invalid, match="3 columns but 1 classes"):
        export(model, "onnx", ["cat"])
    features = RNG.normal(size=(12, 8)).astype(np.float32)
    config = LearnConfig(arch="resnet18", mode="head", image_size=32)
    head = fit(features, LABELS, n_classes=3, config=config, extras=Extras(backbone_id="resnet18-abc")).model
    with pytest.raises(Invalid, match="its backbone is needed: resnet18-abc"):
        export(head, "torchscript", CLASSES)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Permanent, match=r"winnow\[export\]"):
        export(model, "onnx", CLASSES)
