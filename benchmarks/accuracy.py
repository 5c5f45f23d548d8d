"""``python -m benchmarks.accuracy DATA --arch A --mode M --labels 100,400``: how good models of few random labels are.

Prints, per number of labels, the mean over the seeds of accuracy on DATA/test with its standard error, and what the
temperature does to the calibration there; AUROC for two classes. The temperature never sees the test images.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.imaging import to_pixels
from shared.learning import archs, backbones
from shared.learning.config import CNNS, ON_FEATURES, SCRATCH, LearnConfig
from shared.learning.metrics import calibration_report, evaluate
from shared.learning.model import Model, pick_device
from shared.learning.predict import embed, predict
from shared.learning.train import Extras, fit
from shared.weights import find_weights
from winnow.datasets import Item, open_dataset

Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]
_SHOWN = ("accuracy", "auroc", "ece_before", "ece_after", "nll_before", "nll_after", "train_s")


def main() -> None:
    options = _options()
    size = options.image_size or (32 if options.arch in CNNS else archs.info(options.arch).input_size)
    config = LearnConfig(
        arch=options.arch,
        mode=options.mode,
        image_size=size,
        channels=options.channels,
        recipe=json.loads(options.recipe),
    )
    with open_dataset(options.data) as dataset:

        def read(items: Sequence[Item]) -> Arrays:
            x = np.stack([to_pixels(dataset.read(item), size=size, channels=options.channels) for item in items])
            return x, np.array([item.label for item in items], dtype=np.int64)

        train, test, classes = read(dataset.train), read(dataset.test), dataset.classes
    device = pick_device(options.device)
    weights = None
    extras = Extras(class_names=classes)
    if config.mode != SCRATCH:
        weights = find_weights(config.arch, url=archs.info(config.arch).weights_url, weights_dir=options.weights_dir)
        extras = replace(extras, pretrained=weights)
    if config.mode in ON_FEATURES:
        assert weights is not None
        backbone = backbones.load(config.arch, weights, device)
        train, test = (
            (embed(backbone, train[0], device=device), train[1]),
            (
                embed(backbone, test[0], device=device),
                test[1],
            ),
        )
        extras = Extras(class_names=classes, backbone_id=backbone.id)
    print(f"{options.data.name} {config.arch} {config.mode} {size} px, {len(test[1])} tested, {options.recipe}")
    print("labels " + " ".join(f"{name:>17}" for name in _SHOWN), flush=True)
    for labels in options.labels:
        rows = [_one(train, test, labels, replace(config, seed=seed), extras, device) for seed in range(options.seeds)]
        print(f"{labels:>6} " + " ".join(_mean(rows, name) for name in _SHOWN), flush=True)
        if options.out is not None:
            with options.out.open("a") as out:
                for seed, row in enumerate(rows):
                    described = {"data": options.data.name, "arch": config.arch, "mode": config.mode, "size": size}
                    print(json.dumps({**described, "labels": labels, "seed": seed, **row}), file=out)


def _one(
    train: Arrays, test: Arrays, labels: int, config: LearnConfig, extras: Extras, device: Any
) -> Mapping[str, float | None]:
    order = np.random.default_rng(config.seed).permutation(len(train[1]))
    chosen, rest = order[:labels], order[labels:]
    started = time.perf_counter()
    fitted = fit(
        train[0][chosen],
        train[1][chosen],
        n_classes=len(extras.class_names or ()),
        config=config,
        extras=replace(extras, unlabelled=train[0][rest]),
        device=device,
    )
    seconds = time.perf_counter() - started
    calibrated, _ = predict(fitted.model, test[0], device=device)
    raw, _ = predict(_uncalibrated(fitted.model), test[0], device=device)
    measured = evaluate(calibrated, test[1])
    errors = calibration_report(raw.astype(np.float64), calibrated.astype(np.float64), test[1])
    return {"accuracy": measured["accuracy"], "auroc": measured["auroc"], **errors, "train_s": seconds}


def _uncalibrated(model: Model) -> Model:
    networks = tuple(copy.deepcopy(network) for network in model.networks)
    for network in networks:
        network.temperature.fill_(1.0)
    return replace(model, networks=networks)


def _mean(rows: Sequence[Mapping[str, float | None]], name: str) -> str:
    values = [row[name] for row in rows]
    if any(value is None for value in values):
        return f"{'':>17}"
    held = np.array(values, dtype=np.float64)
    error = held.std(ddof=1) / math.sqrt(len(held)) if len(held) > 1 else math.nan
    return f"{held.mean():>8.4f} ± {error:>6.4f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder or .zip of train/<class>/* and test/<class>/*")
    parser.add_argument("--arch", required=True)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--labels", required=True, type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--recipe", default="{}", help="JSON of names and values, as in docs/learning.md")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, help="append a line of JSON per training to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
