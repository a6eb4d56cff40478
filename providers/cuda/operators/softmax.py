"""Softmax and LogSoftmax: rows that are held in registers, longer ones, and columns."""

from __future__ import annotations

from math import prod
from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, Template, dense
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.rows import BUSY, teams

_LOGARITHM, _WIDE = ("false", "true"), ("false", "true")
ROWS = Template("softmax.cu", "softmax_rows<{T}, {logarithm}, {wide}>", "ppli", T=FLOATS, logarithm=_LOGARITHM, wide=_WIDE)
LONG_ROWS = Template("softmax.cu", "softmax_long_rows<{T}, {logarithm}, {wide}>", "ppli", T=FLOATS, logarithm=_LOGARITHM, wide=_WIDE)
COLUMNS = Template("softmax.cu", "softmax_columns<{T}, {logarithm}>", "pplil", T=FLOATS, logarithm=_LOGARITHM)

_COLUMN_THREADS, _MOST_SHARES, _LEAST_SHARE = 256, 32, 4
"""Threads of a block of columns, how many of them share a column at most, and how many elements each has at least."""


def _launch(xp: Any, x: Array, count: int, inner: int, is_logarithm: bool, out: Array | None) -> Array:
    result = xp.empty(x.shape, x.dtype) if out is None else out
    if x.size == 0:
        return result
    rows, source, logarithm = x.size // count, dense(xp, x), "true" if is_logarithm else "false"
    if inner == 1:
        how = teams(rows, count, source, result)
        kernel = (ROWS if how.fit else LONG_ROWS).instance(T=x.dtype, logarithm=logarithm, wide=how.wide)
        kernel.launch(how.blocks, how.threads, source, result, rows, count)
    else:
        shares = 1
        while shares < _MOST_SHARES and rows * shares < BUSY and shares * _LEAST_SHARE < count:
            shares *= 2
        columns = _COLUMN_THREADS // shares
        COLUMNS.instance(T=x.dtype, logarithm=logarithm).launch(-(-rows // columns), (columns, shares), source, result, rows, count, inner)
    return result


def _over_the_rest(xp: Any, x: Array, axis: int, logarithm: bool, out: Array | None) -> Array:
    rank = len(x.shape)
    start = rank if axis == rank else normalized_axis(axis, rank, "Softmax")
    return _launch(xp, x, prod(x.shape[start:]), 1, logarithm, out)


def _over_one_axis(xp: Any, x: Array, axis: int, logarithm: bool, out: Array | None) -> Array:
    axis = normalized_axis(axis, len(x.shape), "Softmax")
    return _launch(xp, x, x.shape[axis], prod(x.shape[axis + 1 :]), logarithm, out)


@operator("Softmax", since=1, specs=like_first, types=FLOAT_NAMES)
def softmax_flattened(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """Over all axes from `axis` on. Spec: https://onnx.ai/onnx/operators/onnx__Softmax.html"""
    return _over_the_rest(xp, x, axis, False, out)


@operator("Softmax", since=13, specs=like_first, types=FLOAT_NAMES)
def softmax(xp: Any, x: Array, *, axis: int = -1, out: Array = None) -> Array:
    """Over one axis. Spec: https://onnx.ai/onnx/operators/onnx__Softmax.html"""
    return _over_one_axis(xp, x, axis, False, out)


@operator("LogSoftmax", since=1, specs=like_first, types=FLOAT_NAMES)
def log_softmax_flattened(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """Over all axes from `axis` on. Spec: https://onnx.ai/onnx/operators/onnx__LogSoftmax.html"""
    return _over_the_rest(xp, x, axis, True, out)


@operator("LogSoftmax", since=13, specs=like_first, types=FLOAT_NAMES)
def log_softmax(xp: Any, x: Array, *, axis: int = -1, out: Array = None) -> Array:
    """Over one axis. Spec: https://onnx.ai/onnx/operators/onnx__LogSoftmax.html"""
    return _over_one_axis(xp, x, axis, True, out)
