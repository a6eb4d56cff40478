"""A value that lies somewhere: a tensor in a provider's memory, a sparse tensor, a sequence, a map, or nothing.

`Value` is what `OrtValue` (of the Python layer) and its `capi` counterpart share; the functions make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from onnxgpu.devices import HOST_MEMORY, memory_for_dlpack
from onnxgpu.dlpack import HOST_DEVICE, Borrowed, is_dense
from onnxgpu.dtypes import code_of, dtype_named, dtype_of, name_of
from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.provider import HOST, Array, Provider, Spec
from onnxgpu.sparse import Sparse

_CUDA_DEVICE = 2
"""DLPack's `kDLCUDA`."""

_ONLY_TENSORS = "Only OrtValues that are Tensors"


class Value:
    """A value, its type, and whose memory it lies in. Two objects may share one value."""

    __slots__ = ("_content", "_memory", "_type")

    _content: Any
    _memory: Provider
    _type: str

    @classmethod
    def of(cls, content: Any, memory: Provider = HOST_MEMORY, type_text: str | None = None) -> Self:
        """A value over `content`.

        Args:
            content: an array of `memory`, a `Sparse`, a list (sequence), a dict (map) or None.
            memory: whose the arrays are.
            type_text: onnxruntime's name of the type; None: that of the tensor.
        """
        made = cls.__new__(cls)
        made._content, made._memory = content, memory
        made._type = f"tensor({name_of(content.dtype)})" if type_text is None else type_text
        return made

    @classmethod
    def sharing(cls, other: Value) -> Self:
        """Another object for the same value."""
        return cls.of(other._content, other._memory, other._type)

    @property
    def content(self) -> Any:
        """The array, list or dict itself, as operators have it."""
        return self._content

    @property
    def memory(self) -> Provider:
        """Whose memory the value lies in."""
        return self._memory

    def __repr__(self) -> str:
        what = f"{self.data_type()} {self.shape()} on {self._memory.place}" if self.is_tensor() or self.is_sparse_tensor() else self._type
        return f"{type(self).__name__}({what if self.has_value() else f'{what}, absent'})"

    def has_value(self) -> bool:
        """False for an optional value that is absent."""
        return self._content is not None

    def is_tensor(self) -> bool:
        """True for a tensor."""
        return hasattr(self._content, "dtype")

    def is_sparse_tensor(self) -> bool:
        """True for a sparse tensor."""
        return isinstance(self._content, Sparse)

    def is_tensor_sequence(self) -> bool:
        """True for a sequence of tensors."""
        return isinstance(self._content, list) and self._type.startswith("seq(tensor(")

    def shape(self) -> list[int]:
        """Dimensions of a tensor, dense or sparse.

        Raises:
            RuntimeError: it is no tensor.
        """
        if isinstance(self._content, Sparse):
            return self._content.dense_shape()
        return list(self._tensor("Only OrtValues that are Tensors/SpareTensors are currently supported").shape)

    def data_type(self) -> str:
        """`tensor(float)`, `seq(tensor(int64))`, …"""
        return self._content.data_type() if isinstance(self._content, Sparse) else self._type

    def element_type(self) -> int:
        """ONNX's number (`TensorProto.DataType`) of the elements of a tensor, or of those in a sequence.

        Raises:
            RuntimeError: it is a map, or holds maps.
        """
        text = self.data_type()
        if "map(" in text or "(" not in text:
            raise RuntimeError(f"Tensor proto_type is unavailable for this value. It is a {text}")
        return code_of(dtype_named(text.rpartition("(")[2].rstrip(")")))

    def tensor_size_in_bytes(self) -> int:
        """Bytes that the tensor takes in memory.

        Raises:
            RuntimeError: it is no tensor.
        """
        array = self._tensor(f"{_ONLY_TENSORS} are currently supported")
        return int(array.size) * int(array.dtype.itemsize)

    def data_ptr(self) -> int:
        """Address of the first element, at the place where the tensor lies.

        Raises:
            RuntimeError: it is no tensor, or one of strings.
        """
        array = self._tensor(f"{_ONLY_TENSORS} are currently supported")
        if array.dtype == object:
            raise RuntimeError("a tensor of strings has no memory that another program could read")
        return self._memory.pointer(array)

    def numpy(self) -> np.ndarray:
        """The tensor as a NumPy array: over the same memory on the host, a copy of what lies on a device.

        Raises:
            RuntimeError: it is no tensor.
        """
        array = self._tensor(f"{_ONLY_TENSORS} are convertible to Numpy objects")
        result: np.ndarray = self._memory.download(array)
        return result

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's device type, and which of several.

        Raises:
            RuntimeError: it is no tensor.
        """
        self._tensor("Only tensor type OrtValues are supported")
        named = self._memory.memory
        return HOST_DEVICE if self._memory.place == HOST or named is None else (named.dlpack_type, self._memory.place.index)

    def _capsule(self) -> Any:
        array = self._tensor("Only tensor type OrtValues are supported")
        if array.dtype == object:
            raise RuntimeError("DLPack has no strings")
        self._memory.synchronize()
        return self._memory.to_dlpack(array)

    def _update(self, data: np.ndarray | Value) -> None:
        target = self._tensor(f"{_ONLY_TENSORS} can be updated")
        source = data._tensor(f"{_ONLY_TENSORS} can be a source of an update") if isinstance(data, Value) else data
        if source.dtype != target.dtype:
            kinds = f"{source.dtype} and {target.dtype}"
            raise RuntimeError(f"The source and destination OrtValues must have the same data type; they have {kinds}")
        if source.size != target.size:
            shapes = f"the shapes are {list(source.shape)} and {list(target.shape)}"
            if isinstance(data, Value):
                raise RuntimeError(f"The source and destination OrtValues must have the same size: {shapes}")
            raise RuntimeError(f"The input size of numpy arrays does not match the size of the OrtValue. Here {shapes}")
        copy(source, data.memory if isinstance(data, Value) else HOST_MEMORY, target, self._memory)

    def _tensor(self, otherwise: str) -> Array:
        if not self.is_tensor():
            raise RuntimeError(f"{otherwise}; this one is {'absent' if self._content is None else f'a {self.data_type()}'}")
        return self._content


def copy(source: Array, source_memory: Provider, target: Array, target_memory: Provider) -> None:
    """Copy elements into memory that is there already, from one place to another; shapes may differ, sizes not."""
    if source_memory.place not in (HOST, target_memory.place):
        if tuple(source.shape) == tuple(target.shape) and target_memory.place != HOST and target_memory.reaches(source_memory):
            target_memory.copy_across(target, source, source_memory)
            return
        source, source_memory = source_memory.download(source), HOST_MEMORY
    if target_memory.place == HOST and source_memory.place == HOST:
        target_memory.copy_into(target, source.reshape(target.shape))
        return
    if tuple(source.shape) != tuple(target.shape):
        spec = Spec(tuple(target.shape), target.dtype)
        source = (
            source.reshape(target.shape) if source_memory.place == HOST else source_memory.wrap(source_memory.pointer(source), spec, source)
        )
    target_memory.copy_into(target, source)


def array_from_numpy(given: Any, memory: Provider) -> Array:
    """A NumPy array at the place of `memory`: itself on the host if it is dense in C order.

    Raises:
        RuntimeError: it is no array, or its type has no ONNX counterpart.
        InvalidArgument: its elements are big-endian.
    """
    if not isinstance(given, np.ndarray):
        begin = "Creation of OrtValues is currently only supported from non-string numpy arrays"
        raise RuntimeError(f"{begin}; got {type(given).__name__}: make an array of it first")
    array = checked_array(given)
    if array.dtype == object and memory.place != HOST:
        raise RuntimeError(f"strings cannot lie on {memory.place}; they stay on the host")
    return memory.upload(np.ascontiguousarray(array) if array.ndim else array)


def checked_array(array: np.ndarray) -> np.ndarray:
    """The array, strings as `object`, if its type is one of ONNX's.

    Raises:
        RuntimeError: its type has no ONNX counterpart, or it holds bytes or objects that are no `str`.
        InvalidArgument: its elements are big-endian.
    """
    if array.dtype.kind in "UT":
        return array.astype(object)
    if array.dtype.kind == "O" and not all(type(item) is str for item in array.flat):
        raise RuntimeError("Creation of OrtValues is supported from object arrays whose elements are all `str`; these are not")
    if array.dtype.kind == "S":
        raise RuntimeError("Creation of OrtValues from bytes is not supported; decode them: `np.char.decode(x)`")
    if not array.dtype.isnative and array.dtype.kind in "biufc":
        raise InvalidArgument(
            f"the array has big-endian elements ({array.dtype.str}); convert it with `x.astype(x.dtype.newbyteorder('='))`"
        )
    try:
        name_of(array.dtype)
    except NotImplemented:
        raise RuntimeError(
            f"Numpy_type {array.dtype.num} can't be converted to MLDataType. {array.dtype} has no ONNX element type"
        ) from None
    return array


def reinterpreted(array: Any, code: int) -> np.ndarray:
    """The same memory with elements of another type of the same size.

    Raises:
        TypeError: it is no array.
        RuntimeError: the code is none of ONNX's, the sizes differ, or the array is not dense in C order.
    """
    if not isinstance(array, np.ndarray) or not isinstance(code, int):
        got = f"{type(array).__name__} and {code!r}"
        caller = "ortvalue_from_numpy_with_onnx_type()"
        raise TypeError(f"{caller}: incompatible function arguments. It takes an array and an ONNX element type, got {got}")
    try:
        dtype = dtype_of(code)
    except NotImplemented as error:
        raise RuntimeError(f"Not a valid ONNX Tensor data type: {code}: {error.message}") from None
    if dtype.kind == "O" or array.dtype.itemsize != dtype.itemsize:
        wanted = "strings" if dtype.kind == "O" else dtype.itemsize
        raise RuntimeError(f"Items size in the incoming array: {array.dtype.itemsize} specified by onnxtype: {wanted}")
    if not array.flags.c_contiguous:
        raise RuntimeError("the array is not dense in C order, so its memory cannot be read as another type; copy it first")
    view: np.ndarray = array.view(dtype)
    return view


def array_from_shape(shape: Sequence[int], element_type: Any, memory: Provider) -> Array:
    """New memory at the place of `memory`, with whatever it holds.

    Args:
        shape: sizes of 0 and more.
        element_type: a NumPy type, or ONNX's number of one.
        memory: whose memory.

    Raises:
        TypeError: the shape is no sequence of integers.
        RuntimeError: the type has no ONNX counterpart or is that of strings, or a size is negative.
    """
    caller = "ortvalue_from_shape_and_onnx_type()" if isinstance(element_type, int) else "ortvalue_from_shape_and_type()"
    return memory.allocate(Spec(checked_shape(shape, caller), element_dtype(element_type)))


def checked_shape(shape: Sequence[int], caller: str) -> tuple[int, ...]:
    """The shape as a tuple of integers of 0 and more; `caller` stands in the message.

    Raises:
        TypeError: it is no sequence of integers.
        RuntimeError: a size is negative.
    """
    try:
        sizes = tuple(int(size.__index__()) for size in shape)
    except (TypeError, AttributeError):
        raise TypeError(f"{caller}: incompatible function arguments. A shape is a sequence of integers, got {shape!r}") from None
    if any(size < 0 for size in sizes):
        raise RuntimeError(f"Tensor shape.Size() must be >= 0: shape {list(sizes)} has a negative size")
    return sizes


def element_dtype(element_type: Any) -> np.dtype:
    """The dtype that a program names by a NumPy type or by ONNX's number of it; never that of strings.

    Raises:
        RuntimeError: the type has no ONNX counterpart or is that of strings.
    """
    try:
        dtype = dtype_of(element_type) if isinstance(element_type, int) else np.dtype(element_type).newbyteorder("=")
        dtype = dtype_of(code_of(dtype))
    except NotImplemented as error:
        raise RuntimeError(f"tensor type {element_type} is not supported: {error.message}") from None
    if dtype.kind == "O":
        raise RuntimeError(
            "Creation of OrtValues is currently only supported from non-string numpy arrays: memory for strings has no shape"
        )
    return dtype


def array_at_pointer(pointer: int, shape: Sequence[int], element_type: Any, memory: Provider, caller: str) -> Array:
    """An array over memory that the caller keeps alive.

    Args:
        pointer: address of the first element.
        shape: of the tensor, which lies dense in C order.
        element_type: a NumPy type, or ONNX's number of one.
        memory: whose memory it is.
        caller: stands in messages.

    Raises:
        TypeError: the shape is no sequence of integers.
        RuntimeError: the type has no ONNX counterpart or is that of strings, or a size is negative.
    """
    return memory.wrap(int(pointer), Spec(checked_shape(shape, caller), element_dtype(element_type)), None)


def array_from_dlpack(data: Any) -> tuple[Array, Provider]:
    """The tensor of another library, without a copy, and whose memory it lies in.

    Args:
        data: an object with `__dlpack__`, or a capsule.

    Raises:
        TypeError: it is neither.
        RuntimeError: the tensor is not dense, or of a type or at a place that onnxgpu does not have here.
    """
    borrowed = Borrowed(data.__dlpack__() if hasattr(data, "__dlpack__") else data)
    memory = memory_for_dlpack(*borrowed.device)
    return memory.wrap(borrowed.pointer, borrowed.spec, borrowed), memory


def array_from_cuda_interface(data: Any) -> tuple[Array, Provider]:
    """The tensor of an object with `__cuda_array_interface__`, without a copy, and whose memory it lies in.

    Source: CUDA Array Interface, version 3. It does not name the device; the address tells.

    Raises:
        RuntimeError: the tensor is not dense, of a type that ONNX does not have, or there is no such memory here.
    """
    interface = data.__cuda_array_interface__
    spec = Spec(tuple(interface["shape"]), np.dtype(interface["typestr"]))
    strides = interface.get("strides")
    if strides is not None and not is_dense(spec.shape, [stride / spec.dtype.itemsize for stride in strides]):
        raise RuntimeError(f"only tensors that are dense in C order are supported; strides are {strides} bytes, shape is {spec.shape}")
    pointer = interface["data"][0]
    memory = memory_for_dlpack(_CUDA_DEVICE, 0)
    memory = memory_for_dlpack(_CUDA_DEVICE, memory.index_at(pointer))
    if "stream" not in interface:  # up to version 2 nothing says what there is to wait for
        memory.synchronize()
    elif interface["stream"] is not None:
        memory.wait_for_stream(interface["stream"])
    return memory.wrap(pointer, spec, data), memory


def copied_home(content: Any, memory: Provider) -> Any:
    """A copy on the host of a value of `memory`: an array, or a list or dict of them."""
    if isinstance(content, (list, tuple)):
        return [copied_home(item, memory) for item in content]
    if isinstance(content, dict):
        return dict(content)
    if not hasattr(content, "dtype"):
        return content
    return content.copy() if memory.place == HOST else memory.download(content)
