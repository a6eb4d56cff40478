"""Operators whose output size is decided by the data: NonZero, Compress, Unique."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import widened
from onnxgpu.providers.array_ops.registry import operator


@operator("NonZero", since=9)
def non_zero(xp: Any, x: Array) -> Array:
    """Coordinates of the elements that are not zero (not ""), int64 [rank, n]; a scalar counts as rank 1.

    Spec: https://onnx.ai/onnx/operators/onnx__NonZero.html
    """
    found = xp.flatnonzero(x)
    coordinates = found.reshape(1, -1) if x.ndim < 2 else xp.stack(xp.unravel_index(found, x.shape))
    return coordinates.astype(np.int64, copy=False)


@operator("Compress", since=9)
def compress(xp: Any, x: Array, condition: Array, *, axis: int | None = None) -> Array:
    """The slices along `axis` (elements of the flattened input without it) where `condition`, bool [n], is true.

    Spec: https://onnx.ai/onnx/operators/onnx__Compress.html
    """
    if condition.ndim != 1:
        raise InvalidArgument(f"Compress: expected a condition of rank 1, got shape {braced(condition.shape)}")
    source = x.reshape(-1) if axis is None else x
    along = 0 if axis is None else normalized_axis(axis, x.ndim, "Compress")
    return xp.take(source, xp.flatnonzero(condition[: source.shape[along]]), axis=along)


def unique_positions(xp: Any, keys: Array) -> tuple[Array, Array, Array]:
    """Distinct elements of a one-dimensional array, in ascending order.

    Returns:
        Index of the first occurrence of each, which of them each element is, and how often each occurs.
    """
    _, first, inverse, counts = xp.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return first, inverse.reshape(-1), counts


def _row_codes(xp: Any, rows: Array) -> Array:
    """One integer for each row of a matrix, in the lexicographic order of the rows; equal for equal rows."""
    if rows.shape[1] == 0 or rows.shape[0] == 0:
        return xp.zeros(rows.shape[0], np.int64)
    codes = unique_positions(xp, rows.reshape(-1))[1].reshape(rows.shape)
    order = xp.lexsort(codes.T[::-1])
    in_order = codes[order]
    starts = xp.concatenate([xp.zeros(1, bool), (in_order[1:] != in_order[:-1]).any(axis=1)])
    ranks = xp.empty(rows.shape[0], np.int64)
    ranks[order] = xp.cumsum(starts)
    return ranks


@operator("Unique", since=11)
def unique(xp: Any, x: Array, *, axis: int | None = None, sorted: int = 1, output_count: int = 4) -> tuple[Array, ...]:
    """The distinct elements of the flattened input, or the distinct slices along `axis`.

    Returns:
        The elements or slices, in ascending order or in that of their first occurrence; the index of that occurrence;
        which of them each element of the input is; how often each occurs (the last three int64, one-dimensional).

    Spec: https://onnx.ai/onnx/operators/onnx__Unique.html
    """
    along = 0 if axis is None else normalized_axis(axis, x.ndim, "Unique")
    source = x.reshape(-1) if axis is None else x
    keys = widened(source)
    if axis is not None:
        moved = xp.moveaxis(keys, along, 0)
        keys = _row_codes(xp, moved.reshape(moved.shape[0], int(np.prod(moved.shape[1:]))))
    first, inverse, counts = unique_positions(xp, keys)
    if not sorted:
        order = xp.argsort(first, kind="stable")
        ranks = xp.empty_like(order)
        ranks[order] = xp.arange(order.size)
        first, inverse, counts = first[order], ranks[inverse], counts[order]
    found = (first, inverse, counts)
    return (xp.take(source, first, axis=along), *(i.astype(np.int64, copy=False) for i in found[: output_count - 1]))


@operator("Unique", domain="com.microsoft")
def unique_microsoft(xp: Any, x: Array) -> tuple[Array, Array, Array]:
    """Distinct elements of a one-dimensional input in the order of their first occurrence, where each is, and how often it occurs.

    Spec: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.Unique
    """
    values, _, inverse, counts = unique(xp, x, sorted=0)
    return values, inverse, counts
