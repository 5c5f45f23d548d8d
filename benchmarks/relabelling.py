"""``python -m benchmarks.relabelling DATA``: wrong labels found off the diagonal, by a ridge on frozen features.

A share of the training labels is changed at random. The ridge's left-out predictions are held against the labels as a
person would on the diagonal picture; those in doubt are looked at, the likeliest wrong first, and corrected. Prints how
many of the changed labels that found, after how many looks, and accuracy on DATA/test before and after.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy.special import softmax

from shared.learning.config import LearnConfig
from shared.learning.metrics import evaluate
from shared.learning.mislabelled import likely_mislabelled
from shared.learning.predict import predict
from shared.learning.ridge import fit_ridge
from shared.learning.train import Extras, fit
from winnow.datasets import open_dataset
from winnow.inputs import prepare
from winnow.options import SimulateOptions


def main() -> None:
    asked = _options()
    options = SimulateOptions(
        data=asked.data, arch=asked.arch, mode="ridge", image_size=asked.image_size, weights_dir=asked.weights_dir
    )
    with open_dataset(asked.data) as dataset:
        inputs = prepare(options, dataset)
    print(f"{asked.data.name}, {asked.arch} {asked.image_size} px, {asked.labels} labels, {asked.wrong:.0%} changed")
    rows = []
    for seed in range(asked.seeds):
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.permutation(len(inputs.y))[: asked.labels])
        x, truth = inputs.x[chosen], inputs.y[chosen]
        classes = len(inputs.classes)
        labels, changed = truth.copy(), rng.choice(len(truth), round(asked.wrong * len(truth)), replace=False)
        labels[changed] = (truth[changed] + rng.integers(1, classes, size=len(changed))) % classes
        ridge = fit_ridge(x, labels, n_classes=classes)
        doubtful = likely_mislabelled(softmax(ridge.left_out / ridge.temperature, axis=1), labels)
        wrong = labels[doubtful] != truth[doubtful]
        mended = labels.copy()
        mended[doubtful] = truth[doubtful]

        def accuracy(given: np.ndarray, x: np.ndarray = x, classes: int = classes, seed: int = seed) -> float:
            config = LearnConfig(arch=asked.arch, mode="ridge", image_size=asked.image_size, seed=seed)
            extras = Extras(class_names=inputs.classes, backbone_id=inputs.backbone_id)
            model = fit(x, given, n_classes=classes, config=config, extras=extras).model
            return float(evaluate(predict(model, inputs.test_x)[0], inputs.test_y)["accuracy"])

        rows.append(
            (
                len(changed),
                len(doubtful),
                wrong.sum(),
                wrong[: len(changed)].sum(),
                *map(accuracy, (labels, mended, truth)),
            )
        )
    names = ("changed", "in doubt", "of these wrong", "wrong in the first", "as labelled", "mended", "never changed")
    for name, values in zip(names, np.array(rows, float).T, strict=True):
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        print(f"{name:>20} {values.mean():>9.4f} ± {error:.4f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder or .zip of train/<class>/* and test/<class>/*")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--labels", type=int, default=320)
    parser.add_argument("--wrong", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights-dir", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
