"""Scale and shift the output channels of a convolution or Gemm by changing its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxgpu.model_file import is_constant
from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.values import attribute, constant_array, constant_shape, element_type, given

FLOATING = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
OPERATORS = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True)
class ChannelAffine:
    """`y[:, channel] = x[:, channel] * scale[channel] + shift[channel]`, in float64; None: by 1, or 0."""

    scale: np.ndarray | None
    shift: np.ndarray | None


def output_channels(node: ir.Node) -> int | None:
    """How many output channels `node` has, if its weight is a constant of a floating-point type."""
    weight, bias = given(node, 1), given(node, 2)
    shape = constant_shape(weight)
    if shape is None or element_type(weight) not in FLOATING or (bias is not None and not is_constant(bias)):
        return None
    if node.op_type == "Conv":
        return shape[0]
    if node.op_type == "ConvTranspose":
        return shape[1] * int(attribute(node, "group", 1))
    if len(shape) != 2:
        return None
    columns = shape[0] if attribute(node, "transB", 0) else shape[1]
    return columns if _bias_is_vector(constant_shape(bias), columns) else None


def apply_affine(node: ir.Node, affine: ChannelAffine, sources: str, rewriting: Rewriting) -> bool:
    """Change the weight and bias of `node` (one that has `output_channels`) so that `affine` is part of it.

    False, and nothing is changed, if a new weight would not be finite in the type of the weights.
    """
    channels, weight = output_channels(node), constant_array(given(node, 1))
    assert weight is not None
    assert channels is not None
    bias = _bias(node, channels)
    new_weight = weight if affine.scale is None else rounded(_scaled_weight(node, weight, affine.scale), weight.dtype)
    scaled_bias = bias if affine.scale is None else bias * affine.scale
    new_bias = rounded(scaled_bias if affine.shift is None else scaled_bias + affine.shift, weight.dtype)
    if new_weight is None or new_bias is None:
        return False
    if new_weight is not weight:
        replace_weight(node, 1, new_weight, sources, rewriting)
    if given(node, 2) is not None or affine.shift is not None:
        replace_weight(node, 2, new_bias, sources, rewriting)
        if node.op_type == "Gemm":
            node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    rewriting.mark(node, sources)
    return True


def replace_weight(node: ir.Node, index: int, array: np.ndarray, sources: str, rewriting: Rewriting) -> None:
    """Give `node` a new constant as input `index`; the old one goes if nobody else reads it."""
    before = given(node, index)
    stem = before.name if before is not None and before.name else f"{node.outputs[0].name}_bias"
    rewriting.reconnect(node, index, rewriting.constant(node, array, stem, sources))


def rounded(array: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """`array` as `dtype`, or None if it does not fit."""
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    return result if bool(np.isfinite(result).all()) else None


def _scaled_weight(node: ir.Node, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    wide = np.result_type(weight.dtype, np.float32) if weight.dtype.kind == "f" else np.dtype(np.float32)
    factor = scale.astype(wide)
    if node.op_type == "Conv":
        return np.asarray(weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))
    if node.op_type == "Gemm":
        return np.asarray(weight * (factor[:, None] if attribute(node, "transB", 0) else factor))
    group = int(attribute(node, "group", 1))
    grouped = weight.reshape(group, -1, *weight.shape[1:])
    factors = factor.reshape(group, 1, -1, *[1] * (weight.ndim - 2))
    return np.asarray(grouped * factors).reshape(weight.shape)


def _bias(node: ir.Node, channels: int) -> np.ndarray:
    """What `node` adds to each channel, in float64."""
    bias = constant_array(given(node, 2))
    if bias is None:
        return np.zeros(channels)
    factor = float(attribute(node, "beta", 1.0)) if node.op_type == "Gemm" else 1.0
    return np.broadcast_to(bias.astype(np.float64).reshape(-1) * factor, (channels,))


def _bias_is_vector(shape: tuple[int, ...] | None, columns: int) -> bool:
    """True if a Gemm's C is the same for every row."""
    return shape is None or (all(size == 1 for size in shape[:-1]) and (not shape or shape[-1] in (1, columns)))
