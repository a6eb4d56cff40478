"""Softmax and LogSoftmax: over everything from an axis on up to opset 12, over that one axis from opset 13."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.precision import accumulation_dtype, stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

Axes = tuple[int, ...]


def softmax_over(xp: Any, x: Array, axes: Axes, out: Array | None = None) -> Array:
    """exp(x) over its sum along `axes`, computed in `x`'s own dtype; `out` may be `x`."""
    if x.size == 0:
        return x if out is None else out
    result = xp.subtract(x, xp.max(x, axis=axes, keepdims=True), out=out)
    xp.exp(result, out=result)
    result /= xp.sum(result, axis=axes, keepdims=True)
    return result


def softmax_step_by_step(xp: Any, x: Array, axes: Axes) -> Array:
    """Softmax of a 16-bit float type as the standard's function body defines it: each step is rounded to that type."""
    if x.size == 0:
        return x
    shifted = (widened(x) - widened(xp.max(x, axis=axes, keepdims=True))).astype(x.dtype)
    exponentials = xp.exp(widened(shifted)).astype(x.dtype)
    total = xp.sum(widened(exponentials), axis=axes, keepdims=True).astype(x.dtype)
    return widened(exponentials) / widened(total)


def log_softmax_over(xp: Any, x: Array, axes: Axes, out: Array | None = None) -> Array:
    """Logarithm of the softmax along `axes`, computed in `x`'s own dtype; `out` may be `x`."""
    if x.size == 0:
        return x if out is None else out
    result = xp.subtract(x, xp.max(x, axis=axes, keepdims=True), out=out)
    result -= xp.log(xp.sum(xp.exp(result), axis=axes, keepdims=True))
    return result


def _flattened_axes(x: Array, axis: int, name: str) -> Axes:
    return tuple(range(normalized_axis(axis, len(x.shape), name), len(x.shape)))


def _into(xp: Any, function: Any, x: Array, axes: Axes, out: Array | None) -> Array:
    if out is not None and accumulation_dtype(x.dtype) == x.dtype:
        return stored(xp, function(xp, x, axes, out), x.dtype, out)
    return stored(xp, function(xp, widened(x), axes), x.dtype, out)


@operator("Softmax", since=1, specs=like_first)
def softmax_flattened(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """Softmax over all axes from `axis` on. Spec: https://onnx.ai/onnx/operators/onnx__Softmax.html"""
    return _into(xp, softmax_over, x, _flattened_axes(x, axis, "Softmax"), out)


@operator("Softmax", since=13, specs=like_first)
def softmax(xp: Any, x: Array, *, axis: int = -1, out: Array = None) -> Array:
    """Softmax over one axis. Spec: https://onnx.ai/onnx/operators/onnx__Softmax.html"""
    if accumulation_dtype(x.dtype) != x.dtype:
        return stored(xp, softmax_step_by_step(xp, x, (normalized_axis(axis, len(x.shape), "Softmax"),)), x.dtype, out)
    return _into(xp, softmax_over, x, (normalized_axis(axis, len(x.shape), "Softmax"),), out)


@operator("LogSoftmax", since=1, specs=like_first)
def log_softmax_flattened(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """Log-softmax over all axes from `axis` on. Spec: https://onnx.ai/onnx/operators/onnx__LogSoftmax.html"""
    return _into(xp, log_softmax_over, x, _flattened_axes(x, axis, "LogSoftmax"), out)


@operator("LogSoftmax", since=13, specs=like_first)
def log_softmax(xp: Any, x: Array, *, axis: int = -1, out: Array = None) -> Array:
    """Log-softmax over one axis. Spec: https://onnx.ai/onnx/operators/onnx__LogSoftmax.html"""
    return _into(xp, log_softmax_over, x, (normalized_axis(axis, len(x.shape), "LogSoftmax"),), out)
