"""`OrtValue` in its two forms, and what works on several at a time.

`OrtValue` has the signatures of onnxruntime's Python layer, `OrtValueHandle` and `OrtValueVector` those of its `capi` layer
(where the first is also called `OrtValue`). Both are thin: what they do is in `values.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from onnxgpu.devices import Device, OrtDevice, OrtDeviceVendorId, memory_of, name_of_memory
from onnxgpu.memory_info import OrtMemoryInfo, OrtSyncStream
from onnxgpu.sparse import Sparse, SparseTensor, SparseTensorHandle
from onnxgpu.values import (
    Value,
    array_at_pointer,
    array_from_dlpack,
    array_from_numpy,
    array_from_shape,
    reinterpreted,
)


class OrtValueHandle(Value):
    """A value as onnxruntime's `capi` layer has it; there it is called `OrtValue`."""

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("onnxgpu.capi.onnxruntime_pybind11_state.OrtValue: No constructor defined!")

    @staticmethod
    def ortvalue_from_numpy(arg0: object, arg1: Device) -> OrtValueHandle:
        """A tensor over the memory of an array, or a copy of it on a device."""
        memory = memory_of(arg1)
        return OrtValueHandle.of(array_from_numpy(arg0, memory), memory)

    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(arg0: np.ndarray, arg1: int) -> OrtValueHandle:
        """A tensor over the memory of an array, read as another type of the same size."""
        return OrtValueHandle.of(reinterpreted(arg0, arg1))

    @staticmethod
    def ortvalue_from_shape_and_type(arg0: Sequence[int], arg1: object, arg2: Device) -> OrtValueHandle:
        """New memory."""
        memory = memory_of(arg2)
        return OrtValueHandle.of(array_from_shape(arg0, arg1, memory), memory)

    @staticmethod
    def ortvalue_from_shape_and_onnx_type(arg0: Sequence[int], arg1: int, arg2: Device) -> OrtValueHandle:
        """New memory, the type as ONNX's number."""
        return OrtValueHandle.ortvalue_from_shape_and_type(arg0, arg1, arg2)

    @staticmethod
    def ortvalue_from_shape_and_type_for_memory_info(arg0: Sequence[int], arg1: object, arg2: OrtMemoryInfo) -> OrtValueHandle:
        """New memory of this kind."""
        return OrtValueHandle.ortvalue_from_shape_and_type(arg0, arg1, arg2.device)

    @staticmethod
    def ortvalue_from_shape_and_onnx_type_for_memory_info(arg0: Sequence[int], arg1: int, arg2: OrtMemoryInfo) -> OrtValueHandle:
        """New memory of this kind, the type as ONNX's number."""
        return OrtValueHandle.ortvalue_from_shape_and_type(arg0, arg1, arg2.device)

    @staticmethod
    def ort_value_from_sparse_tensor(arg0: Sparse) -> OrtValueHandle:
        """A sparse tensor as a value."""
        return OrtValueHandle.of(arg0, arg0._memory, arg0.data_type())

    @staticmethod
    def from_dlpack(data: object) -> OrtValueHandle:
        """The tensor of another library, without a copy."""
        return OrtValueHandle.of(*array_from_dlpack(data))

    def as_sparse_tensor(self) -> SparseTensorHandle:
        """The sparse tensor."""
        return SparseTensorHandle._sharing(_sparse(self))

    def device_name(self) -> str:
        """`Cpu`, `Cuda`, …"""
        return _device_name(self)

    def to_dlpack(self) -> object:
        """A DLPack capsule over the same memory."""
        return self._capsule()

    def __dlpack__(self, stream: object = None) -> object:
        """A DLPack capsule over the same memory."""
        return self._capsule()

    def update_inplace(self, arg0: np.ndarray | Value) -> None:
        """Copy elements into the tensor's memory; see `OrtValue.update_inplace`."""
        self._update(arg0)


class OrtValue(Value):
    """A tensor, sparse tensor, sequence or map, at the place where it lies.

    Args:
        ortvalue: a value to share.
        numpy_obj: an object to keep alive with it.
        session: the session that made it, to keep alive with it.

    Raises:
        ValueError: `ortvalue` is none.
    """

    __slots__ = ("_numpy_obj", "_session")

    def __init__(self, ortvalue: Value, numpy_obj: Any = None, session: Any = None) -> None:
        if not isinstance(ortvalue, Value):
            raise ValueError("`Provided ortvalue` needs to be of type `onnxgpu.capi.onnxruntime_pybind11_state.OrtValue`")
        self._content, self._memory, self._type = ortvalue._content, ortvalue._memory, ortvalue._type
        self._numpy_obj, self._session = numpy_obj, session

    @property
    def _ortvalue(self) -> OrtValueHandle:
        return OrtValueHandle.sharing(self)

    def _get_c_value(self) -> OrtValueHandle:
        return self._ortvalue

    @classmethod
    def ortvalue_from_numpy(
        cls, numpy_obj: np.ndarray, /, device_type: str = "cpu", device_id: int = 0, vendor_id: int | OrtDeviceVendorId = -1
    ) -> OrtValue:
        """A tensor from an array: over its memory on the host, a copy of it on a device.

        An array that is not dense in C order is copied. Strings may be `<U` or `object` arrays.

        Args:
            numpy_obj: the array.
            device_type: `cpu`, `cuda`, …
            device_id: which of several.
            vendor_id: PCI vendor, if `device_type` is `gpu` or `npu`.

        Raises:
            RuntimeError: no array, a type that ONNX does not have, or a device that is not available here.
        """
        memory = memory_of(OrtDevice.make(device_type, device_id, vendor_id)._get_c_device())
        return cls(Value.of(array_from_numpy(numpy_obj, memory), memory))

    @classmethod
    def ortvalue_from_numpy_with_onnx_type(cls, data: np.ndarray, /, onnx_element_type: int) -> OrtValue:
        """A tensor over the memory of an array, read as another type of the same size (bits of bfloat16 in uint16).

        Types of 2, 4 and 6 bits have one element a byte, as in `ml_dtypes`.

        Args:
            data: dense in C order.
            onnx_element_type: ONNX's number of the type.
        """
        return cls(Value.of(reinterpreted(data, onnx_element_type)))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls,
        shape: Sequence[int],
        element_type: Any,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int | OrtDeviceVendorId = -1,
        memory_info: OrtMemoryInfo | None = None,
    ) -> OrtValue:
        """New memory, with whatever it holds.

        Args:
            shape: sizes of 0 and more.
            element_type: a NumPy type, or ONNX's number of one.
            device_type: `cpu`, `cuda`, …
            device_id: which of several.
            vendor_id: PCI vendor, if `device_type` is `gpu` or `npu`.
            memory_info: the kind of memory, in place of the three before it.

        Raises:
            RuntimeError: a type that ONNX does not have, that of strings, or a device that is not available here.
        """
        if memory_info is None:
            device = OrtDevice.make(device_type, device_id, vendor_id)._get_c_device()
        else:
            device = memory_info.device
            if (device_type, device_id, vendor_id) != ("cpu", 0, -1):
                warnings.warn("device_type, device_id, and vendor_id are ignored when memory_info is provided.", stacklevel=2)
        memory = memory_of(device)
        return cls(Value.of(array_from_shape(shape, element_type, memory), memory))

    @classmethod
    def ort_value_from_sparse_tensor(cls, sparse_tensor: SparseTensor) -> OrtValue:
        """A sparse tensor as a value."""
        return cls(OrtValueHandle.ort_value_from_sparse_tensor(sparse_tensor))

    @classmethod
    def from_dlpack(cls, data: Any, /) -> OrtValue:
        """The tensor of another library, without a copy.

        Args:
            data: an object with `__dlpack__`, or a capsule.

        Raises:
            TypeError: it is neither.
            RuntimeError: the tensor is not dense, or of a type or at a place that onnxgpu does not have here.
        """
        return cls(Value.of(*array_from_dlpack(data)))

    def as_sparse_tensor(self) -> SparseTensor:
        """The sparse tensor.

        Raises:
            RuntimeError: it is another value.
        """
        return SparseTensor(_sparse(self))

    def device_name(self) -> str:
        """`cpu`, `cuda`, …

        Raises:
            RuntimeError: it is no tensor.
        """
        return _device_name(self).lower()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The tensor for `numpy.asarray`: over the same memory on the host if the dtype is its own."""
        array = self.numpy()
        if copy is not None:
            return np.array(array, dtype=dtype, copy=copy)
        return array if dtype is None else np.asarray(array, dtype=dtype)

    def __dlpack__(self, *, stream: Any = None) -> Any:
        """A DLPack capsule over the same memory."""
        return self._capsule()

    def update_inplace(self, data: np.ndarray | OrtValue) -> None:
        """Copy elements into the tensor's memory, whose address stays what it is.

        Args:
            data: as many elements, of the same type; an `OrtValue` may lie on another device.

        Raises:
            TypeError: it is neither an array nor an `OrtValue`.
            RuntimeError: type or size differ.
        """
        if not isinstance(data, (np.ndarray, Value)):
            raise TypeError("data must be a numpy.ndarray or an OrtValue.")
        self._update(data)


class OrtValueVector:
    """A list of values, as onnxruntime's `capi` layer has it."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: list[Value] = []

    def push_back(self, arg0: Any) -> None:
        """Add a value, or the tensor in a DLPack capsule.

        Raises:
            TypeError: it is neither.
        """
        self._values.append(OrtValueHandle.sharing(arg0) if isinstance(arg0, Value) else OrtValueHandle.of(*_from_capsule(arg0)))

    def extend(self, values: Iterable[Value]) -> None:
        """Add values."""
        self._values.extend(values)

    def replace(self, values: Iterable[Value]) -> None:
        """Hold these values, and no others."""
        self._values[:] = values

    def push_back_batch(
        self,
        arg0: Sequence[object],
        arg1: Sequence[int],
        arg2: Sequence[object],
        arg3: Sequence[Sequence[int]],
        arg4: Sequence[Device],
    ) -> None:
        """Add tensors over memory of another library.

        Args:
            arg0: what keeps the memory of each alive; the caller holds these objects.
            arg1: address of the first element of each.
            arg2: NumPy type of each.
            arg3: shape of each.
            arg4: device of each.
        """
        for pointer, dtype, shape, device in zip(arg1, arg2, arg3, arg4, strict=True):
            memory = memory_of(device)
            self._values.append(OrtValueHandle.of(array_at_pointer(pointer, shape, dtype, memory, "push_back_batch()"), memory))

    def reserve(self, arg0: int) -> None:
        """Accepted for compatibility: a list grows by itself."""

    def shrink_to_fit(self) -> None:
        """Accepted for compatibility: a list grows by itself."""

    def dlpack_at(self, arg0: int) -> object:
        """A DLPack capsule of the tensor at this position."""
        return self[arg0].to_dlpack()

    def element_type_at(self, idx: int) -> int:
        """ONNX's number of the element type at this position."""
        return self[idx].element_type()

    def to_dlpacks(self, to_tensor: Callable[[object], Any] | None) -> list[Any]:
        """What `to_tensor` makes of the DLPack capsule of each tensor; None: the capsules."""
        capsules = [value.to_dlpack() for value in self]
        return capsules if to_tensor is None else [to_tensor(capsule) for capsule in capsules]

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, arg0: int) -> OrtValueHandle:
        if not isinstance(arg0, int) or arg0 < 0:
            raise TypeError(f"__getitem__(): incompatible function arguments. A position is an integer of 0 and more, got {arg0!r}")
        if arg0 >= len(self._values):
            raise IndexError(f"position {arg0} of a vector of {len(self._values)} values")
        return OrtValueHandle.sharing(self._values[arg0])

    def __iter__(self) -> Iterator[OrtValueHandle]:
        return iter([OrtValueHandle.sharing(value) for value in self._values])


def copy_tensors(src: Sequence[Value], dst: Sequence[Value], stream: OrtSyncStream | None = None) -> None:
    """Copy each tensor into the memory of another, from any place to any other.

    Args:
        src: what to copy.
        dst: where to; as many tensors, of the same types and sizes.
        stream: accepted for compatibility: the copies are done when this returns.

    Raises:
        RuntimeError: the numbers of tensors, their types or sizes differ.
    """
    if len(src) != len(dst):
        raise RuntimeError(f"Invalid arguments provided to CopyTensors. ({len(src)} sources and {len(dst)} destinations)")
    for source, target in zip(src, dst, strict=True):
        target._update(source)
    for memory in {id(target.memory): target.memory for target in dst}.values():
        memory.synchronize()


def _from_capsule(data: object) -> Any:
    if hasattr(data, "__dlpack__"):
        raise TypeError("from_dlpack expected a valid DLPack capsule named 'dltensor'; call `__dlpack__()` of the tensor")
    return array_from_dlpack(data)


def _sparse(value: Value) -> Sparse:
    content = value.content
    if not isinstance(content, Sparse):
        raise RuntimeError(f"This OrtValue does not contain SparseTensor. Check data_type() value. It is {value.data_type()}")
    return content


def _device_name(value: Value) -> str:
    if not value.is_tensor() and not value.is_sparse_tensor():
        raise RuntimeError(f"Only OrtValues that are Tensors/SparseTensors are currently supported; this one is {value.data_type()}")
    return name_of_memory(value.memory)
