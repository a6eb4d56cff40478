"""CUDAExecutionProvider: one NVIDIA GPU, or the emulated device, through CuPy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onnxgpu.dlpack import relabelled
from onnxgpu.dtypes import code_of, name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.libraries import first_missing, python_package
from onnxgpu.provider import Array, Claim, DeviceMemory, Library, Operation, Place, Provider, Refusal, Spec, Work, bytes_moved
from onnxgpu.providers.cuda import device, narrow, weights
from onnxgpu.providers.cuda.capture import going_on
from onnxgpu.providers.cuda.copies import Copies
from onnxgpu.providers.cuda.failures import translated
from onnxgpu.providers.cuda.kernel import CupyKernel
from onnxgpu.providers.cuda.kernels import dense
from onnxgpu.providers.cuda.libraries import found
from onnxgpu.providers.cuda.memory import Memory, MemoryStatistics
from onnxgpu.providers.cuda.narrow import bits_of, is_narrow, stored_dtype, typed
from onnxgpu.providers.cuda.recorder import Recorder
from onnxgpu.providers.cuda.registry import REGISTRY
from onnxgpu.providers.cuda.streams import Streams, UserStream
from onnxgpu.providers.cuda.strided import copy

if TYPE_CHECKING:
    from onnxgpu.operators import Registry
    from onnxgpu.providers.cuda.libraries.selection import Selection

_LAST_ELEMENT_TYPE = 26
"""ONNX's number of int2: CuPy, or `narrow.NarrowArray`, has arrays of the types up to it, and none of 6-bit floats."""


_BODY_HOST = {"Loop": {"body": ((0, 1), (0,))}}
"""A loop's iteration number and condition are the host's; what it carries from one iteration to the next stays on the device."""


class _Innermost(threading.local):
    """The provider whose streams and memory the calling thread uses now, while it launches."""

    provider: CUDAProvider | None = None


_innermost = _Innermost()


class CUDAProvider(Provider):
    """Operators of `array_ops` on one GPU, through CuPy."""

    name: ClassVar[str] = "CUDAExecutionProvider"
    preference: ClassVar[int] = 20
    memory: ClassVar[DeviceMemory] = DeviceMemory("Cuda", device_type=1, vendor_id=0x10DE, dlpack_type=2)
    option_types: ClassVar[Mapping[str, type]] = {
        "arena_extend_strategy": str,
        "cudnn_conv1d_pad_to_nc1d": bool,
        "cudnn_conv_algo_search": str,
        "cudnn_conv_use_max_workspace": bool,
        "device_id": int,
        "do_copy_in_default_stream": bool,
        "enable_cublas": bool,
        "enable_cuda_graph": bool,
        "enable_cudnn": bool,
        "external_data_loader_reading_threads": int,
        "fuse_conv_bias": bool,
        "gpu_external_alloc": int,
        "gpu_external_empty_cache": int,
        "gpu_external_free": int,
        "gpu_mem_limit": int,
        "has_user_compute_stream": bool,
        "prefer_nhwc": bool,
        "sdpa_kernel": int,
        "tunable_op_enable": bool,
        "tunable_op_max_tuning_duration_ms": int,
        "tunable_op_tuning_enable": bool,
        "use_ep_level_unified_stream": bool,
        "use_tf32": bool,
        "user_compute_stream": int,
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._thread = threading.local()
        self._is_loose = False
        """A run ended that nobody waited for, so that copies of the next have to."""

    @classmethod
    def libraries(cls) -> Sequence[Library]:
        """See `onnxgpu.provider.Provider`."""
        return (
            device.driver(),
            _cupy_package(),
            python_package("nvmath", ("nvmath-python",), remedy=found.remedy(), needed=False),
            python_package("cudnn", ("nvidia-cudnn-frontend",), remedy=found.remedy(), needed=False),
            *found.shared_libraries(),
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """See `onnxgpu.provider.Provider`."""
        return device.unavailable() or first_missing((_cupy_package(),))

    @property
    def place(self) -> Place:
        """The GPU with the number `device_id`."""
        return Place("cuda", int(self.options.get("device_id", 0)))

    @classmethod
    def option_value(cls, name: str, value: Any) -> Any:
        """A stream may be given as an object with `__cuda_stream__`, which has to live as long as the session."""
        if name == "user_compute_stream" and hasattr(value, "__cuda_stream__"):
            return value.__cuda_stream__()[1]
        return value

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return _operators().domains()

    def claim(self, operation: Operation) -> Claim | Refusal:
        """Every operator of `array_ops` on tensors of numbers."""
        from onnxgpu.providers.cuda.limits import limit

        reason = _refusal(operation) or limit(operation)
        if reason is not None:
            return Refusal(reason)
        claim = narrow.claim(_operators(), self._cupy, operation)
        if isinstance(claim, Refusal):
            return claim
        claim = self._selection.preferred(operation, claim)
        return replace(claim, build=lambda: self._built(claim, operation), body_host=_BODY_HOST.get(operation.operator, {}))

    def cost(self, operation: Operation) -> float:
        """A launch and the traffic of its arrays, on a GPU of 1 TB/s."""
        return 5e-6 + bytes_moved(operation) / 1e12

    @contextmanager
    def launching(self) -> Iterator[None]:
        """On the provider's streams, and in its memory."""
        before, outer = getattr(self._thread, "is_launching", False), _innermost.provider
        self._thread.is_launching, _innermost.provider = True, self
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
                self._thread.is_launching, _innermost.provider = before, outer

    def completed(self) -> None:
        """Nobody else knows the streams, unless the user gave one."""
        if self._streams.are_own:
            with self._explained("waiting for outputs"):
                self._streams.synchronize()

    def recorder(self) -> Callable[[Work], Work | None] | None:
        """Of CUDA graphs; unless they were asked for, only while no other thread can wait for the whole device: CUDA would refuse it."""
        wanted = self.options.get("enable_cuda_graph")
        if not wanted and (wanted is not None or (threading.active_count() > 1 and device.has_other_users())):
            return None
        return Recorder(self._cupy, self._device, self._memory).record

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        try:
            if _innermost.provider is self:
                array = self._new(spec)
            else:
                with self._streams, self._memory.used():
                    array = self._new(spec)
        except Exception as error:
            raise translated(error, f"allocating {spec.nbytes:,} bytes on {self.place}", self._cupy, self._memory.statistics) from error
        self._copies.note_new_memory()
        return array

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self._over(memory.data + offset, spec)

    def upload(self, array: np.ndarray) -> Array:
        """See `onnxgpu.provider.Provider`."""
        target = self.allocate(Spec(array.shape, array.dtype))
        self.copy_into(target, array)
        return target

    def upload_constant(self, array: np.ndarray) -> Array:
        """Constants that several sessions have lie on the device once."""
        bits = bits_of(array)

        return typed(weights.shared(bits, self.place.index, self.upload, self.download), array.dtype)

    def download(self, array: Array) -> np.ndarray:
        """See `onnxgpu.provider.Provider`."""
        result = np.empty(array.shape, array.dtype)
        self.download_into(result, array)
        return result

    def download_later(self, array: Array) -> np.ndarray:
        """See `onnxgpu.provider.Provider`."""
        result = np.empty(array.shape, array.dtype)
        with self._explained(f"copying {result.nbytes:,} bytes to the host"):
            self._copies.download_later(bits_of(result), dense(self._cupy, bits_of(array)))
        return result

    def settle(self) -> None:
        """See `onnxgpu.provider.Provider`."""
        with self._explained("copying outputs to the host"):
            self._copies.settle()

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `onnxgpu.provider.Provider`."""
        first, second = bits_of(first), bits_of(second)
        ndarray = self._cupy.ndarray
        return isinstance(first, ndarray) and isinstance(second, ndarray) and bool(self._cupy.may_share_memory(first, second))

    def synchronize(self) -> None:
        """See `onnxgpu.provider.Provider`."""
        with self._explained("waiting for the device"), going_on:
            self._device.synchronize()

    def copy_into(self, target: Array, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        self._copy_into(target, source, unused=False)

    def upload_into(self, target: Array, source: np.ndarray) -> None:
        """See `onnxgpu.provider.Provider`."""
        self._copy_into(target, source, unused=True)

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        with self._explained(f"copying {target.nbytes:,} bytes to the host"):
            self._copies.download(bits_of(target), dense(self._cupy, bits_of(source)))

    def pointer(self, array: Array) -> int:
        """See `onnxgpu.provider.Provider`."""
        return int(bits_of(array).data.ptr)

    def wrap(self, pointer: int, spec: Spec, owner: object) -> Array:
        """See `onnxgpu.provider.Provider`."""
        memory = self._cupy.cuda.UnownedMemory(pointer, spec.nbytes, owner, self.place.index)
        return self._over(self._cupy.cuda.MemoryPointer(memory, 0), spec)

    def to_dlpack(self, array: Array) -> object:
        """See `onnxgpu.provider.Provider`."""
        capsule: object = bits_of(array).__dlpack__()
        return relabelled(capsule, array.dtype) if is_narrow(array.dtype) else capsule

    def memory_available(self) -> int | None:
        """See `onnxgpu.provider.Provider`."""
        return self._memory.statistics().available

    def wait_for_stream(self, stream: int) -> None:
        """A `cudaStream_t`; 1 and 2 are CUDA's default streams, for which the provider's own waits by itself."""
        if stream not in (1, 2):
            self._cupy.cuda.Stream.from_external(UserStream(stream)).synchronize()

    def memory_statistics(self) -> MemoryStatistics:
        """Bytes used, held and left where this provider allocates; of CuPy's own pool unless `gpu_mem_limit` is set."""
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
            if not getattr(self._thread, "is_launching", False):
                self._streams.synchronize()  # who reads it next has streams of its own

    def _new(self, spec: Spec) -> Array:
        return typed(self._cupy.ndarray(spec.shape, stored_dtype(spec.dtype)), spec.dtype)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """On the provider's streams; what fails is explained."""
        try:
            with self._streams:
                yield
        except Exception as error:
            raise translated(error, f"{what} on {self.place}", self._cupy, self._memory.statistics) from error

    def _over(self, pointer: Any, spec: Spec) -> Array:
        return typed(self._cupy.ndarray(spec.shape, stored_dtype(spec.dtype), memptr=pointer), spec.dtype)

    @cached_property
    def _cupy(self) -> Any:
        return device.cupy()

    @cached_property
    def _device(self) -> Any:
        count, wanted = device.device_count(), self.place.index
        if not 0 <= wanted < count:
            raise InvalidArgument(f"option 'device_id' of {self.name} is {wanted}; this machine has {count} CUDA devices, counted from 0")
        return self._cupy.cuda.Device(wanted)

    @cached_property
    def _selection(self) -> Selection:
        from onnxgpu.providers.cuda.libraries.selection import Selection

        return Selection(self._cupy, self._device.id, self.options)

    @cached_property
    def _streams(self) -> Streams:
        return Streams(
            self._cupy,
            self._device,
            int(self.options.get("user_compute_stream", 0)),
            copies_apart=not self.options.get("do_copy_in_default_stream", False),
        )

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self._cupy, self._device, self.options)

    @cached_property
    def _copies(self) -> Copies:
        return Copies(self._cupy, self._streams)

    def _built(self, claim: Claim, operation: Operation) -> CupyKernel:
        with self._streams, self._memory.used():
            return CupyKernel(claim.build(), self._cupy, self._device, operation, claim.host_inputs)


@cache
def _operators() -> Registry:
    """Those with kernels of our own, loaded when the first session has the provider: every session imports this file."""
    from onnxgpu.providers.cuda import operators  # noqa: F401  registers them

    return REGISTRY


def _cupy_package() -> Library:
    return python_package("cupy", ("cupy-cuda13x", "cupy-cuda12x", "cupy"), remedy=found.remedy())


def _refusal(operation: Operation) -> str | None:
    """Why no operator with these values runs here, whatever it does."""
    for value in (*operation.inputs, *operation.outputs):
        if value is None:
            continue
        if value.dtype is None:
            return f"{value.name!r} is no tensor, or its element type is not known"
        if value.dtype == np.dtype(object):
            return "strings stay on the host"
        if code_of(value.dtype) > _LAST_ELEMENT_TYPE:
            return f"CuPy has no arrays of {name_of(value.dtype)}"
    return None


PROVIDER = CUDAProvider
