"""Reading elements by index: Gather, GatherElements, GatherND, OneHot, ReverseSequence.

Indices in host memory are checked; on a device, where reading them would stop the stream, they are used as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import braced, integer
from onnxgpu.providers.array_ops.registry import operator

_FEW = 4096


def check_bounds(indices: Array, size: int) -> None:
    """Check that host indices lie in [-size, size).

    Raises:
        InvalidArgument: one does not; names it as onnxruntime does.
    """
    if not isinstance(indices, np.ndarray) or indices.size == 0:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < -size or high >= size:
        wrong = high if high >= size else low
        raise InvalidArgument(f"indices element out of data bounds, idx={wrong} must be within the inclusive range [{-size},{size - 1}]")


def taken(xp: Any, x: Array, indices: Array, axis: int, out: Array = None) -> Array:
    """`x` at `indices` along `axis`; negative indices count from the back and must be in bounds."""
    if isinstance(x, np.ndarray):
        # NumPy's default mode checks every index again and, given `out`, works in a copy of it.
        return np.take(x, indices, axis, out=out, mode="wrap" if x.shape[axis] else "raise")
    return xp.take(x, indices, axis=axis, out=out)


def gather_spec(data: Array, indices: Array, *, axis: int = 0) -> Spec:
    """The shape of the indices in place of the axis."""
    axis = normalized_axis(axis, data.ndim, "Gather")
    return Spec((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]), data.dtype)


@operator("Gather", specs=gather_spec, alone=True)
def gather(xp: Any, data: Array, indices: Array, *, axis: int = 0, out: Array = None) -> Array:
    """Slices of `data` at `indices` (integers of any shape) along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Gather.html"""
    axis = normalized_axis(axis, data.ndim, "Gather")
    size = data.shape[axis]
    if indices.size == 1 and isinstance(indices, np.ndarray):
        return _gathered_slice(xp, data, indices, axis, size, out)
    if out is not None and 0 < out.size <= _FEW and type(data) is type(indices) is np.ndarray:
        return _taken_and_checked(data, indices, axis, size, out)
    check_bounds(indices, size)
    return taken(xp, data, indices, axis, out)


def _taken_and_checked(data: np.ndarray, indices: np.ndarray, axis: int, size: int, out: np.ndarray) -> Array:
    """For a few elements, not for none, NumPy checks in less time than finding the extremes takes, though in a copy of `out`."""
    try:
        return np.take(data, indices, axis, out=out)
    except IndexError:
        check_bounds(indices, size)
        raise


def _gathered_slice(xp: Any, data: Array, indices: np.ndarray, axis: int, size: int, out: Array) -> Array:
    index = int(indices.item())
    if not -size <= index < size:
        check_bounds(indices, size)
    found = data[(slice(None),) * axis + (slice(index, index + 1 or None),)]
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    if out is None:
        return found.reshape(shape).copy()
    out[...] = found.reshape(shape)
    return out


def element_positions(xp: Any, indices: Array, shape: Sequence[int], axis: int) -> Array:
    """Positions in a flattened array of `shape` of the elements that `indices` names along `axis`.

    Element (i, j, …) of `indices` stands for position (i, …, indices[i, j, …], …) with the index at `axis`; negative
    indices count from the back. int64, in the shape of `indices`.
    """
    strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
    positions = xp.where(indices < 0, indices + shape[axis], indices).astype(np.int64) * strides[axis]
    for i, count in enumerate(indices.shape):
        if i != axis and count > 1:
            steps = xp.arange(0, count * strides[i], strides[i], dtype=np.int64) if strides[i] else xp.zeros(count, np.int64)
            positions += steps.reshape([-1 if j == i else 1 for j in range(len(shape))])
    return positions


def check_element_indices(indices: Array, shape: Sequence[int], axis: int, operator_name: str) -> None:
    """Check the rank and extent of `indices` against data of `shape`.

    Raises:
        InvalidArgument: ranks differ, or `indices` is longer than the data in another dimension than `axis`.
    """
    if len(indices.shape) != len(shape):
        raise InvalidArgument(f"{operator_name}: expected indices of the data's rank {len(shape)}, got shape {braced(indices.shape)}")
    for i, (count, size) in enumerate(zip(indices.shape, shape, strict=True)):
        if i != axis and count > size:
            raise InvalidArgument(
                f"{operator_name}: expected indices within the data's shape {braced(shape)} except along axis {axis}, "
                f"got shape {braced(indices.shape)}"
            )
    check_bounds(indices, shape[axis])


def gather_elements_spec(data: Array, indices: Array, **_: Any) -> Spec:
    """The shape of the indices."""
    return Spec(tuple(indices.shape), data.dtype)


@operator("GatherElements", since=11, specs=gather_elements_spec, alone=True)
def gather_elements(xp: Any, data: Array, indices: Array, *, axis: int = 0, out: Array = None) -> Array:
    """One element of `data` for each element of `indices`, indexed along `axis` by it.

    Spec: https://onnx.ai/onnx/operators/onnx__GatherElements.html
    """
    axis = normalized_axis(axis, data.ndim, "GatherElements")
    check_element_indices(indices, data.shape, axis, "GatherElements")
    if indices.size == 0:
        return xp.empty(indices.shape, data.dtype) if out is None else out
    return taken(xp, data.reshape(-1), element_positions(xp, indices, data.shape, axis), 0, out)


def slice_rows(xp: Any, indices: Array, shape: Sequence[int], batch_dims: int, operator_name: str) -> tuple[Array, int]:
    """Which slices of data of `shape` the coordinates in the last dimension of `indices` name.

    Returns:
        Row numbers, int64 in the shape of `indices` without its last dimension, and the number of dimensions of the
        data that they count: data reshaped to (-1, *shape[that number:]) has these rows.

    Raises:
        InvalidArgument: more coordinates than dimensions, or one out of range.
    """
    depth = indices.shape[-1] if indices.ndim else 0
    counted = batch_dims + depth
    if counted > len(shape):
        raise InvalidArgument(
            f"{operator_name}: last dimension of indices must not be larger than rank of input tensor: expected at most "
            f"{len(shape) - batch_dims}, got {depth}"
        )
    rows = xp.zeros(indices.shape[:-1], np.int64)
    for i in range(depth):
        coordinate = indices[..., i]
        size = shape[batch_dims + i]
        _check_coordinate(coordinate, size, operator_name)
        rows *= size
        rows += xp.where(coordinate < 0, coordinate + size, coordinate)
    slices_per_batch = prod(shape[batch_dims:counted])
    batch = xp.arange(prod(shape[:batch_dims]), dtype=np.int64) * slices_per_batch
    rows += batch.reshape(tuple(shape[:batch_dims]) + (1,) * (rows.ndim - batch_dims))
    return rows, counted


def _check_coordinate(coordinate: Array, size: int, operator_name: str) -> None:
    if isinstance(coordinate, np.ndarray) and coordinate.size:
        low, high = int(coordinate.min()), int(coordinate.max())
        if low < -size or high >= size:
            wrong = high if high >= size else low
            raise InvalidArgument(f"{operator_name}: invalid index found, index = {wrong}, expected one in [{-size},{size - 1}]")


def gather_nd_spec(data: Array, indices: Array, *, batch_dims: int = 0) -> Spec:
    """The shape of the indices without its last dimension, and what a slice has."""
    if indices.ndim == 0 or batch_dims >= min(data.ndim, indices.ndim) or data.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise InvalidArgument(
            f"GatherND: expected data and indices of rank above batch_dims {batch_dims} with equal first dimensions, "
            f"got shapes {braced(data.shape)} and {braced(indices.shape)}"
        )
    return Spec((*indices.shape[:-1], *data.shape[batch_dims + indices.shape[-1] :]), data.dtype)


@operator("GatherND", domain="com.microsoft", specs=gather_nd_spec, alone=True)
@operator("GatherND", since=11, specs=gather_nd_spec, alone=True)
def gather_nd(xp: Any, data: Array, indices: Array, *, batch_dims: int = 0, out: Array = None) -> Array:
    """Slices of `data` at the coordinates in the last dimension of `indices`. Spec: https://onnx.ai/onnx/operators/onnx__GatherND.html"""
    rows, counted = slice_rows(xp, indices, data.shape, batch_dims, "GatherND")
    if rows.size == 0 or data.size == 0:
        return xp.empty((*rows.shape, *data.shape[counted:]), data.dtype) if out is None else out
    return taken(xp, data.reshape(-1, *data.shape[counted:]), rows, 0, out)


def one_hot_spec(indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Spec:
    """A new axis of size `depth`."""
    size = integer(depth, "OneHot", "depth")
    if size <= 0:
        raise InvalidArgument(f"Depth is negative. OneHot: expected a depth of at least 1, got {size}")
    if tuple(values.shape) != (2,):
        raise InvalidArgument(f"OneHot: expected input 'values' of shape {{2}}, [off, on], got {braced(values.shape)}")
    shape = list(indices.shape)
    shape.insert(normalized_axis(axis, indices.ndim + 1, "OneHot"), size)
    return Spec(tuple(shape), values.dtype)


@operator("OneHot", since=9, specs=one_hot_spec, host=("depth",), alone=True)
def one_hot(xp: Any, indices: Array, depth: Array, values: Array, *, axis: int = -1, out: Array = None) -> Array:
    """`values[1]` where the position along the new `axis` is the index, else `values[0]`.

    Indices outside [-depth, depth) give `values[0]` everywhere. Spec: https://onnx.ai/onnx/operators/onnx__OneHot.html
    """
    spec = one_hot_spec(indices, depth, values, axis=axis)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    axis = normalized_axis(axis, result.ndim, "OneHot")
    size = result.shape[axis]
    wanted = xp.expand_dims(indices.astype(np.int64), axis)
    wanted = xp.where(wanted < 0, wanted + size, wanted)
    classes = xp.arange(size, dtype=np.int64).reshape([-1 if i == axis else 1 for i in range(result.ndim)])
    result[...] = values[0]
    xp.copyto(result, values[1], where=wanted == classes)
    return result


def reverse_spec(x: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Spec:
    """The input's own."""
    if {batch_axis, time_axis} != {0, 1} or x.ndim < 2:
        raise InvalidArgument(
            f"ReverseSequence: expected batch_axis and time_axis to be 0 and 1 and an input of rank 2 or more, "
            f"got {batch_axis}, {time_axis} and shape {braced(x.shape)}"
        )
    if tuple(sequence_lens.shape) != (x.shape[batch_axis],):
        raise InvalidArgument(
            f"ReverseSequence: expected sequence_lens of shape {{{x.shape[batch_axis]}}}, got {braced(sequence_lens.shape)}"
        )
    return Spec(tuple(x.shape), x.dtype)


@operator("ReverseSequence", since=10, specs=reverse_spec, alone=True)
def reverse_sequence(xp: Any, x: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0, out: Array = None) -> Array:
    """The first `sequence_lens[i]` elements along `time_axis` of batch i in reverse order, the others as they are.

    Spec: https://onnx.ai/onnx/operators/onnx__ReverseSequence.html
    """
    length = x.shape[time_axis]
    if isinstance(sequence_lens, np.ndarray) and sequence_lens.size and not 0 <= sequence_lens.min() <= sequence_lens.max() <= length:
        wrong = next(int(n) for n in sequence_lens if not 0 <= n <= length)
        raise Fail(f"Invalid sequence length: {wrong}. Value must be in range [0,{length}]")
    batch_first = x if batch_axis == 0 else x.swapaxes(0, 1)
    steps = xp.arange(length)
    ends = sequence_lens.reshape(-1, 1)
    source = xp.where(steps < ends, ends - 1 - steps, steps)
    reversed_ = batch_first[xp.arange(batch_first.shape[0])[:, None], source]
    if batch_axis == 1:
        reversed_ = reversed_.swapaxes(0, 1)
    if out is None:
        return reversed_
    out[...] = reversed_
    return out
