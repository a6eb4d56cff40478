"""Inputs as programs give them, checked against what the model declares and turned into arrays.

The texts of the errors begin as onnxruntime's, so that programs that read them keep working.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from onnxgpu.dtypes import code_of, dtype_named, name_of
from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.metadata import NodeArg
from onnxgpu.provider import HOST, Provider
from onnxgpu.sparse import Sparse
from onnxgpu.values import Value, array_from_cuda_interface, array_from_dlpack

_HOST_MEMORIES = (1, 3)
"""DLPack's `kDLCPU` and `kDLCUDAHost`."""

_TO_DO = "Please fix either the inputs/outputs or the model."


class PlacedInputs(list[Any]):
    """The inputs of a run, of which some lie on a device.

    Attributes:
        memories: position of an input → whose memory it lies in; the others lie on the host.
    """

    def __init__(self, inputs: Iterable[Any], memories: Mapping[int, Provider]) -> None:
        super().__init__(inputs)
        self.memories = memories


def placed(inputs: list[Any]) -> list[Any]:
    """The inputs as operators have them: without `Value` around what lies on a device; `PlacedInputs` if something does."""
    memories = {position: value.memory for position, value in enumerate(inputs) if isinstance(value, Value)}
    return PlacedInputs((value.content if isinstance(value, Value) else value for value in inputs), memories) if memories else inputs


def memories_of(inputs: list[Any]) -> Mapping[int, Provider]:
    """Position of an input → whose memory it lies in, if not on the host."""
    return inputs.memories if isinstance(inputs, PlacedInputs) else {}


def checked_feed(argument: NodeArg, value: Any) -> Any:
    """`value` as the model's input `argument` takes it: an array, or a list, map or None for other types.

    What lies on a device stays there, and comes back as a `Value`.

    Args:
        argument: name, type and shape; a shape of None is not checked.
        value: an array, an OrtValue, anything with `__array__`, `__dlpack__` or `__cuda_array_interface__`, or a nested list.
            One element in any number of dimensions will do for a scalar.

    Raises:
        InvalidArgument: the element type, rank or a fixed dimension differs from what the model declares.
        RuntimeError: an object that is no tensor at all.
    """
    dtype = _number_type(argument.type)
    if dtype is not None and type(value) is np.ndarray and value.dtype == dtype:
        array = value
    elif (lying := _lying_somewhere(argument, value)) is not None:
        return _checked_value(argument, lying)
    elif argument.type.startswith("tensor("):
        array = _as_array(argument, value)
        _check_type(argument, array)
    else:
        return _checked_other(argument, value)
    if argument.shape == [] and array.size == 1:
        return array.reshape(())
    _check_shape(argument, array)
    return array


def has_fixed_shape(argument: NodeArg) -> bool:
    """True where what `checked_feed` lets through has one shape and dtype."""
    return _number_type(argument.type) is not None and argument.shape is not None and all(isinstance(size, int) for size in argument.shape)


def fitting(argument: NodeArg) -> Callable[[Any], bool]:
    """A quick test whether a value is what `argument` takes as it is; `checked_feed` is to look at all others."""
    dtype = _number_type(argument.type)
    if dtype is None or argument.shape is None:
        return lambda value: False
    rank = len(argument.shape)
    sizes = [(axis, size) for axis, size in enumerate(argument.shape) if isinstance(size, int)]
    exact = tuple(size for _, size in sizes) if len(sizes) == rank else None
    array_type = np.ndarray

    def fits_exactly(value: Any) -> bool:
        return type(value) is array_type and value.dtype is dtype and value.shape == exact

    def fits(value: Any) -> bool:
        if type(value) is not array_type or value.dtype is not dtype:
            return False
        shape = value.shape
        return len(shape) == rank and not [axis for axis, size in sizes if shape[axis] != size]

    return fits if exact is None else fits_exactly


@cache
def _number_type(text: str) -> np.dtype | None:
    """The dtype of a `tensor(…)` of numbers, None for every other type."""
    return dtype_named(text[7:-1]) if text.startswith("tensor(") and text != "tensor(string)" else None


def _lying_somewhere(argument: NodeArg, value: Any) -> Value | None:
    """The value, if it says where it lies: an OrtValue, or a tensor of another library on a device."""
    if isinstance(value, Value):
        return value
    if isinstance(value, (np.ndarray, np.generic, list, tuple)):
        return None
    try:
        if hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) not in _HOST_MEMORIES:
            return Value.of(*array_from_dlpack(value))
        if hasattr(value, "__cuda_array_interface__"):
            return Value.of(*array_from_cuda_interface(value))
    except Exception as error:
        raise InvalidArgument(
            f"input {argument.name}: {_kind(value)} cannot be read where it lies ({error}); copy it to the host first"
        ) from error
    return None


def _checked_value(argument: NodeArg, value: Value) -> Any:
    """What the value holds, if that lies on the host; otherwise the value."""
    content = value.content.dense() if isinstance(value.content, Sparse) else value.content
    if value.memory.place == HOST or content is None:
        return content if content is None and argument.type.startswith("optional") else checked_feed(argument, content)
    expected = argument.type[len("optional(") : -1] if argument.type.startswith("optional(") else argument.type
    if value.data_type() != expected:
        types = f"Actual: ({value.data_type()}) , expected: ({expected})"
        raise InvalidArgument(f"Unexpected input data type. {types} for input {argument.name}")
    if value.is_tensor():
        _check_shape(argument, content)
    return value


def _check_type(argument: NodeArg, array: np.ndarray) -> None:
    actual, expected = _name(array), argument.type[7:-1]
    if actual != expected:
        types = f"Actual: (tensor({actual})) , expected: (tensor({expected}))"
        raise InvalidArgument(f"Unexpected input data type. {types} for input {argument.name}{_cure(array, expected)}")


def _as_array(argument: NodeArg, value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, (list, tuple)):
        array = _from_list(argument, value)
    elif isinstance(value, np.generic):
        array = np.asarray(value)
    elif any(hasattr(value, name) for name in ("__array__", "__dlpack__", "is_tensor")):
        array = _from_array_like(argument, value)
    else:
        raise _no_tensor(argument, value)
    if argument.type == "tensor(string)" and array.dtype.kind in "USTO":
        return _as_text(argument, array)
    if not array.dtype.isnative and array.dtype.kind in "biufc":
        raise InvalidArgument(
            f"input {argument.name} has big-endian elements ({array.dtype.str}); convert it with `x.astype(x.dtype.newbyteorder('='))`"
        )
    return array


def _from_list(argument: NodeArg, value: Any) -> np.ndarray:
    try:
        return np.array(value, dtype=dtype_named(argument.type[7:-1]))
    except (ValueError, TypeError, OverflowError) as error:
        raise RuntimeError(f"Could not create tensor from given input list: input {argument.name} is a {argument.type}; {error}") from None


def _from_array_like(argument: NodeArg, value: Any) -> np.ndarray:
    try:
        if hasattr(value, "is_tensor") and hasattr(value, "numpy"):
            return np.asarray(value.numpy())
        return _read_by_protocol(value)
    except Exception as error:
        raise InvalidArgument(
            f"input {argument.name}: {_kind(value)} cannot be read as a NumPy array ({error}); convert it first"
        ) from error


def _read_by_protocol(value: Any) -> np.ndarray:
    """Over the same memory where the other library lets us; DLPack also has types that NumPy does not have (bfloat16)."""
    if not hasattr(value, "__array__"):
        return _from_dlpack(value)
    try:
        return np.asarray(value)
    except Exception:
        if not hasattr(value, "__dlpack__"):
            raise
        return _from_dlpack(value)


def _from_dlpack(value: Any) -> np.ndarray:
    try:
        array: np.ndarray = array_from_dlpack(value)[0]
        return array
    except (RuntimeError, BufferError):
        return np.from_dlpack(value)  # strided or read-only, of which a capsule of the newer kind can tell


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _no_tensor(argument: NodeArg, value: Any) -> Exception:
    wanted = f"input {argument.name} wants {argument.type}: give a NumPy array"
    if isinstance(value, Mapping):
        return InvalidArgument(f"Unexpected input data type. Actual: (dict) , expected: ({argument.type}): {wanted}")
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, memoryview)):
        begin = f"Input must be a list of dictionaries or a single numpy array for input '{argument.name}'."
        return RuntimeError(f"{begin} It is a {type(value).__name__}; {wanted}")
    return RuntimeError(f"Unable to handle object of type {type(value)}: {wanted}")


def _as_text(argument: NodeArg, array: np.ndarray) -> np.ndarray:
    """Elements as `str`, in an object array; bytes are UTF-8."""
    if array.dtype.kind in "UT":
        return array.astype(object)
    if array.dtype.kind == "O" and all(type(item) is str for item in array.flat):
        return array
    try:
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in array.reshape(-1).tolist()]
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"input {argument.name}: {error.object!r} is not UTF-8; decode the bytes yourself and give `str`") from None
    result = np.empty(len(texts), dtype=object)
    result[:] = texts
    return result.reshape(array.shape)


def _name(array: np.ndarray) -> str:
    try:
        return name_of(array.dtype)
    except NotImplemented:
        return str(array.dtype)


def _cure(array: np.ndarray, expected: str) -> str:
    """How to convert, where the two types convert into one another."""
    number = array.dtype.kind in "biufc" and expected not in ("string", "bool")
    return f"; convert it with `.astype({str(dtype_named(expected))!r})`" if number and code_of(dtype_named(expected)) < 16 else ""


def _check_shape(argument: NodeArg, array: np.ndarray) -> None:
    expected = argument.shape
    if expected is None:
        return
    if array.ndim != len(expected):
        raise InvalidArgument(
            f"Invalid rank for input: {argument.name} Got: {array.ndim} Expected: {len(expected)} {_TO_DO} "
            f"The array's shape is {list(array.shape)}, the model's {_shown(expected)}"
        )
    sizes = list(zip(array.shape, expected, strict=True))
    if any(got != want and isinstance(want, int) for got, want in sizes):
        wrong = ((i, got, want) for i, (got, want) in enumerate(sizes) if isinstance(want, int) and got != want)
        lines = "".join(f"\n index: {i} Got: {got} Expected: {want}" for i, got, want in wrong)
        raise InvalidArgument(
            f"Got invalid dimensions for input: {argument.name} for the following indices{lines}\n {_TO_DO} "
            f"The array's shape is {list(array.shape)}, the model's {_shown(expected)}"
        )


def _shown(shape: list[int | str | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _checked_other(argument: NodeArg, value: Any) -> Any:
    kind, _, inner = argument.type.partition("(")
    inner = inner[:-1]
    if kind == "optional":
        return None if value is None else checked_feed(NodeArg(argument.name, inner, argument.shape), value)
    if kind == "seq":
        return _checked_sequence(argument, inner, value)
    if kind == "map":
        return _checked_map(argument, inner, value)
    if kind == "sparse_tensor":
        return _as_array(NodeArg(argument.name, f"tensor({inner})", argument.shape), value)
    raise NotImplemented(f"input {argument.name} has type {argument.type}, which onnxgpu does not take")


def _checked_sequence(argument: NodeArg, inner: str, value: Any) -> list[Any]:
    if isinstance(value, (np.ndarray, np.generic)):
        begin = f"input with name: '{argument.name}' expected to be of type: 3 but received a tensor"
        raise InvalidArgument(f"{begin}: it is a {argument.type}, give a list of arrays")
    if not isinstance(value, (list, tuple)):
        raise InvalidArgument(f"input {argument.name} wants a list ({argument.type}), got {type(value).__name__}")
    element = NodeArg(argument.name, inner, None)
    checked = []
    for index, item in enumerate(value):
        if inner.startswith("tensor(") and not (
            hasattr(item, "__array__") or hasattr(item, "__dlpack__") or isinstance(item, (list, tuple))
        ):
            raise RuntimeError(
                f"CreateSequenceOfTensors: Input is not a tensor: element {index} of input {argument.name} is a {type(item).__name__}"
            )
        checked.append(checked_feed(element, item.numpy() if isinstance(item, Value) else item))
    return checked


def _checked_map(argument: NodeArg, inner: str, value: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"input {argument.name} wants a dict ({argument.type}), got {type(value).__name__}")
    key_type, _, value_type = inner.partition(",")
    for key, item in value.items():
        if not (_is_of_type(key, key_type) and _is_of_type(item, value_type)):
            raise InvalidArgument(
                f"Unexpected input data type. Actual: ({{{key!r}: {item!r}}}) , expected: ({argument.type}) for input {argument.name}"
            )
    return dict(value)


def _is_of_type(item: Any, name: str) -> bool:
    if "string" in name:
        return isinstance(item, str)
    return isinstance(item, (int, np.integer) if "int" in name else (int, float, np.number))
