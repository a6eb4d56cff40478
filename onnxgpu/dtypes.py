"""ONNX element types, their NumPy dtypes and their names, in one table.

Sub-byte and 8-bit float types are `ml_dtypes` scalars, one element a byte in memory; strings are NumPy object arrays
of `str`. Source: `onnx.proto`, TensorProto.DataType.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from onnxgpu.errors import NotImplemented

_NUMPY_TYPES = {
    1: ("float", "float32"),
    2: ("uint8", "uint8"),
    3: ("int8", "int8"),
    4: ("uint16", "uint16"),
    5: ("int16", "int16"),
    6: ("int32", "int32"),
    7: ("int64", "int64"),
    8: ("string", "object"),
    9: ("bool", "bool"),
    10: ("float16", "float16"),
    11: ("double", "float64"),
    12: ("uint32", "uint32"),
    13: ("uint64", "uint64"),
    14: ("complex64", "complex64"),
    15: ("complex128", "complex128"),
}
_ML_DTYPES = {
    16: ("bfloat16", "bfloat16"),
    17: ("float8e4m3fn", "float8_e4m3fn"),
    18: ("float8e4m3fnuz", "float8_e4m3fnuz"),
    19: ("float8e5m2", "float8_e5m2"),
    20: ("float8e5m2fnuz", "float8_e5m2fnuz"),
    21: ("uint4", "uint4"),
    22: ("int4", "int4"),
    23: ("float4e2m1", "float4_e2m1fn"),
    24: ("float8e8m0", "float8_e8m0fnu"),
    25: ("uint2", "uint2"),
    26: ("int2", "int2"),
    27: ("float6e2m3", "float6_e2m3fn"),
    28: ("float6e3m2", "float6_e3m2fn"),
}
_NAMES = {code: name for code, (name, _) in (_NUMPY_TYPES | _ML_DTYPES).items()}
_CODES = {name: code for code, name in _NAMES.items()}


@cache
def dtype_of(code: int) -> np.dtype:
    """The NumPy dtype of an ONNX element type.

    Raises:
        NotImplemented: `code` is not an element type of this ONNX version.
    """
    if code in _NUMPY_TYPES:
        return np.dtype(_NUMPY_TYPES[code][1])
    if code in _ML_DTYPES:
        import ml_dtypes

        dtype: np.dtype = np.dtype(getattr(ml_dtypes, _ML_DTYPES[code][1]))
        return dtype
    raise NotImplemented(f"element type {code} is none of the ONNX element types {sorted(_NAMES)}")


@cache
def code_of(dtype: np.dtype) -> int:
    """The ONNX element type of a NumPy dtype (fixed-width string dtypes count as `string`).

    Raises:
        NotImplemented: ONNX has no such type.
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "USOT":
        return _CODES["string"]
    for code in _NAMES:
        if dtype_of(code) == dtype.newbyteorder("="):
            return code
    raise NotImplemented(f"NumPy type {dtype} has no ONNX element type")


def name_of(dtype: np.dtype) -> str:
    """ONNX's name of a dtype: `float`, `int64`, `bfloat16`, …"""
    return _NAMES[code_of(np.dtype(dtype))]


def dtype_named(name: str) -> np.dtype:
    """The NumPy dtype with this ONNX name (`float`, `int64`, `bfloat16`, …)."""
    return dtype_of(_CODES[name])


def is_integer(dtype: np.dtype) -> bool:
    """True for every signed or unsigned integer type, the 2- and 4-bit ones included; false for bool."""
    return dtype.kind in "iu" or name_of(dtype) in {"int4", "uint4", "int2", "uint2"}


def is_extended(dtype: np.dtype) -> bool:
    """True for the types that NumPy itself does not have (bfloat16, float8, float4, 2- and 4-bit integers)."""
    return code_of(np.dtype(dtype)) in _ML_DTYPES
