"""Weights by reference: the library reads them where the caller keeps them, until the engine is built or refitted."""

from __future__ import annotations

import ctypes
import hashlib
from typing import Any

import numpy as np

from onnxgpu.dtypes import code_of
from onnxgpu.host_provider import host_array
from onnxgpu.provider import Spec
from onnxgpu.providers.tensorrt.stand_in.element_types import bytes_of, data_type, numpy_type, type_name
from onnxgpu.providers.tensorrt.stand_in.registry import implements


class Reference:
    """Bytes of the caller's at an address, with a digest of what they were.

    Args:
        address: of the first byte.
        size: in bytes.
    """

    def __init__(self, address: int, size: int) -> None:
        self.address, self.size = address, size
        self._digest = self._digest_now()

    def content(self) -> bytes:
        """What lies there now."""
        return ctypes.string_at(self.address, self.size) if self.size else b""

    def is_unchanged(self) -> bool:
        """Whether it is what it was; memory that was freed, or is used for something else, is not."""
        return self._digest == self._digest_now()

    def _digest_now(self) -> bytes:
        return hashlib.blake2b(self.content(), digest_size=16).digest()


@implements("Weights")
class Weights:
    """An array of weights, which is held by reference.

    Args:
        type_or_array: a `DataType`, or a NumPy array.
        ptr: the address of the elements, if a type is given.
        count: how many there are.
    """

    def __init__(self, type_or_array: Any = None, ptr: int = 0, count: int = 0) -> None:
        if isinstance(type_or_array, np.ndarray):
            name = type_name(code_of(type_or_array.dtype))
            if name is None:
                raise TypeError(f"Could not implicitly convert NumPy data type: {type_or_array.dtype} to TensorRT.")
            self._owner = np.ascontiguousarray(type_or_array)
            self.dtype, self.address, self.size = data_type(name), self._owner.ctypes.data, self._owner.size
        else:
            self.dtype, self.address, self.size = data_type("FLOAT") if type_or_array is None else type_or_array, ptr, count

    @classmethod
    def of_bytes(cls, dtype: Any, count: int, content: bytes) -> Weights:
        """Over a copy of some bytes."""
        owner = np.frombuffer(content, np.uint8).copy()
        made = cls(dtype, owner.ctypes.data, count)
        made._owner = owner
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return bytes_of(self.dtype.name, max(0, self.size))

    def __len__(self) -> int:
        return self.size

    def numpy(self) -> np.ndarray:
        """A view of the elements."""
        if not self.address or not self.nbytes:
            return np.empty(0, numpy_type(self.dtype.name))
        return host_array(self.address, Spec((self.size,), numpy_type(self.dtype.name)), self)
