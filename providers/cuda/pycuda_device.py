"""A GPU through PyCUDA, for installations of TensorRT that have no CuPy. It runs no operators.

It has met a GPU once, where it failed in its first test; mended since, it runs on PyCUDA 2026.1 without one (packaging/pycuda_bindings.py).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from onnxgpu import dlpack
from onnxgpu.errors import NotImplemented, OnnxGpuError
from onnxgpu.host_provider import host_array
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.cuda.copies import Copies
from onnxgpu.providers.cuda.failures import told
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.cuda.pycuda_driver import Context, PycudaMemory, PycudaStreams, PycudaTransport, context, driver, dropped_within

_KDL_CUDA = 2
_ENABLED_ALREADY = "peer access is already enabled"


class PycudaDevice(Gpu):
    """Its arrays are PyCUDA's `GPUArray`s, dense in C order, of any element type that NumPy or ml_dtypes has."""

    @property
    def context(self) -> Context:
        """The device's primary context."""
        return context(self.index)

    def check(self) -> None:
        """See `Gpu`."""
        _ = self.context

    def identity(self) -> tuple[str, int]:
        """See `Gpu`."""
        major, minor = self.context.device.compute_capability()
        return str(self.context.device.name()), 10 * int(major) + int(minor)

    def current(self) -> AbstractContextManager[None]:
        """See `Gpu`."""
        return self.context

    def current_stream(self) -> int:
        """See `Gpu`; PyCUDA captures no graphs."""
        return int(self._streams.compute.ptr)

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `Gpu`."""
        return self._over(self.pointer(memory) + offset, spec, memory)

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `Gpu`."""
        from pycuda.gpuarray import GPUArray

        if not (isinstance(first, GPUArray) and isinstance(second, GPUArray) and first.size and second.size):
            return False
        one, other = self.pointer(first), self.pointer(second)
        return one < other + int(second.nbytes) and other < one + int(first.nbytes)

    def synchronize(self) -> None:
        """See `Gpu`."""
        with self._explained("waiting for the device"):
            driver().Context.synchronize()

    def reaches(self, other: Gpu) -> bool:
        """See `Gpu`."""
        if not isinstance(other, PycudaDevice):
            return False
        pairs = ((self, other), (other, self))
        if not all(one.context.device.can_access_peer(peer.context.device) for one, peer in pairs):
            return False
        return all(one._enable_access_to(peer) for one, peer in pairs)

    def pointer(self, array: Array) -> int:
        """See `Gpu`; 0 for an array without elements."""
        return int(array.ptr) if array.gpudata is not None else 0

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """See `Gpu`."""
        return self._over(pointer, spec, owner)

    def dense(self, array: Array) -> Array:
        """See `Gpu`.

        Raises:
            NotImplemented: it is not; there is no kernel that would copy it.
        """
        if not array.flags.c_contiguous:
            raise NotImplemented(f"{self._name} without CuPy takes only arrays that are dense in C order; copy the array first")
        return array

    def copied(self, array: Array) -> Array:
        """See `Gpu`."""
        made = self.allocate(Spec(tuple(array.shape), array.dtype))
        self.copy_here(made, array)
        return made

    def copy_here(self, target: Array, source: Array) -> None:
        """See `Gpu`."""
        if target.nbytes:
            driver().memcpy_dtod_async(self.dense(target).ptr, self.dense(source).ptr, target.nbytes, self._streams.compute.raw)

    def to_dlpack(self, array: Array) -> object:
        """See `Gpu`."""
        there = host_array(self.pointer(array), Spec(tuple(array.shape), array.dtype), array)  # which nobody reads
        return dlpack.export(there, (_KDL_CUDA, self.index))

    def wait_for_stream(self, stream: int) -> None:
        """See `Gpu`; PyCUDA waits for no stream that it did not make, but for the whole device."""
        if stream not in (1, 2):
            self.synchronize()

    def explained(self, error: Exception, what: str) -> OnnxGpuError:
        """See `Gpu`."""
        return told(error, what, is_of_memory=isinstance(error, driver().MemoryError), memory=self.memory_statistics)

    def _enable_access_to(self, peer: PycudaDevice) -> bool:
        with self.context:
            try:
                driver().Context.enable_peer_access(peer.context.raw)
            except driver().Error as error:
                if _ENABLED_ALREADY not in str(error):
                    self._tell_no_access(peer, error)
                    return False
        return True

    def _over(self, pointer: int, spec: Spec, owner: object) -> Array:
        from pycuda.gpuarray import GPUArray

        with self.context:
            return GPUArray(spec.shape, spec.dtype, base=owner, gpudata=pointer)

    def _new(self, spec: Spec) -> Array:
        memory = self._pool.allocate(spec.nbytes) if spec.nbytes else None
        return self._over(memory.pointer if memory else 0, spec, memory)

    def _copy_from(self, target: Array, source: Array, other: Gpu, stream: Any) -> None:
        driver().memcpy_dtod_async(target.ptr, source.ptr, target.nbytes, stream.raw)  # PyCUDA's memcpy_peer_async ignores its contexts

    def _upload_strided(self, target: Array, source: np.ndarray) -> None:
        self.dense(target)

    @property
    def _pool(self) -> PycudaMemory:
        memory = self._memory
        assert isinstance(memory, PycudaMemory)
        return memory

    def _made_streams(self) -> PycudaStreams:
        return PycudaStreams(self.context, self._options)

    def _made_memory(self) -> PycudaMemory:
        return PycudaMemory(self.context, self._options)

    def _made_copies(self) -> Copies:
        copies = Copies(PycudaTransport(self.context), self._streams)
        dropped_within(self.context, copies, copies.in_flight)
        return copies
