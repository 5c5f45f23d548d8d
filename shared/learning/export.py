"""Models for use elsewhere, without Winnow: as TorchScript or ONNX, from pixels to calibrated probabilities.

Input ``images``: float32 (n, C, S, S) from 0 to 1, each the whole image squashed to a square by antialiased bilinear
resizing. Output ``probabilities``: float32 (n, classes). n is free. What the columns mean is inside the file: in
TorchScript the extra file ``winnow.json``, in ONNX the metadata property ``winnow``.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.errors import Invalid, Permanent
from shared.learning.model import Model

FORMATS = ("torchscript", "onnx")
ONNX_OPSET = 18
_META = "winnow.json"


class _Served(nn.Module):
    """All that stands between an image and its probabilities, as one module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        if model.spec.reads_features and model.backbone is None:
            raise Invalid(f"to export this {model.spec.mode} its backbone is needed: {model.backbone_id}")
        self.backbone = copy.deepcopy(model.backbone)
        self.members = nn.ModuleList(copy.deepcopy(network) for network in model.networks)

    def forward(self, images: Tensor) -> Tensor:
        """float32 (n, C, S, S) -> float32 (n, classes)."""
        x = images if self.backbone is None else self.backbone(images)
        said = [member.probabilities(member.features(x)) for member in self.members]  # type: ignore[operator]
        return said[0] if len(said) == 1 else torch.stack(said).mean(0)


def export(model: Model, form: str, classes: Sequence[str]) -> bytes:
    """The file. ``classes`` are the names of the columns.

    Raises ``Invalid`` for an unknown format, and for a head that was loaded without its backbone; ``Permanent`` where
    what writes ONNX is not installed, or can't express this network.
    """
    if form not in FORMATS:
        raise Invalid(f"there is no format {form!r}; there are {', '.join(FORMATS)}")
    if len(classes) != model.n_classes:
        raise Invalid(f"the model has {model.n_classes} columns but {len(classes)} classes were named")
    spec = model.spec
    served = _Served(model).to("cpu").eval()
    example = torch.zeros(2, spec.channels, spec.image_size, spec.image_size)
    meta = json.dumps(
        {
            "classes": list(classes),
            "arch": spec.arch,
            "image_size": spec.image_size,
            "channels": spec.channels,
            "scale": "0 to 1",
        }
    )
    return _torchscript(served, example, meta) if form == "torchscript" else _onnx(served, example, meta)


def _torchscript(served: nn.Module, example: Tensor, meta: str) -> bytes:
    with torch.inference_mode(), warnings.catch_warnings():
        # The size of the image is checked while it is traced, and is then fixed: that is meant.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced = torch.jit.trace(served, example, check_trace=False)  # type: ignore[no-untyped-call]
    out = io.BytesIO()
    torch.jit.save(traced, out, _extra_files={_META: meta})
    return out.getvalue()


def _onnx(served: nn.Module, example: Tensor, meta: str) -> bytes:
    try:
        import onnx
        import onnxscript  # noqa: F401 - PyTorch's exporter writes with it
    except ImportError as error:
        raise Permanent("to write ONNX, pip install 'winnow[export]'") from error
    try:
        program = torch.onnx.export(
            served,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
            opset_version=ONNX_OPSET,
            verbose=False,
        )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise Permanent(f"this network can't be written as ONNX: {reason}") from error
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"winnow": meta})
    return bytes(proto.SerializeToString())
