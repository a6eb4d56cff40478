"""Inputs as programs give them, checked against what the model declares and turned into arrays.

The texts of the errors are onnxruntime's, so that programs that read them keep working.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_named, name_of
from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.metadata import NodeArg


def checked_feed(argument: NodeArg, value: Any) -> Any:
    """`value` as the model's input `argument` takes it: an array, or a list, map or None for other types.

    Raises:
        InvalidArgument: the element type, rank or a fixed dimension differs from what the model declares.
        RuntimeError: an object that is no tensor at all.
    """
    if not argument.type.startswith("tensor("):
        return _checked_other(argument, value)
    array = _as_array(argument, value)
    expected = argument.type[7:-1]
    actual = _name(array)
    if actual != expected:
        raise InvalidArgument(f"Unexpected input data type. Actual: (tensor({actual})) , expected: (tensor({expected})) for input {argument.name}")
    _check_shape(argument, array)
    return array


def _as_array(argument: NodeArg, value: Any) -> np.ndarray:
    if hasattr(value, "numpy") and hasattr(value, "is_tensor"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, (list, tuple, np.generic)):
        array = _from_python(argument, value)
    elif hasattr(value, "__array__"):
        array = np.asarray(value)
    elif hasattr(value, "__dlpack__"):
        array = np.from_dlpack(value)
    else:
        raise RuntimeError(f"Unable to handle object of type {type(value)}")
    if array.dtype.kind in "UST":
        array = array.astype(object)
    if not array.dtype.isnative and array.dtype.kind != "O":
        raise InvalidArgument(f"input {argument.name} has big-endian elements ({array.dtype.str}); convert it with `x.astype(x.dtype.newbyteorder('='))`")
    return array


def _from_python(argument: NodeArg, value: Any) -> np.ndarray:
    dtype = dtype_named(argument.type[7:-1])
    if isinstance(value, np.generic):
        return np.asarray(value)
    try:
        return np.array(value, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"input {argument.name} cannot be made a tensor of {argument.type}: {error}") from None


def _name(array: np.ndarray) -> str:
    try:
        return name_of(array.dtype)
    except NotImplemented:
        return str(array.dtype)


def _check_shape(argument: NodeArg, array: np.ndarray) -> None:
    expected = argument.shape
    if expected is None:
        return
    if array.ndim != len(expected):
        raise InvalidArgument(
            f"Invalid rank for input: {argument.name} Got: {array.ndim} Expected: {len(expected)} Please fix either the inputs/outputs or the model."
        )
    wrong = [(i, got, want) for i, (got, want) in enumerate(zip(array.shape, expected, strict=True)) if isinstance(want, int) and got != want]
    if wrong:
        lines = "".join(f"\n index: {i} Got: {got} Expected: {want}" for i, got, want in wrong)
        raise InvalidArgument(
            f"Got invalid dimensions for input: {argument.name} for the following indices{lines}\n Please fix either the inputs/outputs or the model."
        )


def _checked_other(argument: NodeArg, value: Any) -> Any:
    kind, _, inner = argument.type.partition("(")
    inner = inner[:-1]
    if kind == "optional":
        return None if value is None else checked_feed(NodeArg(argument.name, inner, argument.shape), value)
    if kind == "seq":
        if not isinstance(value, Sequence):
            raise InvalidArgument(f"input {argument.name} wants a list ({argument.type}), got {type(value).__name__}")
        element = NodeArg(argument.name, inner, None)
        return [checked_feed(element, item) for item in value]
    if kind == "map":
        if not isinstance(value, Mapping):
            raise InvalidArgument(f"input {argument.name} wants a dict ({argument.type}), got {type(value).__name__}")
        return dict(value)
    if kind == "sparse_tensor":
        return _as_array(NodeArg(argument.name, f"tensor({inner})", argument.shape), value)
    raise NotImplemented(f"input {argument.name} has type {argument.type}, which onnxgpu does not take")


def returned(value: Any) -> Any:
    """An output as programs get it: strings as NumPy `object` arrays, tensors as they are, scalars as 0-d arrays."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    return value
