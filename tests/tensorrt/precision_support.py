"""Reduces small models and runs both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import onnxgpu
from onnxgpu.providers.tensorrt.precision import PrecisionReport, PrecisionSettings, prepared
from onnxgpu.providers.tensorrt.precision.whole_model import cut_of, joined
from tests.models import model

Feeds = Mapping[str, np.ndarray]
TOLERANCE = {"float16": 5e-3, "bfloat16": 4e-2}
"""Relative to the largest element: a few roundings of 11 and of 8 bits."""


def with_weights(text: str, opset: int = 18, /, **weights: np.ndarray) -> onnx.ModelProto:
    """The model of ONNX text, with initializers of these names."""
    proto = model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return proto


def reduced_model(proto: onnx.ModelProto, small: str = "float16", **settings: Any) -> tuple[onnx.ModelProto, PrecisionReport]:
    """The reduced model, checked against ONNX's rules, and the report."""
    wanted = PrecisionSettings(**{small: True, **settings})
    cut, report = prepared(cut_of(proto), wanted)
    result = joined(cut)
    checked(proto, result)
    return result, report


def checked(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """The rewritten model is valid, and looks the same from outside."""
    onnx.checker.check_model(after, full_check=True)
    for field in ("input", "output"):
        pairs = zip(getattr(before.graph, field), getattr(after.graph, field), strict=True)
        assert all(a.SerializeToString() == b.SerializeToString() for a, b in pairs)
    assert before.opset_import == after.opset_import


def run(proto: onnx.ModelProto, feeds: Feeds) -> list[Any]:
    """The outputs by onnxgpu's CPU provider."""
    return onnxgpu.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)


def run_in_onnxruntime(proto: onnx.ModelProto, feeds: Feeds) -> list[Any]:
    """The outputs by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def error(wanted: Sequence[Any], got: Sequence[Any]) -> float:
    """The largest difference, relative to the largest element; not a number where one of them is not."""
    differences = [
        np.max(np.abs(a.astype(np.float64) - b)) / max(float(np.max(np.abs(a))), 1e-30) for a, b in zip(wanted, got, strict=True)
    ]
    return float(np.max(differences))


def types(report: PrecisionReport) -> dict[str, str]:
    """Node → what it computes in."""
    return {node.name: node.computes_in for node in report.nodes}


def casts(proto: onnx.ModelProto) -> int:
    """How many casts the model has."""
    return sum(node.op_type == "Cast" for node in proto.graph.node)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Random float32 numbers."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)
