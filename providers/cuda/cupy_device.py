"""One NVIDIA GPU, or the emulated device, through CuPy: its arrays, memory and streams, for all providers of a session that work there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from onnxgpu.dlpack import relabelled
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec, Work
from onnxgpu.providers.cuda import device, peers, weights
from onnxgpu.providers.cuda.capture import going_on
from onnxgpu.providers.cuda.copies import Copies
from onnxgpu.providers.cuda.failures import translated
from onnxgpu.providers.cuda.kernels import dense
from onnxgpu.providers.cuda.memory import Memory, MemoryStatistics
from onnxgpu.providers.cuda.narrow import bits_of, is_narrow, stored_dtype, typed
from onnxgpu.providers.cuda.recorder import Recorder
from onnxgpu.providers.cuda.streams import Streams, UserStream
from onnxgpu.providers.cuda.strided import copy


class _Launching(threading.local):
    """The devices whose streams and memory the calling thread uses now; arrays are made at once on the only one of them."""

    def __init__(self) -> None:
        self.devices: dict[int, CupyDevice] = {}
        self.only: CupyDevice | None = None


_launching = _Launching()


class CupyDevice:
    """What a provider with memory on a GPU has to do with it; the methods that `onnxgpu.provider.Provider` has too are described there.

    Args:
        index: the device's number.
        options: those of the providers that share it: `gpu_mem_limit`, `arena_extend_strategy`, `user_compute_stream`,
            `do_copy_in_default_stream`, `enable_cuda_graph`.
    """

    def __init__(self, index: int, options: Mapping[str, Any]) -> None:
        self.index, self._options = index, options
        self._name = f"cuda:{index}"
        self._is_loose = False
        """A run ended that nobody waited for, so that copies of the next have to."""

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
        count = device.device_count()
        if not 0 <= self.index < count:
            raise InvalidArgument(f"option 'device_id' is {self.index}; this machine has {count} CUDA devices, counted from 0")
        return self.cupy.cuda.Device(self.index)

    def check(self) -> None:
        """Raise `InvalidArgument` if this machine does not have so many devices."""
        _ = self.handle

    @contextmanager
    def working(self) -> Iterator[None]:
        """On the device's compute stream, and in its memory: while kernels are built."""
        with self._streams, self._memory.used():
            yield

    def current_stream(self) -> int:
        """The address of the stream that the calling thread launches on, a capture's while there is one."""
        return int(self.cupy.cuda.get_current_stream(self.index).ptr)

    @contextmanager
    def launching(self) -> Iterator[None]:
        """On the device's streams, and in its memory."""
        before, outer = _launching.devices, _launching.only
        _launching.devices = {**before, self.index: self}
        _launching.only = self if len(_launching.devices) == 1 else None
        with self._streams, self._memory.used():
            if self._is_loose:
                self._streams.copies_follow()
            self._is_loose = not self._streams.are_own
            try:
                yield
            except BaseException:
                self._copies.abandon()
                self._is_loose = True
                raise
            finally:
                _launching.devices, _launching.only = before, outer

    def completed(self) -> None:
        """Nobody else knows the streams, unless the user gave one."""
        if self._streams.are_own:
            with self._explained("waiting for outputs"):
                self._streams.synchronize()

    def recorder(self) -> Callable[[Work], Work | None] | None:
        """Of CUDA graphs; unless they were asked for, only while no other thread can wait for the whole device: CUDA would refuse it."""
        wanted = self._options.get("enable_cuda_graph")
        if not wanted and (wanted is not None or (threading.active_count() > 1 and device.has_other_users())):
            return None
        return Recorder(self.cupy, self.handle, self._memory).record

    def allocate(self, spec: Spec) -> Array:
        """New memory."""
        try:
            if _launching.only is self:
                array = self._new(spec)
            else:
                with self._streams, self._memory.used():
                    array = self._new(spec)
        except Exception as error:
            raise translated(error, f"allocating {spec.nbytes:,} bytes on {self._name}", self.cupy, self._memory.statistics) from error
        self._copies.note_new_memory()
        return array

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """An array over bytes of `memory`."""
        return self._over(memory.data + offset, spec)

    def upload(self, array: np.ndarray) -> Array:
        """A host array, copied to the device."""
        target = self.allocate(Spec(array.shape, array.dtype))
        self.copy_into(target, array)
        return target

    def upload_constant(self, array: np.ndarray) -> Array:
        """Constants that several sessions have lie on the device once."""
        bits = bits_of(array)
        return typed(weights.shared(bits, self.index, self.upload, self.download), array.dtype)

    def download(self, array: Array) -> np.ndarray:
        """An array, copied to the host."""
        result = np.empty(array.shape, array.dtype)
        self.download_into(result, array)
        return result

    def download_later(self, array: Array) -> np.ndarray:
        """As `download`, but the elements are there only after `settle`."""
        result = np.empty(array.shape, array.dtype)
        with self._explained(f"copying {result.nbytes:,} bytes to the host"):
            self._copies.download_later(bits_of(result), dense(self.cupy, bits_of(array)))
        return result

    def settle(self) -> None:
        """Wait for what this thread asked of `download_later`."""
        with self._explained("copying outputs to the host"):
            self._copies.settle()

    def shares_memory(self, first: Array, second: Array) -> bool:
        """True if writing into one array may change the other."""
        first, second = bits_of(first), bits_of(second)
        ndarray = self.cupy.ndarray
        return isinstance(first, ndarray) and isinstance(second, ndarray) and bool(self.cupy.may_share_memory(first, second))

    def synchronize(self) -> None:
        """Wait until everything that was launched is done."""
        with self._explained("waiting for the device"), going_on:
            self.handle.synchronize()

    def copy_into(self, target: Array, source: Array) -> None:
        """Copy the elements of `source`, here or on the host, into `target`."""
        self._copy_into(target, source, unused=False)

    def upload_into(self, target: Array, source: np.ndarray) -> None:
        """As `copy_into` from the host, where nothing that was launched uses the memory of `target`."""
        self._copy_into(target, source, unused=True)

    def reaches(self, other: CupyDevice) -> bool:
        """True if elements come from `other` without the host; the two then access each other's memory."""
        return peers.reach_each_other(self.cupy, self.handle, other.handle)

    def copy_across(self, target: Array, source: Array, other: CupyDevice) -> None:
        """Copy the elements of `source`, on `other`, into `target`, a dense array here."""
        with other._explained(f"copying {target.nbytes:,} bytes to {self._name}"), self._explained(f"copying {target.nbytes:,} bytes"):
            peers.copy(self.cupy, bits_of(target), self._streams, bits_of(source), other._streams)
            if not self._is_launching():
                self._streams.synchronize()

    def index_at(self, pointer: int) -> int:
        """The number of the device that has the memory at an address."""
        found = int(self.cupy.cuda.runtime.pointerGetAttributes(pointer).device)
        return found if found >= 0 else self.index

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """Copy the elements of `source` into a host array."""
        with self._explained(f"copying {target.nbytes:,} bytes to the host"):
            self._copies.download(bits_of(target), dense(self.cupy, bits_of(source)))

    def pointer(self, array: Array) -> int:
        """The address of the first element."""
        return int(bits_of(array).data.ptr)

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """A dense array over memory of the device that is another's."""
        memory = self.cupy.cuda.UnownedMemory(pointer, spec.nbytes, owner, self.index)
        return self._over(self.cupy.cuda.MemoryPointer(memory, 0), spec)

    def to_dlpack(self, array: Array) -> object:
        """A DLPack capsule, without a copy."""
        capsule: object = bits_of(array).__dlpack__()
        return relabelled(capsule, array.dtype) if is_narrow(array.dtype) else capsule

    def memory_available(self) -> int | None:
        """Bytes that can still be allocated, about."""
        return self._memory.statistics().available

    def wait_for_stream(self, stream: int) -> None:
        """A `cudaStream_t`; 1 and 2 are CUDA's default streams, for which the device's own waits by itself."""
        if stream not in (1, 2):
            self.cupy.cuda.Stream.from_external(UserStream(stream)).synchronize()

    def memory_statistics(self) -> MemoryStatistics:
        """Bytes used, held and left."""
        return self._memory.statistics()

    def _copy_into(self, target: Array, source: Array, *, unused: bool) -> None:
        to, origin = bits_of(target), bits_of(source)
        with self._explained(f"copying {target.nbytes:,} bytes"):
            if not isinstance(origin, np.ndarray):
                copy(to, origin)
            elif to.flags.c_contiguous:
                self._copies.upload(to, origin, unused=unused)
            else:
                to.set(origin)
            if not self._is_launching():
                self._streams.synchronize()  # who reads it next has streams of its own

    def _is_launching(self) -> bool:
        return _launching.devices.get(self.index) is self

    def _new(self, spec: Spec) -> Array:
        return typed(self.cupy.ndarray(spec.shape, stored_dtype(spec.dtype)), spec.dtype)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """On the device's streams; what fails is explained."""
        try:
            with self._streams:
                yield
        except Exception as error:
            raise translated(error, f"{what} on {self._name}", self.cupy, self._memory.statistics) from error

    def _over(self, pointer: Any, spec: Spec) -> Array:
        return typed(self.cupy.ndarray(spec.shape, stored_dtype(spec.dtype), memptr=pointer), spec.dtype)

    @cached_property
    def _streams(self) -> Streams:
        return Streams(
            self.cupy,
            self.handle,
            int(self._options.get("user_compute_stream", 0)),
            copies_apart=not self._options.get("do_copy_in_default_stream", False),
        )

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self.cupy, self.handle, self._options)

    @cached_property
    def _copies(self) -> Copies:
        return Copies(self.cupy, self._streams)
