"""ArgMax, ArgMin and Hardmax: a block or a thread a row; rows of few but long are split among blocks."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.kernels import (
    C_TYPES,
    FLOAT_NAMES,
    FLOATS,
    INTEGER_NAMES,
    MOST_BLOCKS,
    THREADS,
    Template,
    blocks_for,
    dense,
    whole_warps,
)
from onnxgpu.providers.cuda.registry import array_specs, operator

NUMBERS = FLOAT_NAMES | INTEGER_NAMES
_TYPES = tuple(C_TYPES[name] for name in sorted(NUMBERS))

ROWS = Template("extremes.cu", "extreme_of_rows<{T}>", "ppplllllbb", T=_TYPES)
COLUMNS = Template("extremes.cu", "extreme_of_columns<{T}>", "ppplllllbb", T=_TYPES)
MARK = Template("extremes.cu", "mark_indices<{T}>", "pplll", T=FLOATS)

_SHORT = 32
"""A thread of its own looks through each row that is shorter than this."""

_ENOUGH_BLOCKS = 512
"""Rows are split among blocks until there are about as many."""

_LEAST_SPAN = 4096
"""Elements of a part of a split row."""


def _extreme(xp: Any, x: Array, length: int, inner: int, is_least: bool, is_last: bool, out: Array) -> Array:
    """Into `out` (int64, one a row), where in its row the extreme element is."""
    x, rows = dense(xp, x), out.size
    by_thread = inner > 1 or length < _SHORT

    def launch(candidates: Array | None, found: Array, count: int, span: int) -> None:
        kernel = (COLUMNS if by_thread else ROWS).instance(T=x.dtype)
        blocks = min(MOST_BLOCKS, -(-rows // THREADS) if by_thread else rows)
        threads = THREADS if by_thread else whole_warps(span, 512)
        kernel.launch((blocks, -(-count // span)), threads, x, candidates, found, rows, length, inner, count, span, is_least, is_last)

    parts = max(1, min(length // _LEAST_SPAN, _ENOUGH_BLOCKS // max(1, -(-rows // THREADS) if by_thread else rows)))
    if parts == 1 or not rows:
        launch(None, out, length, length)
        return out
    span = -(-length // parts)
    parts = -(-length // span)
    found = xp.empty((rows, parts), np.int64)
    launch(None, found, length, span)
    launch(found, out, parts, parts)
    return out


def _register(name: str) -> None:
    specs = array_specs(name)

    @operator(name, specs=specs, types=NUMBERS)
    def index(xp: Any, x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0, out: Array = None) -> Array:
        spec: Any = specs(x, axis=axis, keepdims=keepdims)
        axis = normalized_axis(axis, len(x.shape), name)
        result = xp.empty(spec.shape, spec.dtype) if out is None else out
        return _extreme(xp, x, x.shape[axis], prod(x.shape[axis + 1 :]), name == "ArgMin", bool(select_last_index), result)


for _name in ("ArgMax", "ArgMin"):
    _register(_name)


def _hardmax(xp: Any, x: Array, length: int, inner: int, out: Array | None) -> Array:
    result = xp.empty(x.shape, x.dtype) if out is None else out
    if result.size:
        found = _extreme(xp, x, length, inner, False, False, xp.empty(x.size // length, np.int64))
        blocks = blocks_for(x.size)
        MARK.instance(T=x.dtype).launch(blocks, THREADS, found, result, x.size, length, inner)
    return result


@operator("Hardmax", specs=like_first, types=FLOAT_NAMES)
def hardmax_flattened(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """1 for the first greatest of all elements from `axis` on, 0 for the others. Spec: https://onnx.ai/onnx/operators/onnx__Hardmax.html"""
    start = axis if axis == len(x.shape) else normalized_axis(axis, len(x.shape), "Hardmax")
    return _hardmax(xp, x, prod(x.shape[start:]), 1, out)


@operator("Hardmax", since=13, specs=like_first, types=FLOAT_NAMES)
def hardmax(xp: Any, x: Array, *, axis: int = -1, out: Array = None) -> Array:
    """1 for the first greatest element along `axis`, 0 for the others. Spec: https://onnx.ai/onnx/operators/onnx__Hardmax.html"""
    axis = normalized_axis(axis, len(x.shape), "Hardmax")
    return _hardmax(xp, x, x.shape[axis], prod(x.shape[axis + 1 :]), out)
