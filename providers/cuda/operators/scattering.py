"""ScatterElements, ScatterND and TensorScatter: elements and slices written where indices on the device say.

The data is copied first, unless the result is its own memory. Nothing is written for an index out of range. Reductions are atomic, so
that the order of additions, and with it the last bit of a sum of floats, may differ from run to run.
"""

from __future__ import annotations

from math import prod
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.gathering import check_element_indices
from onnxgpu.providers.array_ops.scattering import check_tensor_scatter, check_updates, tensor_scatter_spec
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, INTEGER_NAMES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.operators.gathering import checked_depth, element_axes, is_wide, other_indices
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import UNITS, axes_of, copy, dense_strides, unit_bytes

NUMBERS = FLOAT_NAMES | INTEGER_NAMES
OPERATIONS = {"add": "Sum", "mul": "Product", "max": "Maximum", "min": "Minimum"}
WRITERS = (
    *(f"Assign<{unit}>" for unit in UNITS),
    *(f"Combine<{C_TYPES[name]}, {operation}>" for name in sorted(NUMBERS) for operation in OPERATIONS.values()),
)

SLICES = Template("scatter.cu", "scatter_slices<{writer}>", "pppsbll", writer=WRITERS)
ELEMENTS = Template("scatter.cu", "scatter_elements<{writer}>", "pppsblll", writer=WRITERS)
ROWS = Template("scatter.cu", "scatter_rows<{bytes}>", "pppblllll", bytes=UNITS)


def _refusal(operation: Operation) -> str | None:
    reduction, data = operation.attributes.get("reduction", "none"), operation.inputs[0]
    if reduction == "none":
        return other_indices(operation)
    if reduction not in OPERATIONS:
        return f"reduces by {', '.join(OPERATIONS)}, not {reduction!r}"
    is_number = data is not None and data.dtype is not None and name_of(data.dtype) in NUMBERS
    return other_indices(operation) if is_number else "reduces numbers of 8 bits and more"


def _started(xp: Any, data: Array, out: Array) -> Array:
    """The result with the data in it."""
    result = result_for(xp, like_first(data), out)
    if bits_of(result).data.ptr != bits_of(data).data.ptr or bits_of(result).strides != bits_of(data).strides:
        copy(result, data)
    return result


def _writer(array: Array, reduction: str, unit: int) -> str:
    return f"Assign<{unit}>" if reduction == "none" else f"Combine<{C_TYPES[name_of(array.dtype)]}, {OPERATIONS[reduction]}>"


@operator("Scatter", since=9, specs=like_first, when=_refusal)
@operator("ScatterElements", since=11, specs=like_first, when=_refusal)
@takes_narrow
def scatter_elements(
    xp: Any, data: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none", out: Array = None
) -> Array:
    """`data` with one element replaced by, or reduced with, each element of `updates`, indexed along `axis`.

    Spec: https://onnx.ai/onnx/operators/onnx__ScatterElements.html
    """
    axis = normalized_axis(axis, data.ndim, "ScatterElements")
    check_updates(indices, updates, tuple(indices.shape), "ScatterElements", data)
    check_element_indices(indices, data.shape, axis, "ScatterElements")
    result = _started(xp, data, out)
    target = bits_of(result)
    (sizes, walked), size, step = element_axes(indices.shape, target, axis)
    sources = dense(xp, indices), dense(xp, bits_of(updates))
    arguments = axes_of(sizes, (), walked), is_wide(indices), size, step, indices.size
    writer = _writer(data, reduction, target.itemsize)
    ELEMENTS.instance(writer=writer).launch(blocks_for(indices.size), THREADS, *sources, target, *arguments)
    return result


@operator("ScatterND", since=11, specs=like_first, when=_refusal)
@takes_narrow
def scatter_nd(xp: Any, data: Array, indices: Array, updates: Array, *, reduction: str = "none", out: Array = None) -> Array:
    """`data` with slices replaced by, or reduced with, those of `updates` at the coordinates in `indices`.

    Spec: https://onnx.ai/onnx/operators/onnx__ScatterND.html
    """
    if indices.ndim == 0:
        raise InvalidArgument("ScatterND: expected indices of rank 1 or more, got a scalar")
    depth = checked_depth(data, indices, 0, "ScatterND")
    check_updates(indices, updates, (*indices.shape[:-1], *data.shape[depth:]), "ScatterND", data)
    result = _started(xp, data, out)
    target, source = bits_of(result), dense(xp, bits_of(updates))
    length, unit = prod(data.shape[depth:]) * target.itemsize, target.itemsize
    if reduction == "none":
        unit = unit_bytes(unit, length, target.data.ptr, source.data.ptr)
    sizes, units, count = list(data.shape[:depth]), length // unit, source.nbytes // unit
    strides = [step * units for step in dense_strides(sizes, 1)]
    SLICES.instance(writer=_writer(data, reduction, unit)).launch(
        blocks_for(count), THREADS, dense(xp, indices), source, target, axes_of(sizes, (), strides), is_wide(indices), units, count
    )
    return result


@operator("TensorScatter", since=24, specs=tensor_scatter_spec)
@takes_narrow
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

    Spec: https://onnx.ai/onnx/operators/onnx__TensorScatter.html
    """
    axis = normalized_axis(axis, past_cache.ndim, "TensorScatter")
    size, length = past_cache.shape[axis], update.shape[axis]
    check_tensor_scatter(axis, size, length, mode)
    result = _started(xp, past_cache, out)
    target, source = bits_of(result), dense(xp, bits_of(update))
    inner = prod(update.shape[axis + 1 :]) * target.itemsize
    unit = unit_bytes(target.itemsize, inner, target.data.ptr, source.data.ptr)
    count = source.nbytes // unit
    starts = None if write_indices is None else dense(xp, write_indices)
    arguments = mode == "circular", prod(update.shape[1:axis]), size, length, inner // unit, count
    ROWS.instance(bytes=unit).launch(blocks_for(count), THREADS, source, starts, target, *arguments)
    return result
