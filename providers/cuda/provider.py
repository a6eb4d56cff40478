"""CUDAExecutionProvider: operators on one NVIDIA GPU, or on the emulated device, through CuPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onnxgpu import knobs
from onnxgpu.dtypes import code_of, name_of
from onnxgpu.libraries import Library, first_missing, python_package
from onnxgpu.provider import Claim, Operation, Refusal, bytes_moved
from onnxgpu.providers.cuda import device, narrow
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.device_provider import DeviceProvider, cupy_package, pycuda_package
from onnxgpu.providers.cuda.kernel import CupyKernel
from onnxgpu.providers.cuda.libraries import found
from onnxgpu.providers.cuda.registry import REGISTRY

if TYPE_CHECKING:
    from onnxgpu.operators import Registry
    from onnxgpu.providers.cuda.array_module import ArrayModule
    from onnxgpu.providers.cuda.libraries.selection import Selection

_LAST_ELEMENT_TYPE = 26
"""ONNX's number of int2: CuPy, or `narrow.NarrowArray`, has arrays of the types up to it, and none of 6-bit floats."""


_BODY_HOST = {"Loop": {"body": ((0, 1), (0,))}}
"""A loop's iteration number and condition are the host's; what it carries from one iteration to the next stays on the device."""


class CUDAProvider(DeviceProvider):
    """Operators of `array_ops` on one GPU, through CuPy."""

    name: ClassVar[str] = "CUDAExecutionProvider"
    preference: ClassVar[int] = 20
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
            cupy_package(),
            pycuda_package(needed=False),
            python_package("nvmath", ("nvmath-python",), remedy=found.remedy(), needed=False),
            python_package("cudnn", ("nvidia-cudnn-frontend",), remedy=found.remedy(), needed=False),
            *found.shared_libraries(),
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """See `onnxgpu.provider.Provider`."""
        if device.library() == "pycuda" and cupy_package().found:
            return f"{knobs.CUDA_LIBRARY.name}=pycuda leaves out CuPy, which its operators need; only TensorRT runs without"
        return device.unavailable() or first_missing((cupy_package(),))

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return _operators().domains()

    def claim(self, operation: Operation) -> Claim | Refusal:
        """Every operator of `array_ops` on tensors of numbers."""
        from onnxgpu.providers.cuda.limits import limit

        reason = _refusal(operation) or limit(operation)
        if reason is not None:
            return Refusal(reason)
        claim = self._preferred(operation)
        if isinstance(claim, Refusal):
            return claim
        return replace(claim, build=lambda: self._built(claim, operation), body_host=_BODY_HOST.get(operation.operator, {}))

    def _preferred(self, operation: Operation) -> Claim | Refusal:
        claim = narrow.claim(_operators(), self._arrays, operation)
        return claim if isinstance(claim, Refusal) else self._selection.preferred(operation, claim)

    def cost(self, operation: Operation) -> float:
        """A launch and the traffic of its arrays, on a GPU of 1 TB/s."""
        return 5e-6 + bytes_moved(operation) / 1e12

    @cached_property
    def _arrays(self) -> ArrayModule:
        from onnxgpu.providers.cuda.array_module import ArrayModule

        return ArrayModule(self._cupy_device.cupy, self._preferred)

    @cached_property
    def _selection(self) -> Selection:
        from onnxgpu.providers.cuda.libraries.selection import Selection

        return Selection(self._cupy_device.cupy, self.device.index, self.options)

    def _built(self, claim: Claim, operation: Operation) -> CupyKernel:
        with self.device.working():
            return CupyKernel(claim.build(), self._cupy_device.cupy, self._cupy_device.handle, operation, claim.host_inputs)

    @property
    def _cupy_device(self) -> CupyDevice:
        assert isinstance(self.device, CupyDevice), "the provider is not available without CuPy"
        return self.device


@cache
def _operators() -> Registry:
    """Those with kernels of our own, loaded when the first session has the provider: every session imports this file."""
    from onnxgpu.providers.cuda import operators  # noqa: F401  registers them

    return REGISTRY


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
