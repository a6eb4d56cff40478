"""Arrays of which only the place in memory is known: what stands for an array of CuPy while launches are written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Value
from onnxgpu.providers.cuda.narrow import NarrowArray

_BASIC = (int, np.integer, slice, type(None), type(Ellipsis))


class _Pointer:
    """As CuPy's `MemoryPointer`: an address."""

    __slots__ = ("ptr",)

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class Address:
    """An array on the device that has shape, strides, address and views, as CuPy's has, and no elements to compute with.

    CuPy's functions refuse it, and so does everything that would copy.

    Args:
        address: of its first element.
        like: an array of NumPy with its shape, dtype and strides, whose memory is never touched.
    """

    __slots__ = ("_like", "data")

    def __init__(self, address: int, like: np.ndarray) -> None:
        self.data, self._like = _Pointer(address), like

    @classmethod
    def of(cls, array: Array) -> Address:
        """That of an array of CuPy."""
        like = np.lib.stride_tricks.as_strided(np.empty(1, array.dtype), array.shape, array.strides)
        return cls(array.data.ptr, like)

    shape = property(lambda self: self._like.shape)
    strides = property(lambda self: self._like.strides)
    dtype = property(lambda self: self._like.dtype)
    ndim = property(lambda self: self._like.ndim)
    size = property(lambda self: self._like.size)
    itemsize = property(lambda self: self._like.itemsize)
    nbytes = property(lambda self: self._like.nbytes)
    flags = property(lambda self: self._like.flags)

    @property
    def T(self) -> Address:
        """Its axes in reverse."""
        return self._view(self._like.T)

    def __getitem__(self, index: Any) -> Address:
        indices = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(each, _BASIC) and not isinstance(each, bool) for each in indices):
            raise TypeError("an address has no elements to choose")
        return self._view(self._like[(*indices, ...)] if Ellipsis not in indices else self._like[indices])

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("an address has no elements to copy to the host")

    def __bool__(self) -> bool:
        raise TypeError("an address has no elements to look at")

    def reshape(self, *shape: Any) -> Address:
        """The same elements in another shape, if no copy is needed for that."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        view = np.reshape(self._like, wanted, copy=False)
        return self._view(view)

    def swapaxes(self, first: int, second: int) -> Address:
        """As NumPy's."""
        return self._view(self._like.swapaxes(first, second))

    def transpose(self, *axes: Any) -> Address:
        """As NumPy's."""
        return self._view(self._like.transpose(*axes))

    def broadcast_to(self, shape: Sequence[int]) -> Address:
        """As NumPy's function."""
        return self._view(np.broadcast_to(self._like, tuple(shape)))

    def view(self, dtype: Any) -> Address:
        """Its bytes as elements of another type."""
        return self._view(self._like.view(dtype))

    def astype(self, dtype: Any, copy: bool = True) -> Address:
        """Itself, where that is what is asked for."""
        if copy or np.dtype(dtype) != self.dtype:
            raise TypeError("an address has no elements to convert")
        return self

    def _view(self, view: np.ndarray) -> Address:
        start, first = (x.__array_interface__["data"][0] for x in (self._like, view))
        return Address(self.data.ptr + first - start, view)


def address_of(value: Value) -> Value:
    """What stands for an argument of a launch; what lies on the host, and None, stand for themselves.

    Raises:
        TypeError: it is no array.
    """
    if value is None or isinstance(value, np.ndarray):
        return value
    if isinstance(value, NarrowArray):
        return NarrowArray(Address.of(value.bits), value.dtype)
    if isinstance(value, (list, tuple)):
        raise TypeError("a sequence is different in every run")
    return Address.of(value)


def broadcast_to(xp: Any, array: Array, shape: Sequence[int]) -> Array:
    """A view of `array` in which it is repeated to `shape`; `xp` is CuPy."""
    return array.broadcast_to(shape) if isinstance(array, Address) else xp.broadcast_to(array, shape)
