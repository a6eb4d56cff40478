"""TensorRT's element types, and ONNX's that become them."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.providers.tensorrt.stand_in.registry import enum

_FROM_ONNX = {
    1: "FLOAT",
    2: "UINT8",
    3: "INT8",
    6: "INT32",
    7: "INT64",
    9: "BOOL",
    10: "HALF",
    16: "BF16",
    17: "FP8",
    22: "INT4",
    23: "FP4",
    24: "E8M0",
}
"""TensorProto.DataType → DataType; the parser narrows DOUBLE to FLOAT in constants alone, and knows no other."""

_TO_ONNX = {name: code for code, name in _FROM_ONNX.items()}
_PACKED = frozenset({"INT4", "FP4"})


def type_name(onnx_code: int) -> str | None:
    """The name of the `DataType` that an ONNX element type becomes; None: TensorRT has none."""
    name = _FROM_ONNX.get(onnx_code)
    return name if name is not None and hasattr(enum("DataType"), name) else None


def data_type(name: str) -> Any:
    """A member of `DataType`."""
    return getattr(enum("DataType"), name)


def numpy_type(name: str) -> np.dtype:
    """The NumPy dtype of a `DataType`; packed types have one element a byte."""
    return dtype_of(_TO_ONNX[name])


def onnx_code(name: str) -> int:
    """ONNX's number of a `DataType`."""
    return _TO_ONNX[name]


def bytes_of(name: str, count: int) -> int:
    """How many bytes so many elements take in TensorRT's memory."""
    return (count + 1) // 2 if name in _PACKED else count * numpy_type(name).itemsize
