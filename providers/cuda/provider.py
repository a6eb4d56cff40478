"""CUDAExecutionProvider: says what it would need and what of it is here.

Version 0.1 of onnxgpu has no CUDA kernels, so the provider never calls itself available; its options are checked all
the same, because a misspelt one is wrong on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from onnxgpu.libraries import first_missing, python_package, shared_library
from onnxgpu.provider import DeviceMemory, Library, Provider


class CUDAProvider(Provider):
    """CuPy, cuBLAS, cuDNN and our own kernels on one NVIDIA GPU."""

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
        packages = "pip install onnxgpu-gpu"
        return (
            shared_library("libcuda.so.1", remedy="no NVIDIA driver on this machine: install one, or run on a machine with a GPU"),
            python_package("cupy", ("cupy-cuda13x", "cupy-cuda12x", "cupy"), remedy=packages),
            python_package("cudnn", ("nvidia-cudnn-frontend",), remedy=packages, needed=False),
            python_package("nvmath", ("nvmath-python",), remedy=packages, needed=False),
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """See `onnxgpu.provider.Provider`."""
        return first_missing(tuple(cls.libraries())) or "this version of onnxgpu has no CUDA kernels yet"


PROVIDER = CUDAProvider
