"""Softmax and LogSoftmax: one kernel for rows of any stride."""

from __future__ import annotations

from math import prod
from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, Template, dense, whole_warps
from onnxgpu.providers.cuda.registry import operator

ROWS = Template("softmax.cu", "softmax_rows<{T}, {logarithm}>", "ppil", T=FLOATS, logarithm=("false", "true"))


def _launch(xp: Any, x: Array, count: int, inner: int, logarithm: bool, out: Array | None) -> Array:
    result = xp.empty(x.shape, x.dtype) if out is None else out
    rows = x.size // count if count else 0
    ROWS.instance(T=x.dtype, logarithm="true" if logarithm else "false").launch(
        rows, whole_warps(count), dense(xp, x), result, count, inner
    )
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
