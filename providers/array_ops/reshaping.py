"""Operators that give the same elements another shape, as views: Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand.

With them the two that read nothing but a shape: Shape and Size.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axes
from onnxgpu.providers.array_ops.host_values import INT64, braced, integer, integers
from onnxgpu.providers.array_ops.registry import operator


def reshaped(x: Array, requested: Sequence[int], allowzero: bool) -> Array:
    """`x` in the requested shape, a view where its strides allow one.

    Args:
        x: any shape.
        requested: -1 at most once: what remains; 0 with `allowzero` false: the input's size of that dimension.
        allowzero: 0 means a dimension of size 0.

    Raises:
        Fail: the numbers of elements differ, or `requested` breaks a rule above (onnxruntime's class and wording).
    """
    if 0 in requested and not allowzero:
        requested = _zeros_replaced(x.shape, requested)
    if min(requested, default=0) < -1:
        raise Fail(f"A dimension cannot be less than -1, got {min(requested)}")
    if requested.count(-1) > 1:
        raise Fail(f"At most one dimension can be -1. Input shape:{braced(x.shape)}, requested shape:{braced(requested)}")
    try:
        return x.reshape(requested)
    except ValueError:
        raise Fail(
            "The input tensor cannot be reshaped to the requested shape. "
            f"Input shape:{braced(x.shape)}, requested shape:{braced(requested)}"
        ) from None


def _zeros_replaced(shape: tuple[int, ...], requested: Sequence[int]) -> list[int]:
    last_zero = max(i for i, size in enumerate(requested) if size == 0)
    if last_zero >= len(shape):
        raise Fail(
            "The dimension with value zero exceeds the dimension size of the input tensor. "
            f"Input shape:{braced(shape)}, requested shape:{braced(requested)}"
        )
    return [shape[i] if size == 0 else size for i, size in enumerate(requested)]


@operator("Reshape", view=True)
def reshape_1(xp: Any, data: Array, *, shape: Sequence[int] = (), consumed_inputs: Sequence[int] = ()) -> Array:
    """The same elements in the shape of the attribute. Spec: https://onnx.ai/onnx/operators/onnx__Reshape.html"""
    return reshaped(data, shape, allowzero=False)


@operator("Reshape", since=5, view=True, host=("shape",))
def reshape(xp: Any, data: Array, shape: Array, *, allowzero: int = 0) -> Array:
    """The same elements in the shape `shape`, int64. Spec: https://onnx.ai/onnx/operators/onnx__Reshape.html"""
    return reshaped(data, integers(shape), bool(allowzero))


@operator("Flatten", view=True)
def flatten(xp: Any, x: Array, *, axis: int = 1) -> Array:
    """A matrix: dimensions before `axis` by those from it on. Spec: https://onnx.ai/onnx/operators/onnx__Flatten.html"""
    rank = x.ndim
    if not -rank <= axis <= rank:
        raise InvalidArgument(f"Flatten: expected an axis in [{-rank}, {rank}] for an input of rank {rank}, got {axis}")
    cut = axis + rank if axis < 0 else axis
    return x.reshape(prod(x.shape[:cut]), prod(x.shape[cut:]))


def _squeezed(x: Array, axes: Sequence[int] | None) -> Array:
    if axes is None:
        return x.reshape([size for size in x.shape if size != 1])
    dropped = {axis + x.ndim if axis < 0 else axis for axis in axes}
    for axis in dropped:
        if not 0 <= axis < x.ndim:
            raise Fail(f"Squeeze: axis {min(axes, key=lambda a: -x.ndim <= a < x.ndim)} is not in valid range [-{x.ndim},{x.ndim - 1}]")
        if x.shape[axis] != 1:
            raise Fail(f"Dimension of input {axis} must be 1 instead of {x.shape[axis]}. shape={braced(x.shape)}")
    return x.reshape([size for axis, size in enumerate(x.shape) if axis not in dropped])


@operator("Squeeze", view=True)
def squeeze_1(xp: Any, data: Array, *, axes: Sequence[int] | None = None) -> Array:
    """Without the dimensions `axes` of size 1 (all of size 1 by default). Spec: https://onnx.ai/onnx/operators/onnx__Squeeze.html"""
    return _squeezed(data, axes or None)


@operator("Squeeze", since=13, view=True, host=("axes",))
def squeeze(xp: Any, data: Array, axes: Array | None = None) -> Array:
    """Without the dimensions `axes` of size 1 (all of size 1 by default). Spec: https://onnx.ai/onnx/operators/onnx__Squeeze.html"""
    return _squeezed(data, None if axes is None or axes.size == 0 else integers(axes))


def _unsqueezed(x: Array, axes: Sequence[int]) -> Array:
    rank = x.ndim + len(axes)
    shape = list(x.shape)
    for axis in sorted(normalized_axes(axes, rank, "Unsqueeze")):
        shape.insert(axis, 1)
    return x.reshape(shape)


@operator("Unsqueeze", view=True)
def unsqueeze_1(xp: Any, data: Array, *, axes: Sequence[int]) -> Array:
    """With dimensions of size 1 at `axes` of the output. Spec: https://onnx.ai/onnx/operators/onnx__Unsqueeze.html"""
    return _unsqueezed(data, axes)


@operator("Unsqueeze", since=13, view=True, host=("axes",))
def unsqueeze(xp: Any, data: Array, axes: Array) -> Array:
    """With dimensions of size 1 at `axes` of the output. Spec: https://onnx.ai/onnx/operators/onnx__Unsqueeze.html"""
    return _unsqueezed(data, integers(axes))


@operator("ExpandDims", domain="com.microsoft", view=True, host=("axis",))
def expand_dims(xp: Any, data: Array, axis: Array) -> Array:
    """With a dimension of size 1 at `axis` of the output. Spec: onnxruntime's ContribOperators.md"""
    return _unsqueezed(data, [integer(axis, "ExpandDims", "axis")])


@operator("Transpose", view=True)
def transpose(xp: Any, data: Array, *, perm: Sequence[int] | None = None) -> Array:
    """Dimension i of the output is dimension `perm[i]` of the input. Spec: https://onnx.ai/onnx/operators/onnx__Transpose.html"""
    if not perm:
        return data.T
    if len(perm) != data.ndim:
        raise InvalidArgument(f"perm size: {len(perm)} does not match input rank: {data.ndim}")
    try:
        return data.transpose(perm)
    except ValueError:
        raise InvalidArgument(f"Transpose: expected each of the axes 0 to {data.ndim - 1} once in perm, got {list(perm)}") from None


@operator("Expand", since=8, view=True, host=("shape",))
def expand(xp: Any, x: Array, shape: Array) -> Array:
    """Broadcast to the common shape of `x` and `shape`; read-only. Spec: https://onnx.ai/onnx/operators/onnx__Expand.html"""
    requested = tuple(integers(shape))
    if requested == x.shape:
        return x
    try:
        return xp.broadcast_to(x, np.broadcast_shapes(x.shape, requested))
    except ValueError:
        raise InvalidArgument(f"invalid expand shape: {braced(requested)} cannot be broadcast with input shape {braced(x.shape)}") from None


def _shape_spec(data: Array, *, start: int = 0, end: int | None = None) -> Spec:
    return Spec((len(data.shape[start:end]),), INT64)


@operator("Shape", specs=_shape_spec, shape_only=("data",))
def shape_of(xp: Any, data: Array, *, start: int = 0, end: int | None = None, out: Array = None) -> Array:
    """The dimensions `start:end` of the input, int64, shape [n]. Spec: https://onnx.ai/onnx/operators/onnx__Shape.html"""
    sizes = data.shape[start:end]
    if out is None:
        return xp.asarray(sizes, dtype=np.int64)
    out[...] = xp.asarray(sizes, dtype=np.int64)
    return out


def _scalar_spec(*_: Any, **__: Any) -> Spec:
    return Spec((), INT64)


@operator("Size", specs=_scalar_spec, shape_only=("data",))
def size_of(xp: Any, data: Array, *, out: Array = None) -> Array:
    """The number of elements of the input, int64, shape []. Spec: https://onnx.ai/onnx/operators/onnx__Size.html"""
    count = prod(data.shape)
    if out is None:
        return xp.asarray(count, dtype=np.int64)
    out.fill(count)
    return out
