"""DLPack capsules: tensors handed to other libraries, and taken from them, without a copy.

Source: `dlpack.h` of DLPack 1.1, the structure `DLManagedTensor` (capsule `dltensor`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_named, is_extended, name_of
from onnxgpu.errors import NotImplemented
from onnxgpu.provider import Spec

HOST_DEVICE = (1, 0)
"""`kDLCPU`."""

_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_EXTENDED_CODES = {
    "bfloat16": 4,
    "float8e4m3fn": 10,
    "float8e4m3fnuz": 11,
    "float8e5m2": 12,
    "float8e5m2fnuz": 13,
    "float8e8m0": 14,
}
_KINDS = {code: kind for kind, code in _CODES.items()}
_EXTENDED_NAMES = {code: name for name, code in _EXTENDED_CODES.items()}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _ManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)))


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.argtypes, _get_pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes, _is_valid.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int
_set_name = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes, _set_name.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int

_NAME, _USED_NAME = b"dltensor", b"used_dltensor"


def export(array: np.ndarray, device: tuple[int, int]) -> object:
    """A capsule of `array`, which says that its memory lies at `device`.

    NumPy makes the capsule and keeps the array alive; element types that NumPy does not have are written into it here.

    Raises:
        BufferError: the array is read-only.
        RuntimeError: the element type is no whole number of bytes in DLPack, or none that DLPack has.
    """
    plain = array.view(f"u{array.dtype.itemsize}") if is_extended(array.dtype) else array
    capsule = relabelled(plain.__dlpack__(), array.dtype)
    tensor = _ManagedTensor.from_address(_get_pointer(capsule, _NAME)).tensor
    tensor.device_type, tensor.device_id = device
    return capsule


def relabelled(capsule: object, dtype: np.dtype) -> object:
    """A capsule that nobody has taken yet, with its elements called `dtype`, a type of the same width.

    Raises:
        RuntimeError: the element type is no whole number of bytes in DLPack, or none that DLPack has.
    """
    tensor = _ManagedTensor.from_address(_get_pointer(capsule, _NAME)).tensor
    tensor.code, tensor.bits = _code_of(dtype)
    return capsule


def _code_of(dtype: np.dtype) -> tuple[int, int]:
    if is_extended(dtype):
        code = _EXTENDED_CODES.get(name_of(dtype))
    else:
        code = _CODES.get(dtype.kind)
    if code is None:
        raise RuntimeError(f"DLPack cannot hold {name_of(dtype)} as onnxgpu has it in memory, one element a byte; cast it first")
    return code, 8 * dtype.itemsize


class Borrowed:
    """A tensor of another library, given back when this object goes.

    Args:
        capsule: one that nobody has taken yet.

    Attributes:
        pointer: address of the first element.
        spec: shape and element type.
        device: DLPack's device type, and which of several.

    Raises:
        TypeError: it is no such capsule.
        RuntimeError: the tensor is not dense in C order, or its element type has no ONNX counterpart.
    """

    def __init__(self, capsule: Any) -> None:
        self._managed: _ManagedTensor | None = None
        if type(capsule).__name__ != "PyCapsule" or not _is_valid(capsule, _NAME):
            raise TypeError("from_dlpack expected a valid DLPack capsule named 'dltensor'")
        managed = _ManagedTensor.from_address(_get_pointer(capsule, _NAME))
        tensor = managed.tensor
        shape = tuple(tensor.shape[: tensor.ndim])
        self.spec = Spec(shape, _dtype_of(tensor.code, tensor.bits, tensor.lanes))
        if tensor.strides and not is_dense(shape, tensor.strides[: tensor.ndim]):
            raise RuntimeError(
                f"ORT only supports contiguous tensor for now. Strides are {tensor.strides[: tensor.ndim]}, shape is {shape}"
            )
        self.pointer = (tensor.data or 0) + tensor.byte_offset
        self.device = (int(tensor.device_type), int(tensor.device_id))
        _set_name(capsule, _USED_NAME)
        self._managed = managed

    def __del__(self) -> None:
        if self._managed is not None and self._managed.deleter:
            self._managed.deleter(ctypes.addressof(self._managed))


def is_dense(shape: Sequence[int], strides: Sequence[float]) -> bool:
    """True if strides, counted in elements, are those of a tensor that lies dense in C order."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 0:
            return True
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _dtype_of(code: int, bits: int, lanes: int) -> np.dtype:
    if lanes == 1 and code in _EXTENDED_NAMES and bits in (8, 16):
        return dtype_named(_EXTENDED_NAMES[code])
    if lanes == 1 and code in _KINDS and bits % 8 == 0:
        try:
            dtype: np.dtype = np.dtype(f"{_KINDS[code]}{bits // 8}")
            name_of(dtype)
            return dtype
        except (TypeError, NotImplemented):
            pass
    raise RuntimeError(f"Unsupported DLPack data type: code {code}, bits {bits}, lanes {lanes}")
