"""One NVIDIA GPU as the providers of a session see it: its arrays, memory and streams, whichever library has them."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from onnxgpu.errors import OnnxGpuError
from onnxgpu.log import logger
from onnxgpu.provider import Array, Spec, Work
from onnxgpu.providers.cuda import peers, weights
from onnxgpu.providers.cuda.capture import is_going_on
from onnxgpu.providers.cuda.copies import Copies
from onnxgpu.providers.cuda.memory import MemoryStatistics
from onnxgpu.providers.cuda.streams import Streams

_making = threading.RLock()


class _made_once(cached_property[Any]):  # noqa: N801  used as a decorator
    """As `cached_property`, made by one thread."""

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        with _making:
            return super().__get__(instance, owner)


class Pool(Protocol):
    """Where arrays on one device get their memory."""

    def used(self) -> AbstractContextManager[None]:
        """Arrays that this thread makes on the device lie in this memory."""

    def statistics(self) -> MemoryStatistics:
        """What there is now."""


class _Launching(threading.local):
    """The devices whose streams and memory the calling thread uses now; arrays are made at once on the only one of them."""

    def __init__(self) -> None:
        self.devices: dict[int, Gpu] = {}
        self.only: Gpu | None = None


_launching = _Launching()


class Gpu(ABC):
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

    @abstractmethod
    def check(self) -> None:
        """Raise `InvalidArgument` if this machine does not have so many devices."""

    @abstractmethod
    def identity(self) -> tuple[str, int]:
        """The GPU's name and its compute capability, 90 for 9.0."""

    @abstractmethod
    def current(self) -> AbstractContextManager[None]:
        """The device is CUDA's current one for the calling thread."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """On the device's compute stream, and in its memory: while kernels are built."""
        with self._streams, self._memory.used():
            yield

    @abstractmethod
    def current_stream(self) -> int:
        """The address of the stream that the calling thread launches on, a capture's while there is one."""

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
        """None where the library has no CUDA graphs."""
        return None

    def allocate(self, spec: Spec) -> Array:
        """New memory."""
        try:
            if _launching.only is self or is_going_on():
                array = self._new(spec)
            else:
                with self._streams, self._memory.used():
                    array = self._new(spec)
        except Exception as error:
            raise self.explained(error, f"allocating {spec.nbytes:,} bytes on {self._name}") from error
        self._copies.note_new_memory()
        return array

    @abstractmethod
    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """An array over bytes of `memory`."""

    def upload(self, array: np.ndarray) -> Array:
        """A host array, copied to the device."""
        target = self.allocate(Spec(array.shape, array.dtype))
        self.copy_into(target, array)
        return target

    def upload_constant(self, array: np.ndarray) -> Array:
        """Constants that several sessions have lie on the device once."""
        return weights.shared(array, self.index, self.upload, self._read)

    def download(self, array: Array) -> np.ndarray:
        """An array, copied to the host."""
        result = np.empty(array.shape, array.dtype)
        self.download_into(result, array)
        return result

    def download_later(self, array: Array) -> np.ndarray:
        """As `download`, but the elements are there only after `settle`."""
        with self._explained(f"copying {array.nbytes:,} bytes to the host"):
            result: np.ndarray = self._copies.download_later(self.dense(array), array.dtype)
        return result

    def settle(self) -> None:
        """Wait for what this thread asked of `download_later`."""
        with self._explained("copying outputs to the host"):
            self._copies.settle()

    @abstractmethod
    def shares_memory(self, first: Array, second: Array) -> bool:
        """True if writing into one array may change the other."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything that was launched is done."""

    def copy_into(self, target: Array, source: Array) -> None:
        """Copy the elements of `source`, here or on the host, into `target`."""
        self._copy_into(target, source, unused=False)

    def upload_into(self, target: Array, source: np.ndarray) -> None:
        """As `copy_into` from the host, where nothing that was launched uses the memory of `target`."""
        self._copy_into(target, source, unused=True)

    @abstractmethod
    def reaches(self, other: Gpu) -> bool:
        """True if elements come from `other` without the host; the two then access each other's memory."""

    def copy_across(self, target: Array, source: Array, other: Gpu) -> None:
        """Copy the elements of `source`, on `other`, into `target`, a dense array here."""
        if not target.nbytes:
            return
        what = f"copying {target.nbytes:,} bytes from {other._name} to {self._name}"
        with other._explained(what), self._explained(what):
            with other._streams:
                origin = other.dense(source)
            peers.in_order(lambda stream: self._copy_from(target, origin, other, stream), self._streams, other._streams)
            if not self._is_launching():
                self._streams.synchronize()

    def index_at(self, pointer: int) -> int:
        """The number of the device that has the memory at an address; this one's where the library cannot tell."""
        return self.index

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """Copy the elements of `source` into a host array."""
        with self._explained(f"copying {target.nbytes:,} bytes to the host"):
            self._copies.download(self._bits(target), self.dense(source))

    @abstractmethod
    def pointer(self, array: Array) -> int:
        """The address of the first element."""

    @abstractmethod
    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """A dense array over memory of the device that is another's."""

    @abstractmethod
    def dense(self, array: Array) -> Array:
        """The array as kernels of libraries want it, with its elements in C order; a copy if it is not."""

    @abstractmethod
    def copied(self, array: Array) -> Array:
        """A copy of a dense array in new memory, made on the stream that the calling thread launches on."""

    @abstractmethod
    def copy_here(self, target: Array, source: Array) -> None:
        """Copy an array of the device into another one, on the stream that the calling thread launches on."""

    @abstractmethod
    def to_dlpack(self, array: Array) -> object:
        """A DLPack capsule, without a copy."""

    def memory_available(self) -> int | None:
        """Bytes that can still be allocated, about."""
        return self.memory_statistics().available

    @abstractmethod
    def wait_for_stream(self, stream: int) -> None:
        """A `cudaStream_t`; 1 and 2 are CUDA's default streams, for which the device's own waits by itself."""

    def memory_statistics(self) -> MemoryStatistics:
        """Bytes used, held and left."""
        pool: Pool = self._memory
        return pool.statistics()

    @abstractmethod
    def explained(self, error: Exception, what: str) -> OnnxGpuError:
        """What the library raised as onnxgpu's own error, with what was being done, and what to do about it."""

    def _copy_into(self, target: Array, source: Array, *, unused: bool) -> None:
        origin = self._bits(source)
        with self._explained(f"copying {target.nbytes:,} bytes"):
            if not isinstance(origin, np.ndarray):
                self.copy_here(target, source)
            elif target.flags.c_contiguous:
                self._copies.upload(self._bits(target), origin, unused=unused)
            else:
                self._upload_strided(target, origin)
            if not self._is_launching():
                self._streams.synchronize()  # who reads it next has streams of its own

    def _read(self, array: Array, start: int, count: int) -> np.ndarray:
        return self.download(self.view(array, start, Spec((count,), np.dtype(np.uint8))))

    def _tell_no_access(self, other: Gpu, error: Exception) -> None:
        """Log why the two do not copy directly, though CUDA says that they could: a GPU may have so many peers and no more."""
        logger.warning("%s cannot access the memory of %s, so copies between them go through the host: %s", self._name, other._name, error)

    def _is_launching(self) -> bool:
        return _launching.devices.get(self.index) is self

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """On the device's streams; what fails is explained."""
        try:
            with self._streams:
                yield
        except Exception as error:
            raise self.explained(error, f"{what} on {self._name}") from error

    @_made_once
    def _streams(self) -> Streams:
        return self._made_streams()

    @_made_once
    def _memory(self) -> Pool:
        return self._made_memory()

    @_made_once
    def _copies(self) -> Copies:
        return self._made_copies()

    @abstractmethod
    def _made_streams(self) -> Streams: ...

    @abstractmethod
    def _made_memory(self) -> Pool: ...

    @abstractmethod
    def _made_copies(self) -> Copies: ...

    @abstractmethod
    def _new(self, spec: Spec) -> Array: ...

    @abstractmethod
    def _copy_from(self, target: Array, source: Array, other: Gpu, stream: Any) -> None:
        """Copy dense elements from another device, on a stream of this one."""

    @abstractmethod
    def _upload_strided(self, target: Array, source: np.ndarray) -> None:
        """Copy from the host into an array whose elements are not in C order."""

    def _bits(self, array: Array) -> Array:
        """The array with elements of a type that the library has, of the same memory."""
        return array
