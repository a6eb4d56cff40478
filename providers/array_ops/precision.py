"""The precision operators compute in where it is not the precision of their tensors, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array

_NARROW_FLOATS = ("float16", "bfloat16", "float8", "float4")


def accumulation_dtype(dtype: np.dtype) -> np.dtype:
    """float32 for the floating types narrower than it (float16, bfloat16, float8); `dtype` itself for the rest."""
    return np.dtype(np.float32) if dtype.name.startswith(_NARROW_FLOATS) else dtype


def widened(x: Array) -> Array:
    """`x` in its accumulation dtype: the array itself where that is its own."""
    wide = accumulation_dtype(x.dtype)
    return x if wide == x.dtype else x.astype(wide)


def stored(xp: Any, result: Array, dtype: np.dtype, out: Array | None = None) -> Array:
    """`result` as an array of `dtype`, in `out` where memory is given."""
    if out is None:
        return xp.asarray(result).astype(dtype, copy=False)
    if result is not out:
        out[...] = result if isinstance(result, type(out)) else xp.asarray(result)
    return out


def is_floating(dtype: np.dtype) -> bool:
    """True for every floating type, those of `ml_dtypes` included."""
    return dtype.kind == "f" or dtype.name.startswith(_NARROW_FLOATS)


def lowest(dtype: np.dtype) -> Any:
    """The least value of a dtype: -inf, the least integer, or False."""
    if is_floating(dtype):
        return -np.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def highest(dtype: np.dtype) -> Any:
    """The greatest value of a dtype: inf, the greatest integer, or True."""
    if is_floating(dtype):
        return np.inf
    return True if dtype.kind == "b" else np.iinfo(dtype).max
