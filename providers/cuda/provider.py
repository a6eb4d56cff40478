"""CUDAExecutionProvider: one NVIDIA GPU, or the emulated device, through CuPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from onnxgpu.dlpack import relabelled
from onnxgpu.dtypes import code_of, name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.libraries import first_missing, python_package
from onnxgpu.provider import Array, Claim, DeviceMemory, Library, Operation, Place, Provider, Refusal, Spec, bytes_moved
from onnxgpu.providers.cuda import device, narrow
from onnxgpu.providers.cuda import operators as operators
from onnxgpu.providers.cuda.failures import translated
from onnxgpu.providers.cuda.kernel import CupyKernel
from onnxgpu.providers.cuda.libraries import found
from onnxgpu.providers.cuda.libraries.selection import Selection
from onnxgpu.providers.cuda.limits import limit
from onnxgpu.providers.cuda.narrow import bits_of, is_narrow, stored_dtype, typed
from onnxgpu.providers.cuda.registry import REGISTRY

_LAST_ELEMENT_TYPE = 26
"""ONNX's number of int2: CuPy, or `narrow.NarrowArray`, has arrays of the types up to it, and none of 6-bit floats."""


_BODY_HOST = {"Loop": {"body": ((0, 1), (0,))}}
"""A loop's iteration number and condition are the host's; what it carries from one iteration to the next stays on the device."""


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

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return REGISTRY.domains()

    def claim(self, operation: Operation) -> Claim | Refusal:
        """Every operator of `array_ops` on tensors of numbers."""
        reason = _refusal(operation) or limit(operation)
        if reason is not None:
            return Refusal(reason)
        claim = narrow.claim(REGISTRY, self._cupy, operation)
        if isinstance(claim, Refusal):
            return claim
        claim = self._selection.preferred(operation, claim)
        return replace(claim, build=lambda: self._built(claim, operation), body_host=_BODY_HOST.get(operation.operator, {}))

    def cost(self, operation: Operation) -> float:
        """A launch and the traffic of its arrays, on a GPU of 1 TB/s."""
        return 5e-6 + bytes_moved(operation) / 1e12

    def allocate(self, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        try:
            with self._device:
                return typed(self._cupy.empty(spec.shape, stored_dtype(spec.dtype)), spec.dtype)
        except Exception as error:
            raise translated(error, f"allocating {spec.nbytes:,} bytes on {self.place}", self._cupy) from error

    def view(self, memory: Array, offset: int, spec: Spec) -> Array:
        """See `onnxgpu.provider.Provider`."""
        return self._over(memory.data + offset, spec)

    def upload(self, array: np.ndarray) -> Array:
        """See `onnxgpu.provider.Provider`."""
        try:
            with self._device:
                return typed(self._cupy.asarray(bits_of(array), order="C"), array.dtype)
        except Exception as error:
            raise translated(error, f"copying {array.nbytes:,} bytes to {self.place}", self._cupy) from error

    def download(self, array: Array) -> np.ndarray:
        """See `onnxgpu.provider.Provider`."""
        try:
            with self._device:
                result: np.ndarray = self._cupy.asnumpy(bits_of(array), order="C")
        except Exception as error:
            raise translated(error, f"copying {array.nbytes:,} bytes from {self.place}", self._cupy) from error
        return result.view(array.dtype) if is_narrow(array.dtype) else result

    def shares_memory(self, first: Array, second: Array) -> bool:
        """See `onnxgpu.provider.Provider`."""
        first, second = bits_of(first), bits_of(second)
        ndarray = self._cupy.ndarray
        return isinstance(first, ndarray) and isinstance(second, ndarray) and bool(self._cupy.may_share_memory(first, second))

    def synchronize(self) -> None:
        """See `onnxgpu.provider.Provider`."""
        try:
            self._device.synchronize()
        except Exception as error:
            raise translated(error, f"waiting for {self.place}", self._cupy) from error

    def copy_into(self, target: Array, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        try:
            with self._device:
                if isinstance(source, np.ndarray):
                    bits_of(target).set(bits_of(source))
                else:
                    self._cupy.copyto(bits_of(target), bits_of(source))
        except Exception as error:
            raise translated(error, f"copying {target.nbytes:,} bytes on {self.place}", self._cupy) from error

    def download_into(self, target: np.ndarray, source: Array) -> None:
        """See `onnxgpu.provider.Provider`."""
        try:
            with self._device:
                bits_of(source).get(out=bits_of(target))
        except Exception as error:
            raise translated(error, f"copying {target.nbytes:,} bytes from {self.place}", self._cupy) from error

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
        return Selection(self._cupy, self.place.index, self.options)

    def _built(self, claim: Claim, operation: Operation) -> CupyKernel:
        with self._device:
            return CupyKernel(claim.build(), self._cupy, self._device, operation)


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
