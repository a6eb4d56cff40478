"""MaxPool, AveragePool, LpPool, their global forms and MaxpoolWithMask: one pass over the input for each element of the window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.precision import lowest, stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import Windows, padded, spatial_sizes, windows_over

Numbers = Sequence[int] | None


def _pool_specs(name: str) -> Any:
    def specs(
        x: Array,
        *,
        kernel_shape: Sequence[int],
        strides: Numbers = None,
        dilations: Numbers = None,
        pads: Numbers = None,
        auto_pad: str = "NOTSET",
        ceil_mode: int = 0,
        output_count: int = 1,
        **_: Any,
    ) -> tuple[Spec, ...]:
        windows = windows_over(name, spatial_sizes(name, x), kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
        shape = (*x.shape[:2], *windows.output)
        return (Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64)))[:output_count]

    return specs


def maxima(xp: Any, x: Array, windows: Windows) -> Array:
    """The greatest element of each window."""
    source = padded(xp, x, windows, lowest(x.dtype))
    result = None
    for _, covered in windows.positions():
        part = source[(..., *covered)]
        result = part.copy() if result is None else xp.maximum(result, part, out=result)
    return result


def _maxima_with_places(xp: Any, x: Array, windows: Windows) -> tuple[Array, Array]:
    """The greatest element of each window (the first of equal ones) and its place in the flattened spatial axes."""
    source = padded(xp, x, windows, lowest(x.dtype))
    inside = padded(xp, xp.ones((1, 1, *x.shape[2:]), bool), windows, False)
    places = padded(xp, xp.arange(math.prod(windows.spatial), dtype=np.int64).reshape(1, 1, *windows.spatial), windows, 0)
    shape = (*x.shape[:2], *windows.output)
    best, where = xp.full(shape, lowest(x.dtype), dtype=x.dtype), xp.full(shape, -1, dtype=np.int64)
    for _, covered in windows.positions():
        index = (..., *covered)
        part = source[index]
        better = inside[index] & ((part > best) | (where < 0))
        best = xp.where(better, part, best)
        where = xp.where(better, places[index], where)
    return best, where


def _column_major(xp: Any, places: Array, spatial: Sequence[int]) -> Array:
    result, step = xp.zeros_like(places), 1
    strides = [math.prod(spatial[axis + 1 :]) for axis in range(len(spatial))]
    for size, stride in zip(spatial, strides, strict=True):
        result += places // stride % size * step
        step *= size
    return result


@operator("MaxPool", since=1, specs=_pool_specs("MaxPool"))
def max_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Numbers = None,
    pads: Numbers = None,
    storage_order: int = 0,
    strides: Numbers = None,
    output_count: int = 1,
    out: Any = None,
) -> Array | tuple[Array, ...]:
    """The greatest element of each window, and its index in the flattened input. Spec: https://onnx.ai/onnx/operators/onnx__MaxPool.html"""
    windows = windows_over("MaxPool", spatial_sizes("MaxPool", x), kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if output_count == 1:
        return stored(xp, maxima(xp, x, windows), x.dtype, out)
    best, places = _maxima_with_places(xp, x, windows)
    if storage_order:
        places = _column_major(xp, places, windows.spatial)
    images = math.prod(x.shape[:2])
    places = places + (xp.arange(images, dtype=np.int64) * math.prod(windows.spatial)).reshape(*x.shape[:2], *(1,) * len(windows.spatial))
    first, second = out or (None, None)
    return stored(xp, best, x.dtype, first), stored(xp, places, np.dtype(np.int64), second)


def window_sums(xp: Any, x: Array, windows: Windows) -> Array:
    """The sum of each window, in `x`'s own dtype."""
    source = padded(xp, x, windows, 0)
    result = xp.zeros((*x.shape[:2], *windows.output), x.dtype)
    for _, covered in windows.positions():
        result += source[(..., *covered)]
    return result


def element_counts(windows: Windows, count_include_pad: int) -> np.ndarray:
    """How many elements of each window count: those inside the input, or inside the input and its padding."""
    counts = np.ones((1,) * len(windows.output), np.int64)
    for axis, count in enumerate(windows.output):
        starts = np.arange(count)[:, None] * windows.strides[axis] - windows.begin[axis]
        elements = starts + np.arange(windows.kernel[axis]) * windows.dilations[axis]
        first = -windows.begin[axis] if count_include_pad else 0
        last = windows.spatial[axis] + (windows.end[axis] if count_include_pad else 0)
        along = ((elements >= first) & (elements < last)).sum(axis=1)
        counts = counts * along.reshape(*(-1 if i == axis else 1 for i in range(len(windows.output))))
    return counts


@operator("AveragePool", since=1, specs=_pool_specs("AveragePool"))
def average_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """The mean of each window, padding left out unless asked for. Spec: https://onnx.ai/onnx/operators/onnx__AveragePool.html"""
    windows = windows_over("AveragePool", spatial_sizes("AveragePool", x), kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    total = window_sums(xp, widened(x), windows)
    total /= xp.asarray(np.maximum(element_counts(windows, count_include_pad), 1).astype(total.dtype))
    return stored(xp, total, x.dtype, out)


def _powers(xp: Any, x: Array, p: float) -> Array:
    magnitude = xp.abs(x)
    return magnitude if p == 1 else magnitude * magnitude if p == 2 else magnitude**p


def _root(xp: Any, total: Array, p: float) -> Array:
    return total if p == 1 else xp.sqrt(total) if p == 2 else total ** (1.0 / p)


@operator("LpPool", since=1, specs=_pool_specs("LpPool"))
def lp_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Numbers = None,
    p: float = 2,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """The Lp norm of each window. Spec: https://onnx.ai/onnx/operators/onnx__LpPool.html"""
    windows = windows_over("LpPool", spatial_sizes("LpPool", x), kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return stored(xp, _root(xp, window_sums(xp, _powers(xp, widened(x), p), windows), p), x.dtype, out)


def _global_specs(x: Array, **_: Any) -> Spec:
    return Spec((*x.shape[:2], *(1,) * len(spatial_sizes("global pooling", x))), x.dtype)


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, len(x.shape)))


@operator("GlobalAveragePool", since=1, specs=_global_specs)
def global_average_pool(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The mean of each channel. Spec: https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html"""
    return stored(xp, xp.mean(widened(x), axis=_spatial(x), keepdims=True), x.dtype, out)


@operator("GlobalMaxPool", since=1, specs=_global_specs)
def global_max_pool(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The greatest element of each channel. Spec: https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html"""
    return stored(xp, xp.max(x, axis=_spatial(x), keepdims=True), x.dtype, out)


@operator("GlobalLpPool", since=1, specs=_global_specs)
def global_lp_pool(xp: Any, x: Array, *, p: float = 2, out: Array = None) -> Array:
    """The Lp norm of each channel. Spec: https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html"""
    total = xp.sum(_powers(xp, widened(x), p), axis=_spatial(x), keepdims=True)
    return stored(xp, _root(xp, total, p), x.dtype, out)


def _masked_specs(x: Array, mask: Array, *, output_count: int = 1, **attributes: Any) -> Spec:
    if len(mask.shape) != len(x.shape) or mask.shape[2:] != x.shape[2:]:
        raise InvalidArgument(
            f"MaxpoolWithMask: expected a mask of the input's rank and spatial sizes {list(x.shape[2:])}, got shape {list(mask.shape)}"
        )
    spec: Spec = _pool_specs("MaxpoolWithMask")(x, **attributes)[0]
    return spec


def _planes_of_mask(xp: Any, mask: Array, images: int) -> Array:
    """Which elements each of `images` planes may use: bool, (images, spatial…).

    onnxruntime starts the mask of plane i at element (i · elements of a plane) modulo (number of masks); with one mask
    that is the mask. The very first element of a plane of two or more dimensions counts in any case.
    """
    spatial, count = mask.shape[2:], math.prod(mask.shape[:2])
    size = math.prod(spatial)
    starts = xp.arange(images)[:, None] * size % count
    usable = mask.reshape(-1)[starts + xp.arange(size)] != 0
    if len(spatial) > 1:
        usable[:, 0] = True
    return usable.reshape(images, *spatial)


@operator("MaxpoolWithMask", domain="com.microsoft", specs=_masked_specs, types=frozenset({"float"}))
def maxpool_with_mask(
    xp: Any,
    x: Array,
    mask: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    pads: Numbers = None,
    storage_order: int = 0,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """The greatest element of each window, of each of its rows only those before the first that the mask (int32) has as 0.

    A window without elements gives the least finite number. Spec: onnxruntime's ContribOperators.md
    """
    _masked_specs(x, mask, kernel_shape=kernel_shape, auto_pad=auto_pad, pads=pads, strides=strides)
    windows = windows_over("MaxpoolWithMask", spatial_sizes("MaxpoolWithMask", x), kernel_shape, strides, None, pads, auto_pad)
    least = np.finfo(x.dtype).min
    source = padded(xp, x, windows, least)
    usable = padded(xp, _planes_of_mask(xp, mask, math.prod(x.shape[:2])).reshape(x.shape), windows, True)
    result = xp.full((*x.shape[:2], *windows.output), least, x.dtype)
    going_on: Array = True
    for element, covered in windows.positions():
        part = (..., *covered)
        going_on = usable[part] & (going_on if element[-1] else True)
        xp.copyto(result, source[part], where=going_on & (source[part] > result))
    return stored(xp, result, x.dtype, out)
