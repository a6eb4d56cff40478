"""NonZero and Compress: counted in parts, then stored; only the number found comes to the host in between."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, INTEGER_NAMES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.scans import scanned
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.sizes import size_on_host

NUMBERS = FLOAT_NAMES | INTEGER_NAMES | {"bool"}
_TYPES = tuple(C_TYPES[name] for name in sorted(NUMBERS))
_UNITS = {16: "SixteenBytes", 8: "unsigned long long", 4: "unsigned int", 2: "unsigned short", 1: "unsigned char"}

COUNT = Template("selecting.cu", "count_selected<{T}>", "ppll", T=_TYPES)
STORE = Template("selecting.cu", "store_selected<{T}>", "ppplsll", T=_TYPES)
TAKE = Template("selecting.cu", "take_slices<{unit}>", "pppllll", unit=tuple(_UNITS.values()))

_MOST_DIMENSIONS = 32
"""As many as an array of CuPy has."""

_MOST_PARTS = 1024
_LEAST_SPAN = 4096


def coordinates(xp: Any, x: Array, shape: tuple[int, ...]) -> Array:
    """Where the elements of dense x that are not zero are in a tensor of `shape`: int64, [rank, how many]."""
    span = max(_LEAST_SPAN, -(-x.size // _MOST_PARTS))
    parts = -(-x.size // span)
    ends = xp.empty(parts, np.int64)
    COUNT.instance(T=x.dtype).launch(parts, THREADS, x, ends, x.size, span)
    total = size_on_host(scanned(xp, "Sum", ends, parts, 1, ends))
    found = xp.empty((len(shape), total), np.int64)
    if total:
        dimensions = np.array([len(shape), *shape, *(1,) * (_MOST_DIMENSIONS - len(shape))], np.int64)
        STORE.instance(T=x.dtype).launch(parts, THREADS, x, ends, found, total, dimensions, x.size, span)
    return found


@operator("NonZero", since=9, types=NUMBERS)
def non_zero(xp: Any, x: Array) -> Array:
    """Coordinates of the elements that are not zero, int64 [rank, n]; a scalar counts as rank 1.

    Spec: https://onnx.ai/onnx/operators/onnx__NonZero.html
    """
    return coordinates(xp, dense(xp, x), tuple(x.shape) or (1,))


@operator("Compress", since=9, types=NUMBERS)
def compress(xp: Any, x: Array, condition: Array, *, axis: int | None = None) -> Array:
    """The slices along `axis` (elements of the flattened input without it) where `condition`, bool [n], is true.

    Spec: https://onnx.ai/onnx/operators/onnx__Compress.html
    """
    if len(condition.shape) != 1:
        raise InvalidArgument(f"Compress: expected a condition of rank 1, got shape {braced(condition.shape)}")
    shape = (x.size,) if axis is None else tuple(x.shape)
    along = 0 if axis is None else normalized_axis(axis, len(shape), "Compress")
    asked = dense(xp, condition[: shape[along]])
    positions = coordinates(xp, asked, (asked.size,))
    result = xp.empty((*shape[:along], positions.size, *shape[along + 1 :]), x.dtype)
    _take(dense(xp, x), positions, result, prod(shape[:along]), shape[along], prod(shape[along + 1 :]))
    return result


def _take(x: Array, positions: Array, out: Array, outer: int, length: int, inner: int) -> None:
    """The slices of x [outer, length, inner] at `positions`, in units as wide as addresses and sizes allow."""
    slice_bytes = inner * x.dtype.itemsize
    unit = next(width for width in _UNITS if not (slice_bytes % width or x.data.ptr % width or out.data.ptr % width))
    units = slice_bytes // unit
    blocks = blocks_for(outer * positions.size * units)
    TAKE.instance(unit=_UNITS[unit]).launch(blocks, THREADS, x, positions, out, outer, length, positions.size, units)
