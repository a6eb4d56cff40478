"""The Reduce* operators: sums, means, extrema and norms over some axes of one tensor.

Axes are an attribute up to opset 12 (ReduceSum) or 17 (the others), an input from there on. float16 and bfloat16
accumulate in float32. Empty reductions give the operation's neutral element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axes
from onnxgpu.providers.array_ops.precision import highest, is_floating, lowest, stored, widened
from onnxgpu.providers.array_ops.registry import operator

Axes = tuple[int, ...]
Reduction = Callable[[Any, Array, Axes, bool], Array]


def reduced_axes(data: Array, axes: Any, noop_with_empty_axes: int, name: str) -> Axes:
    """The numbers of the axes that go: all of them if none are named, unless `noop_with_empty_axes`."""
    rank = len(data.shape)
    if axes is None or len(axes) == 0:
        return () if noop_with_empty_axes else tuple(range(rank))
    return normalized_axes((int(axis) for axis in axes), rank, name)


def reduced_spec(data: Array, axes: Axes, keepdims: int) -> Spec:
    """Shape and dtype of what is left of `data` without `axes`."""
    shape = tuple(1 if i in axes else size for i, size in enumerate(data.shape) if keepdims or i not in axes)
    return Spec(shape, data.dtype)


def reduction(name: str, axes_input_since: int = 18) -> Callable[[Reduction], Reduction]:
    """Register `function(xp, x, axes, keepdims)` as the ONNX operator `name`, for both ways of giving the axes."""

    def register(function: Reduction) -> Reduction:
        def attribute_specs(data: Array, *, axes: Any = None, keepdims: int = 1, **_: Any) -> Spec:
            return reduced_spec(data, reduced_axes(data, axes, 0, name), keepdims)

        def input_specs(data: Array, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Spec:
            return reduced_spec(data, reduced_axes(data, axes, noop_with_empty_axes, name), keepdims)

        @operator(name, since=1, specs=attribute_specs, alone=True)
        def by_attribute(xp: Any, data: Array, *, axes: Any = None, keepdims: int = 1, out: Array = None) -> Array:
            reduced = function(xp, widened(data), reduced_axes(data, axes, 0, name), bool(keepdims))
            return stored(xp, reduced, data.dtype, out)

        @operator(name, since=axes_input_since, specs=input_specs, host=("axes",), alone=True)
        def by_input(
            xp: Any, data: Array, axes: Array = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0, out: Array = None
        ) -> Array:
            reduced = function(xp, widened(data), reduced_axes(data, axes, noop_with_empty_axes, name), bool(keepdims))
            return stored(xp, reduced, data.dtype, out)

        return function

    return register


def _floating(x: Array) -> Array:
    return x if is_floating(x.dtype) else x.astype(np.float64)


@reduction("ReduceSum", axes_input_since=13)
def reduce_sum(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Sum. Spec: https://onnx.ai/onnx/operators/onnx__ReduceSum.html"""
    return xp.sum(x, axis=axes, keepdims=keepdims, dtype=x.dtype)


@reduction("ReduceMean")
def reduce_mean(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Arithmetic mean, of nothing 0 as in onnxruntime; integers truncate towards zero.

    Spec: https://onnx.ai/onnx/operators/onnx__ReduceMean.html
    """
    count = math.prod(x.shape[axis] for axis in axes)
    mean = xp.sum(_floating(x), axis=axes, keepdims=keepdims) / max(count, 1)
    return mean if is_floating(x.dtype) else xp.trunc(mean)


@reduction("ReduceMax")
def reduce_max(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Greatest element. Spec: https://onnx.ai/onnx/operators/onnx__ReduceMax.html"""
    if x.size == 0:
        return xp.full(reduced_spec(x, axes, keepdims).shape, lowest(x.dtype), x.dtype)
    return xp.max(x, axis=axes, keepdims=keepdims)


@reduction("ReduceMin")
def reduce_min(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Least element. Spec: https://onnx.ai/onnx/operators/onnx__ReduceMin.html"""
    if x.size == 0:
        return xp.full(reduced_spec(x, axes, keepdims).shape, highest(x.dtype), x.dtype)
    return xp.min(x, axis=axes, keepdims=keepdims)


@reduction("ReduceProd")
def reduce_prod(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Product. Spec: https://onnx.ai/onnx/operators/onnx__ReduceProd.html"""
    return xp.prod(x, axis=axes, keepdims=keepdims, dtype=x.dtype)


@reduction("ReduceL1")
def reduce_l1(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Sum of absolute values. Spec: https://onnx.ai/onnx/operators/onnx__ReduceL1.html"""
    return xp.sum(xp.abs(x), axis=axes, keepdims=keepdims, dtype=x.dtype)


@reduction("ReduceL2")
def reduce_l2(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Square root of the sum of squares. Spec: https://onnx.ai/onnx/operators/onnx__ReduceL2.html"""
    x = _floating(x)
    return xp.sqrt(xp.sum(x * x, axis=axes, keepdims=keepdims))


@reduction("ReduceSumSquare")
def reduce_sum_square(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Sum of squares. Spec: https://onnx.ai/onnx/operators/onnx__ReduceSumSquare.html"""
    return xp.sum(x * x, axis=axes, keepdims=keepdims, dtype=x.dtype)


@reduction("ReduceLogSum")
def reduce_log_sum(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Logarithm of the sum. Spec: https://onnx.ai/onnx/operators/onnx__ReduceLogSum.html"""
    return xp.log(xp.sum(_floating(x), axis=axes, keepdims=keepdims))


@reduction("ReduceLogSumExp")
def reduce_log_sum_exp(xp: Any, x: Array, axes: Axes, keepdims: bool) -> Array:
    """Logarithm of the sum of exponentials. Spec: https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html"""
    x = _floating(x)
    greatest = reduce_max(xp, x, axes, True)
    greatest = xp.where(xp.isfinite(greatest), greatest, xp.zeros_like(greatest))
    total = xp.log(xp.sum(xp.exp(x - greatest), axis=axes, keepdims=True)) + greatest
    return total if keepdims else total.reshape(reduced_spec(x, axes, False).shape)
