"""Addresses that the bindings pass as capsules, where C++ has `void *`."""

from __future__ import annotations

import ctypes
from typing import Any

from onnxgpu.providers.tensorrt.stand_in.surface.conversion import REFUSED, Misbehaviour

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype, _address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_Capsule = type(_new(1, None, None))


class Capsules:
    """Numbers to a behaviour, capsules to a program. pybind11 takes an object of a class of the API for its address, too."""

    def __init__(self, object_type: type) -> None:
        self._object_type = object_type

    def accept(self, value: Any, *, convert: bool) -> Any:
        """See `Kind`."""
        if isinstance(value, _Capsule):
            return _address(value, None)
        return value if value is None or isinstance(value, self._object_type) else REFUSED

    def give(self, value: Any) -> Any:
        """See `Kind`."""
        if value is not None and (type(value) is not int or not value):
            raise Misbehaviour(f"{value!r} is no address")
        return value if value is None else _new(value, None, None)
