"""Tensors made from attributes and sizes: Constant, ConstantOfShape, Range, EyeLike and the window functions."""

from __future__ import annotations

from math import ceil, pi
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.elementwise import is_narrow
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.registry import operator

FLOAT = np.dtype(np.float32)


@operator("Constant")
def constant(
    xp: Any,
    *,
    value: Array = None,
    sparse_value: tuple[Array, Array, tuple[int, ...]] | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
    value_string: str | None = None,
    value_strings: tuple[str, ...] | None = None,
) -> Array:
    """The value of the one attribute that is set. Spec: https://onnx.ai/onnx/operators/onnx__Constant.html

    A sparse value is (values, indices, shape) and becomes dense; strings stay on the host.

    Raises:
        InvalidArgument: no attribute is set.
    """
    if value is not None:
        return value if value.dtype == object else xp.asarray(value)
    if sparse_value is not None:
        return xp.asarray(_densified(*sparse_value))
    typed = ((value_float, FLOAT), (value_floats, FLOAT), (value_int, np.dtype(np.int64)), (value_ints, np.dtype(np.int64)))
    for given, dtype in typed:
        if given is not None:
            return xp.asarray(given, dtype=dtype)
    for text in (value_string, value_strings):
        if text is not None:
            return np.array(text, object)
    raise InvalidArgument("Constant: expected one of value, sparse_value, value_float(s), value_int(s) or value_string(s), got none")


def _densified(values: Array, indices: Array, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `values` at `indices`: flat positions [n], or coordinates [n, rank]."""
    dense = np.zeros(shape, values.dtype)
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), tuple(shape))
    dense.reshape(-1)[flat] = values
    return dense


def of_shape_specs(sizes: Array, *, value: Array = None, **_: Any) -> Spec:
    """The shape that the input names."""
    return Spec(tuple(int(size) for size in sizes), FLOAT if value is None else value.dtype)


@operator("ConstantOfShape", since=9, specs=of_shape_specs, host=("sizes",))
def constant_of_shape(xp: Any, sizes: Array, *, value: Array = None, out: Array = None) -> Array:
    """One value all over. Spec: https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html"""
    if out is None:
        spec = of_shape_specs(sizes, value=value)
        out = xp.empty(spec.shape, spec.dtype)
    out.fill(0 if value is None else value.reshape(-1)[0])
    return out


def range_dtype(start: Array, stash_type: int) -> np.dtype:
    """The dtype a range is computed in: that of `stash_type` for 16-bit floats, int64 for integers."""
    if is_narrow(start.dtype):
        return dtype_of(stash_type)
    dtype: np.dtype = np.dtype(np.int64) if start.dtype.kind in "iu" else start.dtype
    return dtype


def range_specs(start: Array, limit: Array, delta: Array, *, stash_type: int = 1, **_: Any) -> Spec:
    """As many elements as there are below the limit."""
    dtype = range_dtype(start, stash_type)
    first, last, step = (x.reshape(()).astype(dtype) for x in (start, limit, delta))
    if step == 0:
        raise InvalidArgument("Range: expected a delta other than 0")
    distance = last - first
    count = -(-int(distance) // int(step)) if dtype.kind == "i" else ceil(float(distance) / float(step))
    return Spec((max(count, 0),), start.dtype)


@operator("Range", since=11, specs=range_specs, host=("start", "limit", "delta"))
def arange(xp: Any, start: Array, limit: Array, delta: Array, *, stash_type: int = 1, out: Array = None) -> Array:
    """start, start + delta, … below limit. Spec: https://onnx.ai/onnx/operators/onnx__Range.html"""
    if out is None:
        spec = range_specs(start, limit, delta, stash_type=stash_type)
        out = xp.empty(spec.shape, spec.dtype)
    dtype = range_dtype(start, stash_type)
    first, step = (x.reshape(()).astype(dtype).item() for x in (start, delta))
    out[...] = xp.arange(out.size, dtype=dtype) * step + first
    return out


def counted_specs(start: Array, limit: Array, delta: Array = None) -> Spec:
    """As many elements as there are below the limit."""
    for name, value in (("start", start), ("limit", limit), ("delta", delta)):
        if value is not None and value.size != 1:
            raise InvalidArgument(f"{name} in Range operator should be scalar like tensor, yet got shape:{braced(value.shape)}")
    return range_specs(start, limit, np.ones((), start.dtype) if delta is None else delta)


@operator("Range", domain="com.microsoft", specs=counted_specs, host=("start", "limit", "delta"))
def arange_counted(xp: Any, start: Array, limit: Array, delta: Array = None, *, out: Array = None) -> Array:
    """start, start + delta, … below limit; delta is 1 if it is not given. Spec: onnxruntime's ContribOperators.md"""
    return arange(xp, start, limit, np.ones((), start.dtype) if delta is None else delta, out=out)


def eye_specs(x: Array, *, dtype: int | None = None, **_: Any) -> Spec:
    """The input's own shape."""
    return Spec(tuple(x.shape), dtype_of(dtype) if dtype else x.dtype)


@operator("EyeLike", since=9, specs=eye_specs, shape_only=("x",))
def eye_like(xp: Any, x: Array, *, dtype: int | None = None, k: int = 0, out: Array = None) -> Array:
    """Ones on diagonal k of a matrix like x. Spec: https://onnx.ai/onnx/operators/onnx__EyeLike.html"""
    diagonal = xp.eye(x.shape[0], x.shape[1], k, dtype=bool)
    if out is None:
        return diagonal.astype(eye_specs(x, dtype=dtype).dtype)
    out[...] = diagonal
    return out


def _window_specs(size: Array, *, output_datatype: int = 1, **_: Any) -> Spec:
    return Spec((int(size.reshape(-1)[0]),), dtype_of(output_datatype))


def _window(name: str, coefficients: tuple[float, ...]) -> None:
    """Register a window: the sum of coefficient k times cos(2πk n / N) over k; N is the size, less 1 unless `periodic`."""

    @operator(name, since=17, specs=_window_specs, host=("size",))
    def window(xp: Any, size: Array, *, output_datatype: int = 1, periodic: int = 1, out: Array = None) -> Array:
        spec = _window_specs(size, output_datatype=output_datatype)
        length = spec.shape[0]
        angles = xp.arange(length, dtype=np.float64) * (2 * pi / max(length if periodic else length - 1, 1))
        values = sum(c * xp.cos(k * angles) for k, c in enumerate(coefficients))
        if out is None:
            return values.astype(spec.dtype)
        out[...] = values
        return out


_window("HannWindow", (0.5, -0.5))
_window("HammingWindow", (25 / 46, -21 / 46))
_window("BlackmanWindow", (0.42, -0.5, 0.08))
