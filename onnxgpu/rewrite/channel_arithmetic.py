"""Fold what follows a convolution or Gemm and works channel by channel into its weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import attribute, constant_array, constant_shape, described, given, read_only_here
from onnxgpu.rewrite.weights import OPERATORS, ChannelAffine, apply_affine, output_channels


@node_rule("BatchNormalization")
def fold_batch_normalization(node: ir.Node, rewriting: Rewriting) -> str | None:
    """BatchNormalization in inference after Conv, ConvTranspose or Gemm, all its statistics constant.

    `W' = W * s`, `b' = (b - mean) * s + bias` with `s = scale / sqrt(var + epsilon)` of each output channel, computed in
    float64 and rounded once to the weights' type.
    """
    if not _infers(node, rewriting.version(node)):
        return None
    scale, shift, mean, variance = (constant_array(given(node, index)) for index in (1, 2, 3, 4))
    if scale is None or shift is None or mean is None or variance is None:
        return None
    width = np.float64
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = scale.astype(width) / np.sqrt(variance.astype(width) + float(attribute(node, "epsilon", 1e-5)))
    return _absorb(node, 0, ChannelAffine(factor, shift.astype(width) - mean.astype(width) * factor), rewriting)


def _infers(node: ir.Node, version: int) -> bool:
    """True if the node uses the running statistics: `training_mode` decides from opset 14 on, before that the outputs."""
    if any(value.name and (value.uses() or value.is_graph_output()) for value in node.outputs[1:]):
        return False
    if version >= 14:
        return not attribute(node, "training_mode", 0)
    if version < 9 and not attribute(node, "spatial", 1):
        return False
    return len([value for value in node.outputs if value.name]) == 1 and (version >= 7 or bool(attribute(node, "is_test", 0)))


@node_rule("Mul", "Div", "Add", "Sub")
def fold_channel_arithmetic(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A constant for each channel (or one for all), multiplied with or added to what Conv, ConvTranspose or Gemm gives."""
    if len(node.inputs) != 2:
        return None
    for index in (0, 1) if node.op_type in ("Mul", "Add") else (0,):
        operand = node.inputs[index]
        before = operand.producer() if operand is not None else None
        if before is None or before.op_type not in OPERATORS or before.domain:
            continue
        vector = _per_channel(before, given(node, 1 - index))
        if vector is not None:
            return _absorb(node, index, _affine(node.op_type, vector), rewriting)
    return None


def _affine(operator: str, vector: np.ndarray) -> ChannelAffine:
    if operator in ("Mul", "Div"):
        with np.errstate(divide="ignore"):
            return ChannelAffine(vector if operator == "Mul" else 1 / vector, None)
    return ChannelAffine(None, vector if operator == "Add" else -vector)


def _per_channel(before: ir.Node, constant: ir.Value | None) -> np.ndarray | None:
    """The constant as one float64 a channel of `before`, if broadcasting it means just that."""
    shape, weight, channels = constant_shape(constant), constant_shape(given(before, 1)), output_channels(before)
    if shape is None or weight is None or channels is None or len(shape) > len(weight):
        return None
    aligned = (1,) * (len(weight) - len(shape)) + shape
    if aligned[1] not in (1, channels) or any(size != 1 for axis, size in enumerate(aligned) if axis != 1):
        return None
    array = constant_array(constant)
    return None if array is None else np.array(np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,)))


def _absorb(node: ir.Node, index: int, affine: ChannelAffine, rewriting: Rewriting) -> str | None:
    """Fold `node`, which does `affine` to its input `index`, into the node that makes this input."""
    source = node.inputs[index]
    before = source.producer() if source is not None else None
    if source is None or before is None or before.domain or before.op_type not in OPERATORS or not read_only_here(source, node):
        return None
    channels = output_channels(before)
    parts = [part for part in (affine.scale, affine.shift) if part is not None]
    if channels is None or any(part.shape != (channels,) or not np.isfinite(part).all() for part in parts):
        return None
    text = f"{described(node)} into {described(before)}"
    if not apply_affine(before, affine, f"{described(before)}, {described(node)}", rewriting):
        return None
    rewriting.replace(node.outputs[0], source)
    rewriting.remove(node)
    return text
