"""A GPU, or the emulated device, through CuPy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from onnxgpu.dlpack import relabelled
from onnxgpu.errors import OnnxGpuError
from onnxgpu.provider import Array, Spec, Work
from onnxgpu.providers.cuda import device
from onnxgpu.providers.cuda.capture import going_on
from onnxgpu.providers.cuda.copies import Copies
from onnxgpu.providers.cuda.failures import translated
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.cuda.kernels import dense
from onnxgpu.providers.cuda.memory import Memory
from onnxgpu.providers.cuda.narrow import bits_of, is_narrow, stored_dtype, typed
from onnxgpu.providers.cuda.recorder import Recorder
from onnxgpu.providers.cuda.streams import Streams, UserStream
from onnxgpu.providers.cuda.strided import copy

_ENABLED_ALREADY = "PeerAccessAlreadyEnabled"
_enabled = set[tuple[int, int]]()
"""Devices, and whose memory they access: asked for a second time, CUDA keeps an error that others would find."""


class CupyDevice(Gpu):
    """Its arrays are CuPy's; those of 8-, 4- and 2-bit types are `NarrowArray`s."""

    @cached_property
    def cupy(self) -> Any:
        """The module, imported when the first session needs it."""
        return device.cupy()

    @cached_property
    def handle(self) -> Any:
        """The `cupy.cuda.Device`.

        Raises:
            InvalidArgument: this machine does not have so many.
        """
        device.check_number(self.index, device.device_count())
        return self.cupy.cuda.Device(self.index)

    def check(self) -> None:
        """See `Gpu`."""
        _ = self.handle

    def identity(self) -> tuple[str, int]:
        """See `Gpu`."""
        return self.cupy.cuda.runtime.getDeviceProperties(self.index)["name"].decode(), int(self.handle.compute_capability)

    def current(self) -> AbstractContextManager[None]:
        """See `Gpu`."""
        handle: AbstractContextManager[None] = self.handle
        return handle

    def current_stream(self) -> int:
        """See `Gpu`."""
        return int(self.cupy.cuda.get_current_stream(self.index).ptr)

    def recorder(self) -> Callable[[Work], Work | None] | None:
        """Of CUDA graphs; unless they were asked for, only while no other thread can wait for the whole device: CUDA would refuse it."""
        wanted = self._options.get("enable_cuda_graph")
        if not wanted and (wanted is not None or (threading.active_count() > 1 and device.has_other_users())):
            return None
        return Recorder(self.cupy, self.handle, self._cupy_memory).record

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `Gpu`."""
        return self._over(memory.data + offset, spec)

    def upload_constant(self, array: np.ndarray) -> Array:
        """See `Gpu`."""
        return typed(super().upload_constant(bits_of(array)), array.dtype)

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `Gpu`."""
        first, second = bits_of(first), bits_of(second)
        ndarray = self.cupy.ndarray
        return isinstance(first, ndarray) and isinstance(second, ndarray) and bool(self.cupy.may_share_memory(first, second))

    def synchronize(self) -> None:
        """See `Gpu`."""
        with self._explained("waiting for the device"), going_on:
            self.handle.synchronize()

    def reaches(self, other: Gpu) -> bool:
        """See `Gpu`."""
        if not isinstance(other, CupyDevice):
            return False
        runtime = self.cupy.cuda.runtime
        pairs = ((self, other), (other, self))
        if not all(runtime.deviceCanAccessPeer(one.index, peer.index) for one, peer in pairs):
            return False
        return all((one.index, peer.index) in _enabled or one._enable_access_to(peer) for one, peer in pairs)

    def index_at(self, pointer: int) -> int:
        """See `Gpu`."""
        found = int(self.cupy.cuda.runtime.pointerGetAttributes(pointer).device)
        return found if found >= 0 else self.index

    def pointer(self, array: Array) -> int:
        """See `Gpu`."""
        return int(bits_of(array).data.ptr)

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """See `Gpu`."""
        memory = self.cupy.cuda.UnownedMemory(pointer, spec.nbytes, owner, self.index)
        return self._over(self.cupy.cuda.MemoryPointer(memory, 0), spec)

    def dense(self, array: Array) -> Array:
        """See `Gpu`."""
        return dense(self.cupy, bits_of(array))

    def copied(self, array: Array) -> Array:
        """See `Gpu`."""
        return typed(bits_of(array).copy(), array.dtype)

    def copy_here(self, target: Array, source: Array) -> None:
        """See `Gpu`."""
        copy(bits_of(target), bits_of(source))

    def to_dlpack(self, array: Array) -> object:
        """See `Gpu`."""
        capsule: object = bits_of(array).__dlpack__()
        return relabelled(capsule, array.dtype) if is_narrow(array.dtype) else capsule

    def wait_for_stream(self, stream: int) -> None:
        """See `Gpu`."""
        if stream not in (1, 2):
            self.cupy.cuda.Stream.from_external(UserStream(stream)).synchronize()

    def explained(self, error: Exception, what: str) -> OnnxGpuError:
        """See `Gpu`."""
        return translated(error, what, self.cupy, self.memory_statistics)

    def _enable_access_to(self, peer: Gpu) -> bool:
        runtime = self.cupy.cuda.runtime
        try:
            with self.handle:
                runtime.deviceEnablePeerAccess(peer.index)
        except runtime.CUDARuntimeError as error:  # CuPy or another library may have done it
            if _ENABLED_ALREADY not in str(error):
                self._tell_no_access(peer, error)
                return False
        _enabled.add((self.index, peer.index))
        return True

    def _over(self, pointer: Any, spec: Spec) -> Array:
        return typed(self.cupy.ndarray(spec.shape, stored_dtype(spec.dtype), memptr=pointer), spec.dtype)

    def _new(self, spec: Spec) -> Array:
        return typed(self.cupy.ndarray(spec.shape, stored_dtype(spec.dtype)), spec.dtype)

    def _copy_from(self, target: Array, source: Array, other: Gpu, stream: Any) -> None:
        addresses = (self.pointer(target), self.index, other.pointer(source), other.index)
        self.cupy.cuda.runtime.memcpyPeerAsync(*addresses, target.nbytes, stream.ptr)

    def _upload_strided(self, target: Array, source: np.ndarray) -> None:
        bits_of(target).set(source)

    def _bits(self, array: Array) -> Array:
        return bits_of(array)

    def _made_streams(self) -> Streams:
        return Streams(
            self.cupy,
            self.handle,
            int(self._options.get("user_compute_stream", 0)),
            copies_apart=not self._options.get("do_copy_in_default_stream", False),
        )

    @cached_property
    def _cupy_memory(self) -> Memory:
        return Memory(self.cupy, self.handle, self._options)

    def _made_memory(self) -> Memory:
        return self._cupy_memory

    def _made_copies(self) -> Copies:
        return Copies(_Transport(self.cupy), self._streams)


class _Transport:
    """See `onnxgpu.providers.cuda.copies.Transport`."""

    is_lending = True

    def __init__(self, module: Any) -> None:
        self._module = module

    def pinned(self, nbytes: int) -> np.ndarray:
        """See `onnxgpu.providers.cuda.copies.Transport`."""
        return np.frombuffer(self._module.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes)

    def to_device(self, target: Any, source: np.ndarray, stream: Any) -> None:
        """See `onnxgpu.providers.cuda.copies.Transport`."""
        target.data.copy_from_host_async(source.ctypes.data, source.nbytes, stream)

    def to_host(self, target: np.ndarray, source: Any, stream: Any) -> None:
        """See `onnxgpu.providers.cuda.copies.Transport`."""
        source.data.copy_to_host_async(target.ctypes.data, target.nbytes, stream)
