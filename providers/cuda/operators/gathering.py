"""Gather, GatherElements, GatherND, ArrayFeatureExtractor and ReverseSequence: elements and slices named by indices on the device.

Nothing is read for an index out of range, which the host never sees: the result is 0 there.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.gathering import (
    check_element_indices,
    gather_elements_spec,
    gather_nd_spec,
    gather_spec,
    reverse_spec,
)
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.cuda.generated import collapsed
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import MOST_AXES, UNITS, axes_of, dense_strides, unit_bytes

SLICES = Template("gather.cu", "gather_slices<{bytes}>", "pppsblllll", bytes=UNITS)
ELEMENTS = Template("gather.cu", "gather_elements<{bytes}>", "pppsblll", bytes=UNITS)
REVERSED = Template("gather.cu", "reverse_sequences<{bytes}>", "pppbllll", bytes=UNITS)

_INDEX_TYPES = (np.dtype(np.int32), np.dtype(np.int64))


def other_indices(operation: Operation) -> str | None:
    """Why the kernels do not take these ranks or this type of indices."""
    for value in operation.inputs[:2]:
        if value is None or value.shape is None or len(value.shape) > MOST_AXES:
            return f"needs to know that its inputs have at most {MOST_AXES} dimensions"
    indices = operation.inputs[1]
    return None if indices is not None and indices.dtype in _INDEX_TYPES else "takes indices of int32 or int64"


def is_wide(indices: Array) -> bool:
    """True for indices of 64 bits."""
    return bool(indices.dtype.itemsize == 8)


def _slices(
    xp: Any, data: Array, indices: Array, result: Array, outer: int, sizes: list[int], slices: int, index_step: int, inner: int
) -> None:
    """Launch: data [outer, *sizes, inner], indices [slices, len(sizes)] for all or for each outer, result [outer, slices, inner]."""
    if result.size == 0 or data.size == 0:
        bits_of(result).fill(0)
        return
    source = dense(xp, bits_of(data))
    length = inner * source.itemsize
    unit = unit_bytes(source.itemsize, length, source.data.ptr, bits_of(result).data.ptr)
    units = length // unit
    strides = [step * units for step in dense_strides(sizes, 1)]
    count = outer * slices * units
    arguments = axes_of(sizes, strides), is_wide(indices), slices, index_step, units, prod(sizes) * units, count
    SLICES.instance(bytes=unit).launch(blocks_for(count), THREADS, source, dense(xp, indices), result, *arguments)


@operator("Gather", specs=gather_spec, when=other_indices)
@takes_narrow
def gather(xp: Any, data: Array, indices: Array, *, axis: int = 0, out: Array = None) -> Array:
    """Slices of `data` at `indices` (integers of any shape) along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Gather.html"""
    result = result_for(xp, gather_spec(data, indices, axis=axis), out)
    axis = normalized_axis(axis, data.ndim, "Gather")
    shape = data.shape
    _slices(xp, data, indices, result, prod(shape[:axis]), [shape[axis]], indices.size, 0, prod(shape[axis + 1 :]))
    return result


def _features_spec(x: Array, y: Array) -> Spec:
    """A vector [F] gives [1, len(y)].

    Raises:
        InvalidArgument: no axis, or no positions.
    """
    if not x.shape or not y.size:
        raise InvalidArgument(f"ArrayFeatureExtractor: expected an axis and positions on it, got {braced(x.shape)} and {braced(y.shape)}")
    return Spec((*(x.shape[:-1] or (1,)), y.size), x.dtype)


@operator("ArrayFeatureExtractor", domain="ai.onnx.ml", specs=_features_spec, when=other_indices)
def array_feature_extractor(xp: Any, x: Array, y: Array, *, out: Array = None) -> Array:
    """The features at positions `y` of the last axis. Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_ArrayFeatureExtractor.html"""
    result = result_for(xp, _features_spec(x, y), out)
    _slices(xp, x, y, result, prod(x.shape[:-1]), [x.shape[-1]], y.size, 0, 1)
    return result


@operator("GatherND", domain="com.microsoft", specs=gather_nd_spec, when=other_indices)
@operator("GatherND", since=11, specs=gather_nd_spec, when=other_indices)
@takes_narrow
def gather_nd(xp: Any, data: Array, indices: Array, *, batch_dims: int = 0, out: Array = None) -> Array:
    """Slices of `data` at the coordinates in the last dimension of `indices`. Spec: https://onnx.ai/onnx/operators/onnx__GatherND.html"""
    result = result_for(xp, gather_nd_spec(data, indices, batch_dims=batch_dims), out)
    sizes = list(data.shape[batch_dims : checked_depth(data, indices, batch_dims, "GatherND")])
    outer, slices = prod(data.shape[:batch_dims]), prod(indices.shape[batch_dims:-1])
    _slices(xp, data, indices, result, outer, sizes, slices, slices, prod(data.shape[batch_dims + len(sizes) :]))
    return result


def checked_depth(data: Array, indices: Array, batch_dims: int, name: str) -> int:
    """How many dimensions of the data the coordinates in the last dimension of `indices` and the batch make up.

    Raises:
        InvalidArgument: more than there are.
    """
    depth = int(indices.shape[-1])
    if batch_dims + depth > data.ndim:
        raise InvalidArgument(
            f"{name}: last dimension of indices must not be larger than rank of input tensor: expected at most "
            f"{data.ndim - batch_dims}, got {depth}"
        )
    return batch_dims + depth


@operator("GatherElements", since=11, specs=gather_elements_spec, when=other_indices)
@takes_narrow
def gather_elements(xp: Any, data: Array, indices: Array, *, axis: int = 0, out: Array = None) -> Array:
    """One element of `data` for each element of `indices`, indexed along `axis` by it.

    Spec: https://onnx.ai/onnx/operators/onnx__GatherElements.html
    """
    result = result_for(xp, gather_elements_spec(data, indices), out)
    axis = normalized_axis(axis, data.ndim, "GatherElements")
    check_element_indices(indices, data.shape, axis, "GatherElements")
    source = bits_of(data)
    axes, size, step = element_axes(indices.shape, source, axis)
    arguments = axes_of(*axes), is_wide(indices), size, step, indices.size
    ELEMENTS.instance(bytes=source.itemsize).launch(blocks_for(indices.size), THREADS, source, dense(xp, indices), result, *arguments)
    return result


def element_axes(shape: tuple[int, ...], array: Array, axis: int) -> tuple[tuple[list[int], list[int]], int, int]:
    """How indices of `shape` walk through `array`: sizes and strides of joined axes, and size and stride of the one they index."""
    strides = [step // array.itemsize for step in array.strides]
    sizes, (walked,) = collapsed(shape, [[0 if i == axis else step for i, step in enumerate(strides)]])
    return (sizes, walked), array.shape[axis], strides[axis]


@operator("ReverseSequence", since=10, specs=reverse_spec)
@takes_narrow
def reverse_sequence(xp: Any, x: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0, out: Array = None) -> Array:
    """The first `sequence_lens[i]` elements along `time_axis` of batch i in reverse order, the others as they are.

    Spec: https://onnx.ai/onnx/operators/onnx__ReverseSequence.html
    """
    result = result_for(xp, reverse_spec(x, sequence_lens, batch_axis=batch_axis, time_axis=time_axis), out)
    source = dense(xp, bits_of(x))
    length = prod(x.shape[2:]) * source.itemsize
    unit = unit_bytes(source.itemsize, length, source.data.ptr, bits_of(result).data.ptr)
    count = source.nbytes // unit
    arguments = time_axis == 0, x.shape[1], length // unit, x.shape[time_axis], count
    REVERSED.instance(bytes=unit).launch(blocks_for(count), THREADS, source, dense(xp, sequence_lens), result, *arguments)
    return result
