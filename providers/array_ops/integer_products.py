"""Matrix products of 8-bit integers: MatMulInteger, QLinearMatMul and onnxruntime's forms of them.

The products run in floating point, in the type in which they are exact: that is where the fast kernels are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.convolution import requantized
from onnxgpu.providers.array_ops.matrix_products import matmul_shape
from onnxgpu.providers.array_ops.precision import exact_product_dtype, stored, widened
from onnxgpu.providers.array_ops.registry import operator

INT32 = np.dtype(np.int32)
FLOAT = np.dtype(np.float32)


def _along_rows(zero_point: Array, dtype: np.dtype) -> Array:
    """A zero point or scale of A: one for all or one a row, shaped to broadcast over the rows."""
    values = zero_point.astype(dtype)
    return values.reshape(()) if values.size == 1 else values[..., None] if len(values.shape) == 1 else values


def _along_columns(zero_point: Array, dtype: np.dtype) -> Array:
    values = zero_point.astype(dtype)
    return values.reshape(()) if values.size == 1 else values


def integer_product(xp: Any, a: Array, a_zero: Array | None, b: Array, b_zero: Array | None) -> Array:
    """Exact (a - a_zero) (b - b_zero), in the float type that holds it."""
    right = b.astype(FLOAT)
    if b_zero is not None:
        right -= _along_columns(b_zero, FLOAT)
    dtype = exact_product_dtype(xp, right, (max(0, len(b.shape) - 2),))
    left = a.astype(dtype)
    if a_zero is not None:
        left -= _along_rows(a_zero, dtype)
    return xp.matmul(left, right.astype(dtype, copy=False))


def _integer_specs(a: Array, b: Array, *_: Any) -> Spec:
    return Spec(matmul_shape(tuple(a.shape), tuple(b.shape), "MatMulInteger"), INT32)


@operator("MatMulInteger", since=10, specs=_integer_specs)
def matmul_integer(xp: Any, a: Array, b: Array, a_zero_point: Array = None, b_zero_point: Array = None, *, out: Array = None) -> Array:
    """Matrix product of 8-bit integers into int32. Spec: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html"""
    return stored(xp, integer_product(xp, a, a_zero_point, b, b_zero_point), INT32, out)


def _qlinear_specs(a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, y_scale: Array, y_zero: Array) -> Spec:
    return Spec(matmul_shape(tuple(a.shape), tuple(b.shape), "QLinearMatMul"), y_zero.dtype)


@operator("QLinearMatMul", since=10, specs=_qlinear_specs)
def qlinear_matmul(
    xp: Any,
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    *,
    out: Array = None,
) -> Array:
    """Matrix product of quantised tensors, requantised. Spec: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html"""
    product = integer_product(xp, a, a_zero_point, b, b_zero_point)
    factor = _along_rows(a_scale, FLOAT) * _along_columns(b_scale, FLOAT) / _along_rows(y_scale, FLOAT)
    zero = y_zero_point if y_zero_point.size == 1 or len(y_zero_point.shape) > 1 else y_zero_point[..., None]
    return requantized(xp, product * factor, zero, out)


def _to_float_specs(a: Array, b: Array, a_scale: Array, *_: Any) -> Spec:
    return Spec(matmul_shape(tuple(a.shape), tuple(b.shape), "MatMulIntegerToFloat"), a_scale.dtype)


@operator("MatMulIntegerToFloat", domain="com.microsoft", specs=_to_float_specs)
def matmul_integer_to_float(
    xp: Any,
    a: Array,
    b: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero_point: Array = None,
    b_zero_point: Array = None,
    bias: Array = None,
    *,
    out: Array = None,
) -> Array:
    """Product of quantised matrices, scaled to floating point, plus bias. Spec: onnxruntime's ContribOperators.md"""
    product = integer_product(xp, a, a_zero_point, b, b_zero_point)
    product = product * (_along_rows(a_scale, FLOAT) * _along_columns(b_scale, FLOAT))
    return stored(xp, product if bias is None else product + widened(bias), a_scale.dtype, out)


def _dynamic_specs(a: Array, b: Array, *_: Any) -> Spec:
    return Spec(matmul_shape(tuple(a.shape), tuple(b.shape), "DynamicQuantizeMatMul"), a.dtype)


@operator("DynamicQuantizeMatMul", domain="com.microsoft", specs=_dynamic_specs)
def dynamic_quantize_matmul(
    xp: Any, a: Array, b: Array, b_scale: Array, b_zero_point: Array = None, bias: Array = None, *, out: Array = None
) -> Array:
    """A quantised to uint8 by its own range, times the quantised B, in floating point. Spec: onnxruntime's ContribOperators.md"""
    least, greatest = xp.minimum(a.min(), 0), xp.maximum(a.max(), 0)
    scale = (greatest - least) / 255
    scale = xp.where(scale == 0, xp.ones_like(scale), scale)
    zero = xp.clip(xp.rint(-least / scale), 0, 255)
    quantized = xp.clip(xp.rint(a / scale) + zero, 0, 255)
    product = integer_product(xp, quantized, zero, b, b_zero_point) * (scale * _along_columns(b_scale, FLOAT))
    return stored(xp, product if bias is None else product + bias, a.dtype, out)
