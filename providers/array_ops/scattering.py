"""Writing elements by index into a copy: ScatterElements, Scatter, ScatterND, TensorScatter.

Where the planner gives the data's own memory as `out`, nothing is copied and only the named elements are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.gathering import check_element_indices, element_positions, slice_rows
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

_REDUCTIONS = {"add": "add", "mul": "multiply", "max": "maximum", "min": "minimum"}


def _copied(xp: Any, data: Array, out: Array) -> Array:
    """`data` in dense memory that may be written: `out` where given."""
    if out is None:
        return xp.array(data, order="C")
    if not xp.may_share_memory(out, data) or out.strides != data.strides:
        out[...] = data
    return out


def _store(xp: Any, flat: Array, positions: Array, updates: Array, reduction: str) -> None:
    """Write `updates` at `positions` of a one-dimensional array; of several for one position the last stays."""
    if reduction == "none":
        flat[positions] = updates
        return
    if reduction not in _REDUCTIONS:
        raise InvalidArgument(f"expected reduction 'none', 'add', 'mul', 'max' or 'min', got {reduction!r}")
    # One-dimensional positions and updates are NumPy's fast path.
    getattr(xp, _REDUCTIONS[reduction]).at(flat, positions.reshape(-1), updates.reshape(-1))


def check_updates(indices: Array, updates: Array, expected: tuple[int, ...], operator_name: str, data: Array) -> None:
    """Check the shape of `updates`.

    Raises:
        InvalidArgument: it is not `expected`.
    """
    if tuple(updates.shape) != expected:
        raise InvalidArgument(
            f"{operator_name}: updates tensor should have shape {braced(expected)}. updates shape: {braced(updates.shape)}, "
            f"indices shape: {braced(indices.shape)}, data shape: {braced(data.shape)}"
        )


@operator("Scatter", since=9, specs=like_first)
@operator("ScatterElements", since=11, specs=like_first)
def scatter_elements(
    xp: Any, data: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none", out: Array = None
) -> Array:
    """`data` with one element replaced by, or reduced with, each element of `updates`, indexed along `axis`.

    Spec: https://onnx.ai/onnx/operators/onnx__ScatterElements.html
    """
    axis = normalized_axis(axis, data.ndim, "ScatterElements")
    check_updates(indices, updates, tuple(indices.shape), "ScatterElements", data)
    check_element_indices(indices, data.shape, axis, "ScatterElements")
    result = _copied(xp, data, out)
    if indices.size:
        _store(xp, result.reshape(-1), element_positions(xp, indices, data.shape, axis), updates, reduction)
    return result


@operator("ScatterND", since=11, specs=like_first)
def scatter_nd(xp: Any, data: Array, indices: Array, updates: Array, *, reduction: str = "none", out: Array = None) -> Array:
    """`data` with slices replaced by, or reduced with, those of `updates` at the coordinates in `indices`.

    Spec: https://onnx.ai/onnx/operators/onnx__ScatterND.html
    """
    if indices.ndim == 0:
        raise InvalidArgument("ScatterND: expected indices of rank 1 or more, got a scalar")
    rows, counted = slice_rows(xp, indices, data.shape, 0, "ScatterND")
    inner = data.shape[counted:]
    check_updates(indices, updates, (*indices.shape[:-1], *inner), "ScatterND", data)
    result = _copied(xp, data, out)
    if updates.size == 0:
        return result
    if reduction == "none":
        _store(xp, result.reshape(-1, *inner), rows, updates, reduction)
        return result
    width = updates.size // max(rows.size, 1)
    positions = rows.reshape(-1, 1) * width + xp.arange(width, dtype=np.int64)
    _store(xp, result.reshape(-1), positions, updates, reduction)
    return result


def tensor_scatter_spec(past_cache: Array, update: Array, write_indices: Array | None = None, **_: Any) -> Spec:
    """The cache's own, whose memory may be reused."""
    return Spec(tuple(past_cache.shape), past_cache.dtype, may_reuse=(0,))


def check_tensor_scatter(axis: int, size: int, length: int, mode: str) -> None:
    """Check where `length` of `size` positions along `axis` are to be written.

    Raises:
        InvalidArgument: along the first axis, more positions than there are, or in an unknown mode.
    """
    if axis == 0 or length > size or mode not in ("linear", "circular"):
        raise InvalidArgument(
            f"TensorScatter: expected axis above 0, at most {size} positions and a known mode, got {axis}, {length}, {mode!r}"
        )


@operator("TensorScatter", since=24, specs=tensor_scatter_spec)
def tensor_scatter(
    xp: Any,
    past_cache: Array,
    update: Array,
    write_indices: Array | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
    out: Array = None,
) -> Array:
    """A cache with `update` written along the sequence `axis`, from position `write_indices[i]` in batch i.

    Args:
        xp: array module.
        past_cache: (batch, …, max_length, …).
        update: the same shape but for its length along `axis`.
        write_indices: int64 [batch], zeros by default.
        axis: not 0.
        mode: "linear", or "circular": positions wrap around.
        out: memory for the result; the cache's own is updated in place.

    Spec: https://onnx.ai/onnx/operators/onnx__TensorScatter.html
    """
    axis = normalized_axis(axis, past_cache.ndim, "TensorScatter")
    size, length = past_cache.shape[axis], update.shape[axis]
    check_tensor_scatter(axis, size, length, mode)
    starts = xp.zeros(past_cache.shape[0], np.int64) if write_indices is None else write_indices
    if mode == "linear" and isinstance(starts, np.ndarray) and starts.size and not 0 <= starts.min() <= starts.max() <= size - length:
        raise InvalidArgument(
            f"TensorScatter: expected write_indices in [0,{size - length}] for {length} of {size} positions, got {starts.tolist()}"
        )
    result = _copied(xp, past_cache, out)
    positions = (starts.reshape(-1, 1) + xp.arange(length)) % max(size, 1)
    xp.moveaxis(result, axis, 1)[xp.arange(result.shape[0])[:, None], positions] = xp.moveaxis(update, axis, 1)
    return result
