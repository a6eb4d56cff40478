"""Cast, CastLike and BitCast between all numeric types: one kernel a source type, with a loop for each target."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import code_of, dtype_of, name_of
from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, stored_dtype, takes_narrow, typed
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.strided import copy

CAST = Template("cast.cu", "cast_elements<{S}>", "ppibil", S=tuple(C_TYPES.values()))
NUMBERS = frozenset(C_TYPES)

_MOST_BLOCKS = 4096
_ROUNDING = {"up": 0, "down": 1, "nearest": 2}


def _refusal(operation: Operation) -> str | None:
    if operation.attributes.get("round_mode", "up") not in _ROUNDING:
        return f"rounds {', '.join(_ROUNDING)}, not {operation.attributes['round_mode']!r}"
    try:
        if operation.operator == "CastLike":
            like = operation.inputs[1]
            name = name_of(like.dtype) if like is not None and like.dtype is not None else "an unknown type"
        else:
            name = name_of(dtype_of(operation.attributes["to"]))
    except NotImplemented as problem:
        return f"cannot cast: {problem.message}"
    return None if name in NUMBERS else f"casts to numbers, not to {name}"


def _cast_specs(x: Array, *, to: int, **_: Any) -> Spec:
    return _specs_of(x, dtype_of(to))


def _cast_like_specs(x: Array, target_type: Array, **_: Any) -> Spec:
    return _specs_of(x, target_type.dtype)


def _specs_of(x: Array, dtype: np.dtype) -> Spec:
    return Spec(tuple(x.shape), dtype, may_reuse=(0,) if x.dtype == dtype else ())


@operator("Cast", since=6, specs=_cast_specs, types=NUMBERS, when=_refusal)
@takes_narrow
def cast(xp: Any, x: Array, *, to: int, saturate: int = 1, round_mode: str = "up", out: Array = None) -> Array:
    """x with another element type. Spec: https://onnx.ai/onnx/operators/onnx__Cast.html"""
    return converted(xp, x, dtype_of(to), bool(saturate), round_mode, out)


@operator("CastLike", since=15, specs=_cast_like_specs, types=NUMBERS, when=_refusal, shape_only=("target_type",))
@takes_narrow
def cast_like(xp: Any, x: Array, target_type: Array, *, saturate: int = 1, round_mode: str = "up", out: Array = None) -> Array:
    """x with the element type of another tensor. Spec: https://onnx.ai/onnx/operators/onnx__CastLike.html"""
    return converted(xp, x, target_type.dtype, bool(saturate), round_mode, out)


@operator("BitCast", since=26, view=True, types=NUMBERS, when=_refusal)
@takes_narrow
def bit_cast(xp: Any, x: Array, *, to: int) -> Array:
    """The bits of x read as another element type of the same width. Spec: https://onnx.ai/onnx/operators/onnx__BitCast.html

    Raises:
        InvalidArgument: the two types differ in width.
    """
    dtype = dtype_of(to)
    if dtype.itemsize != x.dtype.itemsize:
        raise InvalidArgument(f"BitCast: expected types of one width, got {x.dtype} and {dtype}; use Cast to convert values")
    return typed(bits_of(x).view(stored_dtype(dtype)), dtype)


def converted(xp: Any, x: Array, dtype: np.dtype, saturate: bool, round_mode: str, out: Array = None) -> Array:
    """x as an array of `dtype`, in `out` where memory is given. See `onnxgpu.providers.array_ops.cast.converted`."""
    if x.dtype == dtype and out is x:
        return out
    result = typed(xp.empty(x.shape, stored_dtype(dtype)), dtype) if out is None else out
    if x.dtype == dtype:
        copy(result, x)
        return result
    blocks = blocks_for(x.size, most=_MOST_BLOCKS)
    source = dense(xp, bits_of(x))
    CAST.instance(S=x.dtype).launch(blocks, THREADS, source, result, code_of(dtype), saturate, _ROUNDING[round_mode], x.size)
    return result
