"""Runs a model with all of its float values in sight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.tensorrt.precision.view import View, view_of
from onnxgpu.providers.tensorrt.precision.whole_model import joined

Feeds = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """The finite numbers that a value has: the least, the greatest, and the largest magnitude."""

    lowest: float
    highest: float

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(abs(self.lowest), abs(self.highest))

    def joined(self, other: Range) -> Range:
        """Both."""
        return Range(min(self.lowest, other.lowest), max(self.highest, other.highest))


def range_of(array: np.ndarray) -> Range:
    """Of the finite elements; 0 if there are none."""
    finite = array[np.isfinite(array)]
    return Range(float(finite.min()), float(finite.max())) if finite.size else Range(0.0, 0.0)


def floats_of(model: CutModel, feeds: Feeds, providers: Sequence[str], small: str = "") -> dict[str, np.ndarray]:
    """Value → its elements, for each float32 value that a node gives.

    Args:
        model: of a segment, or as `reduced` gives it.
        feeds: its inputs.
        providers: of the session that runs it.
        small: the type that a value may have in place of float32; its name is then the float32 value's.
    """
    from onnx import ValueInfoProto, helper

    from onnxgpu.options import GraphOptimizationLevel, SessionOptions
    from onnxgpu.session import InferenceSession

    view = view_of(model)
    names = _names(view, small)
    proto = joined(model)
    declared: list[ValueInfoProto] = [
        helper.make_tensor_value_info(name, view.types[name], None) for name in names.values() if name not in view.outputs
    ]
    proto.graph.output.extend(declared)
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    session = InferenceSession(proto.SerializeToString(), options, providers=list(providers))
    arrays = session.run(list(names.values()), feeds) if names else []
    return dict(zip(names, arrays, strict=True))


def outputs_of(model: CutModel, feeds: Feeds, providers: Sequence[str]) -> list[Any]:
    """The model's outputs."""
    from onnxgpu.session import InferenceSession

    return InferenceSession(joined(model).SerializeToString(), providers=list(providers)).run(None, feeds)


def error_between(wanted: np.ndarray, got: np.ndarray) -> float:
    """The largest difference where `wanted` is finite, relative to the largest of these; infinite where `got` is not finite there."""
    finite = np.isfinite(wanted)
    expected, found = wanted[finite].astype(np.float64), got[finite].astype(np.float64)
    if not expected.size:
        return 0.0
    if not np.isfinite(found).all():
        return float("inf")
    difference, largest = float(np.max(np.abs(expected - found))), float(np.max(np.abs(expected)))
    return difference / largest if largest else difference


def _names(view: View, small: str) -> dict[str, str]:
    """Float32 value → the value that stands for it."""
    given = [name for node in view.nodes for name in node.output if name]
    names = {name: name for name in given if view.is_float32(name)}
    suffix = f"_{small}"
    if small:
        names |= {name.removesuffix(suffix): name for name in given if name.endswith(suffix) and not view.is_float32(name)}
    return names
