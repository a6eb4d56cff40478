"""The base of providers whose tensors are NumPy arrays in host memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np

from onnxgpu import dlpack
from onnxgpu.provider import Array, Provider, Spec


class HostProvider(Provider):
    """Memory for NumPy arrays; what the provider runs is for the subclass to say."""

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return np.empty(spec.shape, spec.dtype)

    def allocator(self, spec: Spec) -> Callable[[], Array]:
        """See `onnxgpu.provider.Provider`."""
        if type(self).allocate is not HostProvider.allocate:
            return super().allocator(spec)
        return partial(np.empty, spec.shape, spec.dtype)

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        view: Array = np.ndarray(spec.shape, spec.dtype, memory, offset)
        return view

    def upload(self, array: np.ndarray) -> Array:
        """The array itself: host memory is where it already is."""
        return array

    def download(self, array: Array) -> np.ndarray:
        """The array itself: host memory is where it already is."""
        result: np.ndarray = array
        return result

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `onnxgpu.provider.Provider`."""
        return isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and np.may_share_memory(first, second)

    def copy_into(self, target: Array, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        np.copyto(target, source)

    def pointer(self, array: Array) -> int:
        """See `onnxgpu.provider.Provider`."""
        return int(array.ctypes.data)

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return host_array(pointer, spec, owner)

    def to_dlpack(self, array: Array) -> object:
        """See `onnxgpu.provider.Provider`."""
        return dlpack.export(array, dlpack.HOST_DEVICE)


def host_array(pointer: int, spec: Spec, owner: object) -> np.ndarray:
    """A dense array over host memory that `owner` keeps alive."""
    buffer = (ctypes.c_char * spec.nbytes).from_address(pointer) if spec.nbytes else ctypes.create_string_buffer(1)
    buffer.owner = owner  # type: ignore[attr-defined]
    array: np.ndarray = np.ndarray(spec.shape, spec.dtype, memoryview(buffer))
    return array
