"""The base of providers whose tensors are NumPy arrays in host memory."""

from __future__ import annotations

import numpy as np

from onnxgpu.provider import Array, Provider, Spec


class HostProvider(Provider):
    """Memory for NumPy arrays; what the provider runs is for the subclass to say."""

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return np.empty(spec.shape, spec.dtype)

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
