"""Nodes between DequantizeLinear and QuantizeLinear as operators on 8-bit tensors: Conv, MatMul and Gemm.

What they give may be one step of the output's scale away from the nodes apart: the sums are exact, and scaled and rounded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.fuse.fusion import Fusion, float_attribute, sole_reader_named
from onnxgpu.model_file import is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

_STANDARD = ("", "ai.onnx")
_MS = "com.microsoft"
_BYTES = ("INT8", "UINT8")


def quantized_convolution(node: ir.Node) -> Fusion | None:
    """Conv of dequantised tensors, quantised: QLinearConv.

    Args:
        node: a Conv.
    """
    if node.op_type != "Conv" or node.domain not in _STANDARD:
        return None
    x, w = _dequantizing(node, 0), _dequantizing(node, 1)
    after = _quantizing(node)
    if x is None or w is None or after is None or not _one_scale(x) or not (_one_scale(w) or _scale_axis(w) == 0):
        return None
    bias = _whole_bias(node, x, w)
    if bias is None and len(node.inputs) > 2 and node.inputs[2] is not None:
        return None
    quantizer = after[-1]
    inputs = (*x.inputs, *w.inputs, *quantizer.inputs[1:], *(() if bias is None else bias.inputs[:1]))
    shared = (x, w) if bias is None else (x, w, bias)
    return Fusion((node, *after), "QLinearConv", inputs, dict(node.attributes), domain="", version=10, shared=shared)


def quantized_product(node: ir.Node) -> Fusion | None:
    """MatMul or Gemm of dequantised tensors: QLinearMatMul or QGemm if it is quantised; of a constant B, MatMulIntegerToFloat if not.

    Args:
        node: a MatMul or Gemm.
    """
    if node.op_type not in ("MatMul", "Gemm") or node.domain not in _STANDARD:
        return None
    a, b = _dequantizing(node, 0), _dequantizing(node, 1)
    if a is None or b is None or not _one_scale(a) or not (_one_scale(b) or _by_column(node, b)):
        return None
    after = _quantizing(node)
    if node.op_type == "Gemm":
        return _gemm(node, a, b, after)
    if after is not None:
        inputs = (*a.inputs, *b.inputs, *after[-1].inputs[1:])
        return Fusion((node, *after), "QLinearMatMul", inputs, domain="", version=10, shared=(a, b))
    source = b.inputs[0]
    if source is None or not is_constant(source):
        return None
    inputs = (a.inputs[0], b.inputs[0], a.inputs[1], b.inputs[1], a.inputs[2], b.inputs[2])
    return Fusion((node,), "MatMulIntegerToFloat", inputs, domain=_MS, shared=(a, b))


def _gemm(node: ir.Node, a: ir.Node, b: ir.Node, after: tuple[ir.Node, ...] | None) -> Fusion | None:
    bias = _whole_bias(node, a, b)
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    if float_attribute(node, "alpha", 1.0) != 1.0 or (biased and (bias is None or float_attribute(node, "beta", 1.0) != 1.0)):
        return None
    quantizer = () if after is None else after[-1].inputs[1:]
    inputs = (*a.inputs, *b.inputs, None if bias is None else bias.inputs[0], *quantizer)
    kept = {name: value for name, value in node.attributes.items() if name in ("transA", "transB")}
    shared = (a, b) if bias is None else (a, b, bias)
    return Fusion((node, *(after or ())), "QGemm", inputs, kept, domain=_MS, shared=shared)


def _dequantizing(node: ir.Node, index: int) -> ir.Node | None:
    """The DequantizeLinear of an 8-bit tensor to float32 that gives an input, with scale and zero point, not in blocks."""
    value = node.inputs[index]
    producer = None if value is None else value.producer()
    if producer is None or producer.op_type != "DequantizeLinear" or producer.domain not in _STANDARD or producer.graph is not node.graph:
        return None
    source = producer.inputs[0]
    whole = len(producer.inputs) == 3 and producer.inputs[2] is not None and not _block_size(producer)
    floats = value is not None and value.dtype is not None and value.dtype.name == "FLOAT"
    scale = producer.inputs[1]
    floats = floats and scale is not None and scale.dtype is not None and scale.dtype.name == "FLOAT"
    narrow = source is not None and source.dtype is not None and source.dtype.name in _BYTES
    return producer if whole and floats and narrow else None


def _quantizing(node: ir.Node) -> tuple[ir.Node, ...] | None:
    """The QuantizeLinear to 8 bits that alone reads the output, after a Relu that clipping makes superfluous, if there is one."""
    reader = sole_reader_named(node.outputs[0], "Relu", "QuantizeLinear")
    relu: tuple[ir.Node, ...] = ()
    if reader is not None and reader.op_type == "Relu":
        relu, reader = (reader,), sole_reader_named(reader.outputs[0], "QuantizeLinear")
    if reader is None or len(reader.inputs) != 3 or _block_size(reader) or not _one_scale(reader):
        return None
    zero = reader.inputs[2]
    if zero is None or zero.dtype is None or zero.dtype.name not in _BYTES:
        return None
    if relu and (not is_constant(zero) or zero.const_value is None or int(zero.const_value.numpy().reshape(())) != _least(zero)):
        return None
    return (*relu, reader)


def _least(value: ir.Value) -> int:
    return -128 if value.dtype is not None and value.dtype.name == "INT8" else 0


def _block_size(node: ir.Node) -> int:
    attribute = node.attributes.get("block_size")
    return 0 if attribute is None else attribute.as_int()


def _one_scale(node: ir.Node) -> bool:
    """True if the scale is known to be one for the whole tensor."""
    scale = node.inputs[1]
    return scale is not None and scale.shape is not None and scale.shape.is_static() and int(np.prod(scale.shape.numpy())) == 1


def _scale_axis(node: ir.Node) -> int | None:
    """The axis along which a DequantizeLinear has one scale an entry, counted from the front."""
    source, scale = node.inputs[0], node.inputs[1]
    if source is None or scale is None or source.shape is None or scale.shape is None or len(scale.shape) != 1:
        return None
    attribute = node.attributes.get("axis")
    axis = 1 if attribute is None else attribute.as_int()
    return axis + len(source.shape) if axis < 0 else axis


def _by_column(node: ir.Node, b: ir.Node) -> bool:
    """True if B, a matrix, has one scale for each column of the product."""
    source = b.inputs[0]
    transposed = node.attributes.get("transB")
    columns = 0 if node.op_type == "Gemm" and transposed is not None and transposed.as_int() else 1
    return source is not None and source.shape is not None and len(source.shape) == 2 and _scale_axis(b) == columns


def _whole_bias(node: ir.Node, x: ir.Node, w: ir.Node) -> ir.Node | None:
    """The DequantizeLinear of an int32 bias vector in units of the product of both scales."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    producer = None if value is None else value.producer()
    if producer is None or producer.op_type != "DequantizeLinear" or producer.graph is not node.graph:
        return None
    source, scale, *zero = producer.inputs
    if source is None or source.dtype is None or source.dtype.name != "INT32" or source.shape is None or len(source.shape) != 1:
        return None
    found = [_numbers(input_value) for input_value in (scale, x.inputs[1], w.inputs[1])]
    if any(numbers is None for numbers in found) or (zero and np.any(_numbers(zero[0]))):
        return None
    unit, first, second = (np.asarray(numbers, np.float32) for numbers in found)
    return producer if np.allclose(unit, first.reshape(()) * second, rtol=1e-5, atol=0) else None


def _numbers(value: ir.Value | None) -> np.ndarray | None:
    """A constant's elements."""
    if value is None or not is_constant(value) or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())
