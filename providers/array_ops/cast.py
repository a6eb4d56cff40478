"""Cast, CastLike and BitCast between all element types."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_named, dtype_of, is_extended
from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.registry import operator

FLOAT = np.dtype(np.float32)
_FLOAT8 = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
_INTEGER_PREFIX = re.compile(r"\s*([+-]?\d+)")


def _unknown_target(operation: Operation) -> str | None:
    try:
        dtype_of(operation.attributes["to"])
    except NotImplemented as problem:
        return f"cannot cast: {problem.message}"
    return None


def _unknown_name(operation: Operation) -> str | None:
    try:
        dtype_named(str(operation.attributes["to"]).lower())
    except KeyError:
        return f"cannot cast: {operation.attributes['to']!r} is no element type's name"
    return None


def _cast_1_specs(x: Array, *, to: str, **_: Any) -> Spec | None:
    return _specs_of(x, dtype_named(to.lower()))


def _cast_specs(x: Array, *, to: int, **_: Any) -> Spec | None:
    return _specs_of(x, dtype_of(to))


def _cast_like_specs(x: Array, target_type: Array, **_: Any) -> Spec | None:
    return _specs_of(x, target_type.dtype)


def _specs_of(x: Array, dtype: np.dtype) -> Spec | None:
    """None for strings, which are not in memory that a plan could give."""
    return None if dtype.kind == "O" else Spec(tuple(x.shape), dtype, may_reuse=(0,) if x.dtype == dtype else ())


@operator("Cast", specs=_cast_1_specs, when=_unknown_name, alone=True)
def cast_1(xp: Any, x: Array, *, to: str, out: Array = None) -> Array:
    """x with the element type of this name (FLOAT, INT32, …). Spec: https://onnx.ai/onnx/operators/onnx__Cast.html"""
    return converted(xp, x, dtype_named(to.lower()), True, "up", out)


@operator("Cast", since=6, specs=_cast_specs, when=_unknown_target, alone=True)
def cast(xp: Any, x: Array, *, to: int, saturate: int = 1, round_mode: str = "up", out: Array = None) -> Array:
    """x with another element type. Spec: https://onnx.ai/onnx/operators/onnx__Cast.html"""
    return converted(xp, x, dtype_of(to), bool(saturate), round_mode, out)


@operator("CastLike", since=15, specs=_cast_like_specs, shape_only=("target_type",), alone=True)
def cast_like(xp: Any, x: Array, target_type: Array, *, saturate: int = 1, round_mode: str = "up", out: Array = None) -> Array:
    """x with the element type of another tensor. Spec: https://onnx.ai/onnx/operators/onnx__CastLike.html"""
    return converted(xp, x, target_type.dtype, bool(saturate), round_mode, out)


@operator("BitCast", since=26, view=True, when=_unknown_target)
def bit_cast(xp: Any, x: Array, *, to: int) -> Array:
    """The bits of x read as another element type of the same width. Spec: https://onnx.ai/onnx/operators/onnx__BitCast.html

    Raises:
        InvalidArgument: the two types differ in width, or one is a string.
    """
    dtype = dtype_of(to)
    if "O" in (dtype.kind, x.dtype.kind) or dtype.itemsize != x.dtype.itemsize:
        raise InvalidArgument(f"BitCast: expected types of one width, got {x.dtype} and {dtype}; use Cast to convert values")
    return x.view(dtype)


def converted(xp: Any, x: Array, dtype: np.dtype, saturate: bool, round_mode: str, out: Array = None) -> Array:
    """x as an array of `dtype`, in `out` where memory is given.

    `saturate` holds conversions to 8-bit floats within the type's range; `round_mode` ("up", "down", "nearest") is how
    float8e8m0 rounds.
    """
    if x.dtype == dtype and out is x:
        return out
    result = _conversion(x.dtype, dtype)(xp, x, dtype, saturate, round_mode)
    if out is None:
        return result.astype(dtype)
    out[...] = result
    return out


Conversion = Callable[[Any, Array, np.dtype, bool, str], Array]


@cache
def _conversion(source: np.dtype, target: np.dtype) -> Conversion:
    """What to do before NumPy's own cast from `source` to `target`."""
    if target.kind == "O":
        return _to_strings
    if source.kind in "OUST":
        return _from_strings
    if source == target:
        return _as_it_is
    if target == dtype_named("float8e8m0"):
        return _to_powers_of_two
    if target in [dtype_named(name) for name in _FLOAT8]:
        return _to_float8
    return _widened if is_extended(source) and is_extended(target) else _as_it_is


def _as_it_is(xp: Any, x: Array, *_: Any) -> Array:
    return x


def _widened(xp: Any, x: Array, *_: Any) -> Array:
    return x.astype(FLOAT)


def _to_float8(xp: Any, x: Array, dtype: np.dtype, saturate: bool, round_mode: str) -> Array:
    """Held within the type's range; the cast itself makes NaN or infinity of what is outside."""
    if x.dtype.kind in "iub":
        x = x.astype(np.float64)
    elif x.dtype not in (FLOAT, np.dtype(np.float64)):
        x = x.astype(FLOAT)
    if not saturate:
        return x
    limit = _largest(dtype)
    return xp.minimum(xp.maximum(x, -limit), limit)


@cache
def _largest(dtype: np.dtype) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def _to_powers_of_two(xp: Any, x: Array, dtype: np.dtype, saturate: bool, round_mode: str) -> Array:
    """float8e8m0 holds float32's exponent: byte e is 2^(e - 127), 255 is NaN. The sign is dropped.

    Below 2^-126 float32 has no exponent of its own: bits 0x400000 are 2^-127, the least value of the type.
    """
    values = xp.atleast_1d(x.astype(FLOAT))
    bits = values.view(np.uint32) & 0x7FFFFFFF
    exponent, fraction = bits >> 23, bits & 0x7FFFFF
    if round_mode == "up":
        exponent = exponent + (fraction > xp.where(exponent == 0, np.uint32(0x400000), np.uint32(0)))
    elif round_mode == "nearest":
        exponent = exponent + (fraction >= xp.where(exponent == 0, np.uint32(0x600000), np.uint32(0x400000)))
    if saturate:
        exponent = xp.minimum(exponent, 254)
    else:
        exponent = xp.where(bits < 0x400000, 255, xp.minimum(exponent, 255))
    exponent = xp.where(xp.isnan(values), 255, exponent)
    return exponent.astype(np.uint8).view(dtype).reshape(x.shape)


def _to_strings(xp: Any, x: Array, *_: Any) -> Array:
    """As onnxruntime writes numbers: eight significant digits, `NaN`, `INF`, `-INF`, and 1 or 0 for booleans."""
    if x.dtype.kind in "OUST":
        return x
    text = np.empty(x.shape, object)
    written = _float_text if x.dtype.kind == "f" or (is_extended(x.dtype) and "float" in x.dtype.name) else _integer_text
    text.reshape(-1)[:] = [written(value) for value in x.reshape(-1).tolist()]
    return text


def _integer_text(value: Any) -> str:
    return str(int(value))


def _float_text(value: Any) -> str:
    value = float(value)
    if value != value:
        return "NaN"
    return ("INF" if value > 0 else "-INF") if value in (np.inf, -np.inf) else f"{value:.8g}"


def _from_strings(xp: Any, x: Array, dtype: np.dtype, *_: Any) -> Array:
    """Numbers read from text; an integer is what the text begins with, as in onnxruntime.

    Raises:
        InvalidArgument: a text is not a number.
    """
    to_integer = dtype.kind in "iub" or "int" in dtype.name
    read: Callable[[str], Any] = _integer_of if to_integer else float
    try:
        values = [read(text) for text in x.reshape(-1).tolist()]
    except ValueError as problem:
        raise InvalidArgument(f"Cast: a string is not a number that {dtype} can hold: {problem}") from None
    wide = np.dtype(np.uint64) if dtype == np.uint64 else np.dtype(np.int64) if to_integer else np.dtype(np.float64)
    return np.array(values, wide).reshape(x.shape)


def _integer_of(text: str) -> int:
    found = _INTEGER_PREFIX.match(text)
    if found is None:
        raise ValueError(f"could not convert string to integer: {text!r}")
    return int(found.group(1))
