"""Arrays of every ONNX element type, for operators that only move elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import ml_dtypes
import numpy as np

_NATIVE_NAMES = """
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128 object
"""
_EXTENDED_NAMES = """
    bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn int4 uint4 int2 uint2
"""
NATIVE = [np.dtype(name) for name in _NATIVE_NAMES.split()]
EXTENDED = [np.dtype(getattr(ml_dtypes, name)) for name in _EXTENDED_NAMES.split()]
ALL = NATIVE + EXTENDED


def counting(shape: Sequence[int], dtype: np.dtype | str = "float32") -> np.ndarray:
    """0, 1, 2, … in `shape`; strings are letters with numbers, narrow types repeat what they can hold, powers of two for float8_e8m0."""
    dtype = np.dtype(dtype)
    size = prod(shape)
    if dtype.kind == "O":
        array = np.empty(size, object)
        array[:] = [f"é{i}" for i in range(size)]
        return array.reshape(shape)
    if dtype.name == "float8_e8m0fnu":
        return (2.0 ** (np.arange(size) % 4)).astype(dtype).reshape(shape)
    limit = 2 if dtype.name in ("int2", "uint2", "bool") else 4 if dtype in EXTENDED else 100
    return (np.arange(size) % limit).astype(np.float64).astype(dtype).reshape(shape)
