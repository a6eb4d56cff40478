"""A product with constant weights in 4 or 8 bits that are dequantised for it alone: they stay as narrow as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.fuse.fusion import Fusion, float_attribute, sole_reader
from onnxgpu.model_file import is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

_STANDARD = ("", "ai.onnx")
_NARROW = ("INT4", "UINT4", "INT8", "UINT8")


def product_of_narrow_weights(node: ir.Node) -> Fusion | None:
    """MatMul or Gemm of a float32 tensor and a dequantised constant matrix.

    The scale is one for all, one a column, or one for each block of a column.

    Args:
        node: a MatMul or Gemm.
    """
    if node.op_type not in ("MatMul", "Gemm") or node.domain not in _STANDARD or len(node.inputs) < 2:
        return None
    a, b = node.inputs[:2]
    weights = None if b is None else b.producer()
    if a is None or b is None or weights is None or weights.graph is not node.graph or sole_reader(b) is not node:
        return None
    if a.dtype is None or a.dtype.name != "FLOAT" or not _plain_gemm(node):
        return None
    transposed = _integer(node, "transB", 0)
    if not _narrow(weights) or not _along_columns(weights, transposed):
        return None
    attributes = {"block_size": _integer(weights, "block_size", 0), "transB": transposed}
    packing = [*weights.inputs, None][:3]
    addend = node.inputs[2] if len(node.inputs) > 2 else None
    return Fusion((weights, node), "DequantizedMatMul", (a, *packing, addend), attributes)


def _plain_gemm(node: ir.Node) -> bool:
    factors = (float_attribute(node, "alpha", 1.0), float_attribute(node, "beta", 1.0))
    return node.op_type == "MatMul" or (factors == (1.0, 1.0) and not _integer(node, "transA", 0))


def _integer(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _narrow(node: ir.Node) -> bool:
    """True for a DequantizeLinear of a constant matrix of narrow integers to float32."""
    if node.op_type != "DequantizeLinear" or node.domain not in _STANDARD:
        return False
    if not all(value is None or is_constant(value) for value in node.inputs):
        return False
    source, scale = node.inputs[:2]
    if source is None or scale is None or source.dtype is None or scale.dtype is None or source.shape is None:
        return False
    return source.dtype.name in _NARROW and scale.dtype.name == "FLOAT" and len(source.shape) == 2


def _along_columns(node: ir.Node, transposed: int) -> bool:
    """True if one scale is for all, for a column of the product, or for a block of one."""
    scale = node.inputs[1]
    if scale is None or scale.shape is None:
        return False
    axis = _integer(node, "axis", 1) % 2
    if _integer(node, "block_size", 0):
        return axis == (1 if transposed else 0)
    return len(scale.shape) == 0 or (len(scale.shape) == 1 and (scale.shape[0] == 1 or axis == (0 if transposed else 1)))
