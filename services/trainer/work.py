"""The training itself, as each of its processes does it: mostly one, or one per GPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.trainer.order import JOURNAL, FolderJournal, Message, Order, Progress, Trained, write_outcome
from shared.learning.checkpoints import from_bytes, manifest, to_bytes
from shared.learning.config import LearnConfig
from shared.learning.distributed import ALONE, Group
from shared.learning.loop import NoJournal, Surroundings
from shared.learning.metrics import evaluate
from shared.learning.model import Model
from shared.learning.opinions import Opinions, opinions
from shared.learning.predict import predict
from shared.learning.train import Extras, Fitted, fit
from shared.store.base import OPINIONS

Send = Callable[[Message], None]


def train(order: Order, device: torch.device, send: Send, group: Group = ALONE) -> Trained:
    """Train as ordered, in the process that got the order; ``send`` gets the progress."""
    config = LearnConfig.from_dict(order.config)
    x, y = order.array("x"), order.array("y")
    assert x is not None and y is not None
    journal = FolderJournal(folder=order.folder / JOURNAL, every_s=order.journal_s)
    around = Surroundings(device=device, group=group, journal=journal, micro_batch=order.micro_batch)
    unlabelled, weights = order.array("unlabelled"), order.array("weights")
    extras = Extras(
        weights=weights,
        at_random=order.array("at_random"),
        unlabelled=unlabelled,
        class_names=[name for _, name in order.classes],
        pretrained=order.file("pretrained.pth"),
        previous=_previous(order),
        backbone_id=order.backbone_id,
    )
    if group.size > 1:
        group.agree((order.config, len(order.classes), extras.class_names, order.micro_batch))
        for array in (x, y, unlabelled, weights):
            group.hand_out(array, device)
    holdout_x, holdout_y = order.array("holdout_x"), order.array("holdout_y")
    holdout = None if holdout_x is None or holdout_y is None else (holdout_x, holdout_y)
    fitted = fit(
        x,
        y,
        n_classes=len(order.classes),
        config=config,
        holdout=holdout,
        extras=extras,
        around=around,
        on_epoch=lambda report: send(Progress(report=report)),
    )
    metrics = _metrics(fitted, config.mode, len(y))
    on_holdout = None if holdout is None else predict(fitted.model, holdout[0], device=device)[0]
    if holdout is not None and on_holdout is not None:
        metrics |= evaluate(on_holdout, holdout[1])
    body = to_bytes(fitted.model)
    described = manifest(
        fitted.model,
        body,
        config=config,
        classes=order.classes,
        data_version=order.data_version,
        metrics=metrics,
    )
    np.save(order.folder / OPINIONS, _opinions(order, fitted, on_holdout, device))
    write_outcome(order.folder, body, described)
    return Trained(sha256=described["sha256"], metrics=metrics)


def help_train(device: torch.device, group: Group) -> None:
    """Train beside the process that got the order: from it comes all that this one needs, and nothing goes back."""
    config, n_classes, class_names, micro_batch = group.agree(None)
    x, y, unlabelled, weights = (group.hand_out(None, device) for _ in range(4))
    assert x is not None and y is not None
    fit(
        x,
        y,
        n_classes=n_classes,
        config=LearnConfig.from_dict(config),
        extras=Extras(weights=weights, unlabelled=unlabelled, class_names=class_names),
        around=Surroundings(device=device, group=group, journal=NoJournal(), micro_batch=micro_batch),
    )


def _previous(order: Order) -> Model | None:
    body, described = order.file("previous.safetensors"), order.file("previous.json")
    if body is None or described is None:
        return None
    record = json.loads(described)
    model = from_bytes(body, record, expected_sha256=record["sha256"])
    return replace(model, networks=model.networks[:1])


def _opinions(order: Order, fitted: Fitted, on_holdout: NDArray[np.float32] | None, device: torch.device) -> Opinions:
    """Of every labelled image. Of those trained on, what a model said that had not seen them, where there was one."""
    x, y, images = (order.array(name) for name in ("x", "y", "images"))
    assert x is not None and y is not None and images is not None
    said, unseen = predict(fitted.model, x, device=device)[0], np.zeros(len(y), np.bool_)
    if fitted.unseen is not None:
        said[fitted.unseen.rows], unseen[fitted.unseen.rows] = fitted.unseen.probabilities, True
    if on_holdout is not None:
        held_y, held_images = order.array("holdout_y"), order.array("holdout_images")
        assert held_y is not None and held_images is not None
        images, y = np.concatenate((images, held_images)), np.concatenate((y, held_y))
        said, unseen = np.concatenate((said, on_holdout)), np.concatenate((unseen, np.ones(len(held_y), np.bool_)))
    return opinions(images, said, y, unseen)


def _metrics(fitted: Fitted, mode: str, labels: int) -> dict[str, Any]:
    calibration: Mapping[str, Any] | None = fitted.calibration.to_dict() if fitted.calibration else None
    return {
        "labels": labels,
        "mode": mode,
        "history": [report.to_dict() for report in fitted.history],
        "recipe": fitted.recipe.to_dict() | {"kind": fitted.kind} | fitted.details,
        "calibration": calibration,
    }
