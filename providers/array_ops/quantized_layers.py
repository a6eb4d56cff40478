"""onnxruntime's layers on quantised tensors (domain com.microsoft): scale and zero point in, scale and zero point out.

Each computes on float32 and quantises its result; spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axes, normalized_axis
from onnxgpu.providers.array_ops.channels_last import channels_first
from onnxgpu.providers.array_ops.channels_last import channels_last as channels_last_view
from onnxgpu.providers.array_ops.pooling import element_counts, window_sums
from onnxgpu.providers.array_ops.quantization import requantized
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.softmax import softmax_over
from onnxgpu.providers.array_ops.specs import broadcast_shapes
from onnxgpu.providers.array_ops.windows import spatial_sizes, windows_over

_DOMAIN = "com.microsoft"
FLOAT = np.dtype(np.float32)


def dequantized(x: Array, scale: Array, zero_point: Array | None) -> Array:
    """(x - zero_point) * scale in float32, for one scale and zero point."""
    shifted = x.astype(FLOAT)
    return (shifted if zero_point is None else shifted - zero_point.astype(FLOAT).reshape(())) * scale.reshape(())


def quantized(xp: Any, x: Array, scale: Array, zero_point: Array | None, dtype: np.dtype, out: Array | None = None) -> Array:
    """`x` over its scale, rounded and clipped to `dtype`."""
    return requantized(xp, x / scale.reshape(()), xp.zeros((), dtype) if zero_point is None else zero_point, out)


def _like(x: Array, *_: Any, **__: Any) -> Spec:
    return Spec(tuple(x.shape), x.dtype)


def _elementwise_specs(a: Array, a_scale: Array, a_zero: Array, b: Array, *_: Any) -> Spec:
    return Spec(broadcast_shapes(tuple(a.shape), tuple(b.shape)), a.dtype)


@operator("QLinearAdd", domain=_DOMAIN, specs=_elementwise_specs)
def qlinear_add(
    xp: Any,
    a: Array,
    a_scale: Array,
    a_zero_point: Array = None,
    b: Array = None,
    b_scale: Array = None,
    b_zero_point: Array = None,
    c_scale: Array = None,
    c_zero_point: Array = None,
    *,
    out: Array = None,
) -> Array:
    """Sum of quantised tensors, requantised: a * (a_scale / c_scale) + (b * (b_scale / c_scale) + what the zero points give).

    Each of the two sums is rounded to float32 once, as onnxruntime's fused multiply-add does, so that halves round the same way.
    """
    left, right = (scale.reshape(()) / c_scale.reshape(()) for scale in (a_scale, b_scale))
    zeros = [FLOAT.type(0) if zero is None else zero.astype(FLOAT).reshape(()) for zero in (a_zero_point, b_zero_point, c_zero_point)]
    rest = zeros[2] - (left * zeros[0] + right * zeros[1])
    inner = (b * right.astype(np.float64) + rest).astype(FLOAT)
    total = (a * left.astype(np.float64) + inner).astype(FLOAT)
    return requantized(xp, total, xp.zeros((), a.dtype), out)


@operator("QLinearMul", domain=_DOMAIN, specs=_elementwise_specs)
def qlinear_mul(
    xp: Any,
    a: Array,
    a_scale: Array,
    a_zero_point: Array = None,
    b: Array = None,
    b_scale: Array = None,
    b_zero_point: Array = None,
    c_scale: Array = None,
    c_zero_point: Array = None,
    *,
    out: Array = None,
) -> Array:
    """Product of quantised tensors, requantised."""
    product = dequantized(a, a_scale, a_zero_point) * dequantized(b, b_scale, b_zero_point)
    return quantized(xp, product, c_scale, c_zero_point, a.dtype, out)


@operator("QLinearSigmoid", domain=_DOMAIN, specs=_like)
def qlinear_sigmoid(
    xp: Any, x: Array, x_scale: Array, x_zero_point: Array = None, y_scale: Array = None, y_zero_point: Array = None, *, out: Array = None
) -> Array:
    """1 / (1 + exp(-x))."""
    return quantized(xp, sigmoid(xp, dequantized(x, x_scale, x_zero_point)), y_scale, y_zero_point, x.dtype, out)


@operator("QLinearLeakyRelu", domain=_DOMAIN, specs=_like)
def qlinear_leaky_relu(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array = None,
    y_scale: Array = None,
    y_zero_point: Array = None,
    *,
    alpha: float = 0.01,
    out: Array = None,
) -> Array:
    """x, or alpha * x where x is negative."""
    wide = dequantized(x, x_scale, x_zero_point)
    return quantized(xp, xp.where(wide < 0, wide * alpha, wide), y_scale, y_zero_point, x.dtype, out)


@operator("QLinearSoftmax", domain=_DOMAIN, specs=_like)
def qlinear_softmax(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array = None,
    y_scale: Array = None,
    y_zero_point: Array = None,
    *,
    axis: int = -1,
    opset: int,
    out: Array = None,
) -> Array:
    """Softmax over one axis, or (`opset` below 13) over everything from that axis on."""
    rank = len(x.shape)
    first = normalized_axis(axis, rank, "QLinearSoftmax")
    axes = (first,) if opset >= 13 else tuple(range(first, rank))
    return quantized(xp, softmax_over(xp, dequantized(x, x_scale, x_zero_point), axes), y_scale, y_zero_point, x.dtype, out)


def _where_specs(condition: Array, x: Array, x_scale: Array, x_zero: Array, y: Array, *_: Any) -> Spec:
    return Spec(broadcast_shapes(tuple(condition.shape), tuple(x.shape), tuple(y.shape)), x.dtype)


@operator("QLinearWhere", domain=_DOMAIN, specs=_where_specs)
def qlinear_where(
    xp: Any,
    condition: Array,
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    y: Array,
    y_scale: Array,
    y_zero_point: Array,
    z_scale: Array,
    z_zero_point: Array,
    *,
    out: Array = None,
) -> Array:
    """x where the condition holds, y elsewhere, requantised."""
    chosen = xp.where(condition, dequantized(x, x_scale, x_zero_point), dequantized(y, y_scale, y_zero_point))
    return quantized(xp, chosen, z_scale, z_zero_point, x.dtype, out)


def _mean_specs(x: Array, *_: Any, axes: Sequence[int] | None = None, keepdims: int = 1) -> Spec:
    rank = len(x.shape)
    over = normalized_axes(axes, rank, "QLinearReduceMean") if axes else tuple(range(rank))
    return Spec(tuple(1 if i in over else size for i, size in enumerate(x.shape) if keepdims or i not in over), x.dtype)


@operator("QLinearReduceMean", domain=_DOMAIN, specs=_mean_specs)
def qlinear_reduce_mean(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array = None,
    y_scale: Array = None,
    y_zero_point: Array = None,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    out: Array = None,
) -> Array:
    """Mean over `axes`."""
    over = normalized_axes(axes, len(x.shape), "QLinearReduceMean") if axes else None
    mean = xp.mean(dequantized(x, x_scale, x_zero_point), axis=over, keepdims=bool(keepdims))
    return quantized(xp, mean, y_scale, y_zero_point, x.dtype, out)


def _global_specs(x: Array, *_: Any, channels_last: int = 0) -> Spec:
    rank = len(x.shape)
    kept = (0, rank - 1) if channels_last else (0, 1)
    return Spec(tuple(size if i in kept else 1 for i, size in enumerate(x.shape)), x.dtype)


@operator("QLinearGlobalAveragePool", domain=_DOMAIN, specs=_global_specs)
def qlinear_global_average_pool(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    *,
    channels_last: int = 0,
    out: Array = None,
) -> Array:
    """The mean of each channel."""
    rank = len(x.shape)
    axes = tuple(range(1, rank - 1)) if channels_last else tuple(range(2, rank))
    mean = xp.mean(dequantized(x, x_scale, x_zero_point), axis=axes, keepdims=True)
    return quantized(xp, mean, y_scale, y_zero_point, x.dtype, out)


@operator("QLinearAveragePool", domain=_DOMAIN)
def qlinear_average_pool(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array = None,
    y_scale: Array = None,
    y_zero_point: Array = None,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """The mean of each window."""
    name = "QLinearAveragePool"
    source = channels_first(x) if channels_last else x
    windows = windows_over(name, spatial_sizes(name, source), kernel_shape, strides, None, pads, auto_pad, ceil_mode)
    total = window_sums(xp, dequantized(source, x_scale, x_zero_point), windows)
    counts = np.maximum(element_counts(windows, count_include_pad), 1).astype(FLOAT)
    result = quantized(xp, total / xp.asarray(counts), y_scale, y_zero_point, x.dtype)
    return xp.ascontiguousarray(channels_last_view(result)) if channels_last else result


@operator("QLinearConcat", domain=_DOMAIN)
def qlinear_concat(xp: Any, y_scale: Array, y_zero_point: Array, *inputs: Array, axis: int) -> Array:
    """Tensors, each with its scale and zero point, one after the other along `axis`."""
    if not inputs or len(inputs) % 3:
        raise InvalidArgument(f"QLinearConcat: expected a tensor, a scale and a zero point for each input, got {len(inputs)} arrays")
    parts = [dequantized(*inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return quantized(xp, xp.concatenate(parts, axis=axis), y_scale, y_zero_point, y_zero_point.dtype)
