"""Convolutions of 8-bit integers: ConvInteger, and QLinearConv with onnxruntime's channels-last form of it.

The sums run in float32, exactly (see exact_sums.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.channels_last import channels_first, first_spec
from onnxgpu.providers.array_ops.channels_last import channels_last as channels_last_view
from onnxgpu.providers.array_ops.convolution import convolution_windows, convolved
from onnxgpu.providers.array_ops.exact_sums import FLOAT, GREATEST, INT32, exact_blocks, reach
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.array_ops.quantization import requantized
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import Windows

Numbers = Sequence[int] | None


def whole_weights(w: Array, w_zero: Array | None) -> Array:
    """w - w_zero in float32, for one zero point or one a map."""
    weights = w.astype(FLOAT)
    if w_zero is not None:
        zero = w_zero.astype(FLOAT)
        weights -= zero.reshape(()) if zero.size == 1 else zero.reshape(-1, *(1,) * (len(w.shape) - 1))
    return weights


def channel_blocks(xp: Any, weights: Array, bound: int) -> list[slice]:
    """Ranges of the input channels of each group whose sums with factors up to `bound` are exact in float32; empty if there are none."""
    flat = xp.abs(weights).reshape(*weights.shape[:2], -1)
    return exact_blocks(xp, xp.sum(flat, axis=2).T, bound, GREATEST * max(1, flat.shape[2]))


def integer_convolution(xp: Any, x: Array, x_zero: Array | None, w: Array, w_zero: Array | None, windows: Windows, group: int) -> Array:
    """Exact sums of (x - x_zero) * (w - w_zero) for 8-bit integers: float32, or int32 where they need not fit in it."""
    weights = whole_weights(w, w_zero)
    data = x.astype(FLOAT)
    if x_zero is not None:
        data -= x_zero.astype(FLOAT).reshape(())
    blocks = channel_blocks(xp, weights, reach(xp, x.dtype, x_zero))
    if not blocks:
        return convolved(xp, data.astype(np.float64), weights.astype(np.float64), windows, group).astype(np.int64).astype(INT32)
    if len(blocks) == 1:
        return convolved(xp, data, weights, windows, group)
    groups = data.reshape(data.shape[0], group, -1, *data.shape[2:])
    total: Any = None
    for block in blocks:
        part = groups[:, :, block].reshape(data.shape[0], -1, *data.shape[2:])
        sums = convolved(xp, part, weights[:, block], windows, group).astype(INT32)
        total = sums if total is None else total + sums
    return total


def _integer_specs(x: Array, w: Array, x_zero: Array = None, w_zero: Array = None, **attributes: Any) -> Spec:
    windows = convolution_windows("ConvInteger", x, w, attributes)
    return Spec((x.shape[0], w.shape[0], *windows.output), INT32)


@operator("ConvInteger", since=10, specs=_integer_specs)
def conv_integer(
    xp: Any,
    x: Array,
    w: Array,
    x_zero_point: Array = None,
    w_zero_point: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Numbers = None,
    group: int = 1,
    kernel_shape: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """Convolution of 8-bit integers into int32. Spec: https://onnx.ai/onnx/operators/onnx__ConvInteger.html"""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    windows = convolution_windows("ConvInteger", x, w, attributes)
    return stored(xp, integer_convolution(xp, x, x_zero_point, w, w_zero_point, windows, group), INT32, out)


def _qlinear_specs(
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    *_: Any,
    channels_last: int = 0,
    **attributes: Any,
) -> Spec:
    windows = convolution_windows("QLinearConv", first_spec(x) if channels_last else x, w, attributes)
    sizes = (*windows.output, w.shape[0]) if channels_last else (w.shape[0], *windows.output)
    return Spec((x.shape[0], *sizes), y_zero.dtype)


@operator("QLinearConv", domain="com.microsoft", specs=_qlinear_specs)
@operator("QLinearConv", since=10, specs=_qlinear_specs)
def qlinear_conv(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    bias: Array = None,
    *,
    auto_pad: str = "NOTSET",
    channels_last: int = 0,
    dilations: Numbers = None,
    group: int = 1,
    kernel_shape: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """Convolution of quantised tensors, requantised; the bias is int32 in units of x_scale * w_scale.

    With `channels_last`, X and Y are (N, …, C); the weights are (M, C / group, …) either way.
    Spec: https://onnx.ai/onnx/operators/onnx__QLinearConv.html, and onnxruntime's operator schemas for com.microsoft
    """
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    source = channels_first(x) if channels_last else x
    windows = convolution_windows("QLinearConv", source, w, attributes)
    total = integer_convolution(xp, source, x_zero_point, w, w_zero_point, windows, group)
    rank = len(x.shape)
    if bias is not None:
        total = total.astype(np.float64) + per_channel(bias.astype(np.float64), rank)
    factor = requantization_factor(x_scale, w_scale, y_scale)
    scaled = total.astype(FLOAT, copy=False) * (factor if not factor.shape else per_channel(factor, rank))
    result = requantized(xp, scaled, y_zero_point, None if channels_last else out)
    return stored(xp, channels_last_view(result), result.dtype, out) if channels_last else result


def requantization_factor(x_scale: Array, w_scale: Array, y_scale: Array) -> Array:
    """x_scale * w_scale / y_scale in float32, in onnxruntime's order: a scalar, or one number a map."""
    factor = x_scale.astype(FLOAT).reshape(()) * w_scale.astype(FLOAT) / y_scale.astype(FLOAT).reshape(())
    return factor.reshape(()) if factor.size == 1 else factor
