"""Order along an axis: TopK, ArgMax, ArgMin, Hardmax. Equal elements keep the order of their indices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.array_module import is_numpy
from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import INT64, braced, integer
from onnxgpu.providers.array_ops.precision import widened
from onnxgpu.providers.array_ops.registry import operator

_SELECT_FROM = 512
"""Row length from which selecting k of a row before sorting them is faster than sorting the row."""


def top_indices(xp: Any, x: Array, k: int, axis: int, largest: bool) -> Array:
    """Indices along `axis` of the k greatest or least elements in order; of equal ones the lower index first.

    NaN counts as greatest. int64, the shape of `x` with k at `axis`.
    """
    keys = widened(x)
    size = x.shape[axis]
    if isinstance(keys, np.ndarray) and size >= _SELECT_FROM and k * 8 <= size and prod(x.shape) <= size * 256 and keys.dtype.kind in "fiu":
        rows = np.moveaxis(keys, axis, -1)
        found = np.empty((*rows.shape[:-1], k), np.int64)
        for row in np.ndindex(rows.shape[:-1]):
            found[row] = _selected(rows[row], k, largest)
        return np.moveaxis(found, -1, axis)
    forward = (slice(None),) * axis
    if not largest:
        return xp.argsort(keys, axis=axis, kind="stable")[(*forward, slice(0, k))]
    backward = xp.argsort(keys[(*forward, slice(None, None, -1))], axis=axis, kind="stable")
    return (size - 1) - backward[(*forward, slice(None, None, -1))][(*forward, slice(0, k))]


def _selected(row: np.ndarray, k: int, largest: bool) -> np.ndarray:
    """`top_indices` of one long row: the k-th element by partition, all beyond it, and the first of those equal to it."""
    if k == 0:
        return np.empty(0, np.int64)
    threshold = np.partition(row, row.size - k if largest else k - 1)[row.size - k if largest else k - 1]
    if threshold != threshold:
        chosen = np.arange(row.size)
    else:
        beyond = ~(row <= threshold) if largest else row < threshold
        chosen = np.flatnonzero(beyond)
        ties = np.flatnonzero(row == threshold)[: k - chosen.size]
        chosen = np.sort(np.concatenate([chosen, ties]))
    kept = row[chosen]
    if largest:
        return chosen[::-1][np.argsort(kept[::-1], kind="stable")[::-1]][:k]
    return chosen[np.argsort(kept, kind="stable")][:k]


def _top_k(xp: Any, x: Array, k: int, axis: int, largest: bool, out: tuple[Array, Array] | None) -> tuple[Array, Array]:
    axis = normalized_axis(axis, x.ndim, "TopK")
    order = top_indices(xp, x, k, axis, largest)
    values = _along(x, order, axis) if is_numpy(xp) and order.size else xp.take_along_axis(x, order, axis)
    if out is None:
        return values, order.astype(np.int64, copy=False)
    out[0][...] = values
    out[1][...] = order
    return out


def _along(x: Array, order: Array, axis: int) -> Array:
    """The elements of host `x` that `order` names along `axis`; along the others it has all positions, as `x` itself."""
    after = prod(x.shape[axis + 1 :])
    starts = np.arange(prod(x.shape[:axis])).reshape(-1, 1, 1) * (x.shape[axis] * after) + np.arange(after)
    positions = np.add(order if after == 1 else order * after, starts.reshape(*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    return np.take(x.reshape(-1), positions)


def _top_k_specs(x: Array, k: int, axis: int) -> tuple[Spec, Spec]:
    axis = normalized_axis(axis, x.ndim, "TopK")
    if k < 0:
        raise Fail(f"value of k must not be negative, got {k}")
    if k > x.shape[axis]:
        raise Fail(f"k argument [{k}] should not be greater than specified axis dim value [{x.shape[axis]}]")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return Spec(shape, x.dtype), Spec(shape, INT64)


def _top_k_1_specs(x: Array, *, k: int, axis: int = -1) -> tuple[Spec, Spec]:
    return _top_k_specs(x, k, axis)


@operator("TopK", specs=_top_k_1_specs)
def top_k_1(xp: Any, x: Array, *, k: int, axis: int = -1, out: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
    """The k greatest elements along `axis` and their indices, int64. Spec: https://onnx.ai/onnx/operators/onnx__TopK.html"""
    return _top_k(xp, x, k, axis, True, out)


def _top_k_10_specs(x: Array, k: Array, *, axis: int = -1, **_: Any) -> tuple[Spec, Spec]:
    return _top_k_specs(x, integer(k, "TopK", "K"), axis)


@operator("TopK", since=10, specs=_top_k_10_specs, host=("k",))
def top_k(
    xp: Any, x: Array, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1, out: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """The k greatest (or least) elements along `axis`, in order, and their indices, int64.

    `sorted=0` leaves the order open; they come in order then too. Spec: https://onnx.ai/onnx/operators/onnx__TopK.html
    """
    return _top_k(xp, x, integer(k, "TopK", "K"), axis, bool(largest), out)


def _arg_spec(x: Array, *, axis: int = 0, keepdims: int = 1, **_: Any) -> Spec:
    axis = normalized_axis(axis, x.ndim, "ArgMax/ArgMin")
    if x.shape[axis] == 0:
        raise InvalidArgument(f"ArgMax/ArgMin: expected at least one element along axis {axis}, got shape {braced(x.shape)}")
    return Spec((*x.shape[:axis], *((1,) if keepdims else ()), *x.shape[axis + 1 :]), INT64)


def _extreme_index(find: Any, x: Array, axis: int, keepdims: int, last: int, out: Array) -> Array:
    spec = _arg_spec(x, axis=axis, keepdims=keepdims)
    axis = normalized_axis(axis, x.ndim, "ArgMax/ArgMin")
    keys = widened(x)
    if last:
        keys = keys[(slice(None),) * axis + (slice(None, None, -1),)]
    found = find(keys, axis=axis).reshape(spec.shape)
    if last:
        found = x.shape[axis] - 1 - found
    if out is None:
        return found.astype(np.int64, copy=False)
    out[...] = found
    return out


@operator("ArgMax", specs=_arg_spec)
def arg_max(xp: Any, x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0, out: Array = None) -> Array:
    """Index along `axis` of the first (or last) greatest element, int64. Spec: https://onnx.ai/onnx/operators/onnx__ArgMax.html"""
    return _extreme_index(xp.argmax, x, axis, keepdims, select_last_index, out)


@operator("ArgMin", specs=_arg_spec)
def arg_min(xp: Any, x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0, out: Array = None) -> Array:
    """Index along `axis` of the first (or last) least element, int64. Spec: https://onnx.ai/onnx/operators/onnx__ArgMin.html"""
    return _extreme_index(xp.argmin, x, axis, keepdims, select_last_index, out)


def _like(x: Array, **_: Any) -> Spec:
    return Spec(tuple(x.shape), x.dtype)


def _hardmax(xp: Any, x: Array, axis: int, out: Array) -> Array:
    result = xp.empty(x.shape, x.dtype) if out is None else out
    if x.size:
        first = xp.expand_dims(xp.argmax(widened(x), axis=axis), axis)
        result[...] = xp.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)]) == first
    return result


@operator("Hardmax", specs=_like)
def hardmax_1(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """1 for the first greatest of all elements from `axis` on, 0 for the others. Spec: https://onnx.ai/onnx/operators/onnx__Hardmax.html"""
    cut = axis if axis == x.ndim else normalized_axis(axis, x.ndim, "Hardmax")
    matrix = (prod(x.shape[:cut]), prod(x.shape[cut:]))
    result = xp.empty(x.shape, x.dtype) if out is None else out
    _hardmax(xp, x.reshape(matrix), 1, result.reshape(matrix))
    return result


@operator("Hardmax", since=13, specs=_like)
def hardmax(xp: Any, x: Array, *, axis: int = -1, out: Array = None) -> Array:
    """1 for the first greatest element along `axis`, 0 for the others. Spec: https://onnx.ai/onnx/operators/onnx__Hardmax.html"""
    return _hardmax(xp, x, normalized_axis(axis, x.ndim, "Hardmax"), out)
