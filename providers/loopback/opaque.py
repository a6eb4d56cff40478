"""Arrays of the pretend device: nothing but the loopback provider can look inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from onnxgpu.provider import Array, Kernel, Spec, Value


class OpaqueArray:
    """Memory of the pretend device: shape and dtype are known, the elements are not the host's to read."""

    __slots__ = ("_elements",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, elements: np.ndarray) -> None:
        self._elements = elements

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        return self._elements.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self._elements.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._elements.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._elements.size

    @property
    def flags(self) -> Any:
        """NumPy's flags of the memory layout."""
        return self._elements.flags

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"this array lies on the loopback device and has no {name}; a transfer to the host is missing")

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this array lies on the loopback device; a transfer to the host is missing")

    __array__ = __array_ufunc__ = __array_function__ = __len__ = __iter__ = __getitem__ = __bool__ = __float__ = __int__ = __index__ = (
        _refuse
    )
    __add__ = __radd__ = __eq__ = _refuse


def wrap(value: Value) -> Value:
    """Every array of `value` as an opaque one."""
    if isinstance(value, (np.ndarray, np.generic)):
        return OpaqueArray(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return [wrap(item) for item in value]
    return value


def unwrap(value: Value) -> Value:
    """The elements of an opaque array; of every one in a sequence.

    Raises:
        TypeError: a host array stands where an opaque one was expected.
    """
    if isinstance(value, OpaqueArray):
        return value._elements
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    if isinstance(value, np.ndarray):
        raise TypeError("a host array reached the loopback device; a transfer is missing")
    return value


class OpaqueKernel:
    """A kernel for NumPy, run on the elements of opaque arrays.

    Args:
        kernel: works on host arrays.
        host_inputs: positions of inputs that arrive as host arrays.
        any_place: positions of inputs of which only the shape is read, wherever they are.
    """

    def __init__(self, kernel: Kernel, host_inputs: frozenset[int], any_place: frozenset[int]) -> None:
        self._kernel, self._host_inputs, self._any_place = kernel, host_inputs, any_place

    def _inside(self, inputs: Sequence[Value]) -> list[Value]:
        return [self._one(index, value) for index, value in enumerate(inputs)]

    def _one(self, index: int, value: Value) -> Value:
        if isinstance(value, Spec) or index in self._host_inputs:
            return value
        if index in self._any_place and not isinstance(value, OpaqueArray):
            return value
        return unwrap(value)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.outputs(self._inside(inputs))

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `onnxgpu.provider.Kernel`."""
        return self._kernel.workspace(self._inside(inputs))

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        given = None if outputs is None else [unwrap(out) for out in outputs]
        results = self._kernel.launch(self._inside(inputs), given, unwrap(workspace))
        return outputs if outputs is not None else [wrap(result) for result in results]
