"""Floor, Ceil, Round and Clip."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from onnxgpu.dtypes import is_extended, is_integer
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.elementwise import at_least, at_most, unary
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

FLOAT_MAX = float(np.finfo(np.float32).max)


@unary("Floor")
def floor(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The greatest integer not above x. Spec: https://onnx.ai/onnx/operators/onnx__Floor.html"""
    return xp.floor(x, out=out)


@unary("Ceil")
def ceil(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The least integer not below x. Spec: https://onnx.ai/onnx/operators/onnx__Ceil.html"""
    return xp.ceil(x, out=out)


@unary("Round", since=11)
def round_half_to_even(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The nearest integer, halves to the even one. Spec: https://onnx.ai/onnx/operators/onnx__Round.html"""
    return xp.rint(x, out=out)


@operator("Clip", since=11, specs=like_first, alone=True)
def clip(xp: Any, x: Array, min: Array = None, max: Array = None, *, out: Array = None) -> Array:
    """x held between two scalars, by default its type's finite range; `max` where they cross. Spec: https://onnx.ai/onnx/operators/onnx__Clip.html"""
    largest = _largest(x.dtype)
    low = _limit(xp, x, None if largest is None else -largest) if min is None else min.reshape(())
    high = _limit(xp, x, largest) if max is None else max.reshape(())
    return _held(xp, x, low, high, out)


def _held(xp: Any, x: Array, low: Array, high: Array, out: Array) -> Array:
    if low is not None and high is not None and not is_extended(x.dtype):
        return xp.clip(x, low, high, out=out)
    if low is not None:
        x = at_least(xp, x, low, out)
    return _copied(xp, x, out) if high is None else at_most(xp, x, high, out)


@operator("Clip", specs=like_first, alone=True)
def clip_1(
    xp: Any, x: Array, *, min: float | None = None, max: float | None = None, consumed_inputs: Any = None, out: Array = None
) -> Array:
    """x held between two attributes, each optional. Spec: https://onnx.ai/onnx/operators/onnx__Clip.html"""
    return _held(xp, x, _limit(xp, x, min), _limit(xp, x, max), out)


@operator("Clip", since=6, specs=like_first, alone=True)
def clip_6(xp: Any, x: Array, *, min: float = -FLOAT_MAX, max: float = FLOAT_MAX, out: Array = None) -> Array:
    """x held between two attributes, float32's range by default. Spec: https://onnx.ai/onnx/operators/onnx__Clip.html"""
    return _held(xp, x, _limit(xp, x, min), _limit(xp, x, max), out)


@cache
def _largest(dtype: np.dtype) -> float | None:
    """The largest finite number of a floating-point type; None for integers, whose range nothing exceeds."""
    if is_integer(dtype):
        return None
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def _limit(xp: Any, x: Array, limit: float | None) -> Array:
    return None if limit is None else xp.asarray(limit).astype(x.dtype)


def _copied(xp: Any, x: Array, out: Array) -> Array:
    if out is None:
        return x.copy()
    if x is not out:
        xp.copyto(out, x)
    return out
