"""Constants that stand for minus infinity before a softmax, such as -3.4e38 and -1e9, as numbers that a small type has.

Masks are added to scores, or put in their place. In float16 such a number becomes minus infinity: times 0 that is no number, and a
row that is masked as a whole has none either. Half of the least finite number does the same for the softmax, and its sum with a score is
finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.model_file.operation_proto import CutModel, add_constant
from onnxgpu.providers.tensorrt.precision.constants import largest_finite
from onnxgpu.providers.tensorrt.precision.operators import MOVING
from onnxgpu.providers.tensorrt.precision.view import FLOAT, View

if TYPE_CHECKING:
    import onnx

_ARITHMETIC = frozenset({"Add", "Max", "Min", "Mul", "Sub", "Sum", "Where"})
_SOFTMAXES = frozenset({"LogSoftmax", "Softmax"})
_ATTENTION_MASK = 3
_BROADCASTING_MAX = 8
_LEAST_MASK = 1e4
"""Scores that are smaller than others by this much have weight 0 in any type."""


def least_mask(small: str) -> float:
    """What stands for minus infinity in the type."""
    return -largest_finite(small) / 2


def with_finite_masks(view: View, small: str) -> tuple[CutModel, tuple[str, ...]]:
    """The model with its masks clamped, and the names of the constants that were.

    Args:
        view: of the segment.
        small: the type that the masks have to fit in.
    """
    bound = -least_mask(small)
    clamped: dict[str, np.ndarray] = {}
    for tensor in view.graph.initializer:
        if tensor.data_type != FLOAT or not view.is_constant(tensor.name) or tensor.name in view.outputs or tensor.name in view.captured:
            continue
        array = view.constant(tensor.name) if _leads_to_softmax(view, tensor.name) else None
        if array is not None and _is_mask(array, bound):
            clamped[tensor.name] = np.where(np.isinf(array), array, np.clip(array, -bound, bound)).astype(np.float32)
    filled = {index: filled for index, node in enumerate(view.nodes) if (filled := _filled(view, node, bound)) is not None}
    if not clamped and not filled:
        return view.model, ()
    return _replaced(view.model, clamped, filled), (*clamped, *(view.nodes[index].output[0] for index in filled))


def masking_inputs(view: View) -> frozenset[str]:
    """The graph's inputs that are read as masks or scores alone, which may hold numbers that stand for minus infinity.

    None before the opset whose Max takes operands of several shapes.
    """
    if view.versions.get("", 1) < _BROADCASTING_MAX:
        return frozenset()
    return frozenset(name for name in view.inputs if view.is_float32(name) and _leads_to_softmax(view, name))


def _is_mask(array: np.ndarray, bound: float) -> bool:
    """True if elements lie beyond `bound`, and all that do are far below what scores can be."""
    finite = array[np.isfinite(array)]
    return bool(finite.size) and bool(np.any(np.abs(finite) > bound)) and bound > _LEAST_MASK


def _leads_to_softmax(view: View, name: str) -> bool:
    """True if arithmetic on masks alone lies between `name` and softmaxes, and it leads nowhere else."""
    waiting, seen = [name], {name}
    while waiting:
        value = waiting.pop()
        readers = view.readers.get(value, ())
        if not readers or value in view.outputs or value in view.captured:
            return False
        for reader, position in readers:
            node = view.nodes[reader]
            is_mask = node.op_type == "Attention" and position == _ATTENTION_MASK
            if is_mask or node.op_type in _SOFTMAXES or _is_written_softmax(view, reader):
                continue
            if node.op_type not in _ARITHMETIC and node.op_type not in MOVING:
                return False
            waiting += [output for output in node.output if output not in seen]
            seen.update(node.output)
    return True


def _is_written_softmax(view: View, reader: int) -> bool:
    """True if the node takes the maximum off, or looks for it, in a softmax of several nodes."""
    followers = {view.nodes[follower].op_type for follower, _, _ in view.followers(reader)}
    operator = view.nodes[reader].op_type
    return (operator == "Sub" and followers == {"Exp"}) or (operator == "ReduceMax" and followers == {"Sub"})


def _filled(view: View, node: onnx.NodeProto, bound: float) -> float | None:
    """The clamped number that a ConstantOfShape fills its result with, if that is a mask."""
    from onnx import numpy_helper

    if node.op_type != "ConstantOfShape":
        return None
    for held in node.attribute:
        if held.name == "value" and held.t.data_type == FLOAT:
            value = numpy_helper.to_array(held.t)
            if _is_mask(value, bound) and _leads_to_softmax(view, node.output[0]):
                return float(np.clip(value.reshape(-1)[0], -bound, bound))
    return None


def _replaced(model: CutModel, arrays: dict[str, np.ndarray], filled: dict[int, float]) -> CutModel:
    import onnx
    from onnx import numpy_helper

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in arrays]
    weights = {name: array for name, array in model.weights.items() if name not in arrays}
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for name, array in arrays.items():
        add_constant(proto.graph, weights, name, array)
    for index, number in filled.items():
        held = next(held for held in proto.graph.node[index].attribute if held.name == "value")
        held.t.CopyFrom(numpy_helper.from_array(np.array([number], np.float32)))
    return CutModel(proto, weights)
