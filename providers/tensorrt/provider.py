"""TensorrtExecutionProvider: says what it would need and what of it is here.

Version 0.1 of onnxgpu builds no TensorRT engines, so the provider never calls itself available; its options are checked
all the same, because a misspelt one is wrong on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from onnxgpu.libraries import first_missing, python_package, shared_library
from onnxgpu.provider import Library, Provider


class TensorrtProvider(Provider):
    """Whole subgraphs as TensorRT engines on one NVIDIA GPU."""

    name: ClassVar[str] = "TensorrtExecutionProvider"
    preference: ClassVar[int] = 10
    option_types: ClassVar[Mapping[str, type]] = {
        "device_id": int,
        "has_user_compute_stream": bool,
        "trt_auxiliary_streams": int,
        "trt_bf16_enable": bool,
        "trt_build_heuristics_enable": bool,
        "trt_builder_optimization_level": int,
        "trt_context_memory_sharing_enable": bool,
        "trt_cuda_graph_enable": bool,
        "trt_detailed_build_log": bool,
        "trt_dla_core": int,
        "trt_dla_enable": bool,
        "trt_dump_ep_context_model": bool,
        "trt_dump_subgraphs": bool,
        "trt_engine_cache_enable": bool,
        "trt_engine_cache_path": str,
        "trt_engine_cache_prefix": str,
        "trt_engine_decryption_enable": bool,
        "trt_engine_decryption_lib_path": str,
        "trt_engine_hw_compatible": bool,
        "trt_ep_context_embed_mode": int,
        "trt_ep_context_file_path": str,
        "trt_external_data_bytestream": int,
        "trt_external_data_bytestream_size": int,
        "trt_extra_plugin_lib_paths": str,
        "trt_force_sequential_engine_build": bool,
        "trt_force_timing_cache": bool,
        "trt_fp16_enable": bool,
        "trt_int8_calibration_table_name": str,
        "trt_int8_enable": bool,
        "trt_int8_use_native_calibration_table": bool,
        "trt_layer_norm_fp32_fallback": bool,
        "trt_load_user_initializer": bool,
        "trt_max_partition_iterations": int,
        "trt_max_workspace_size": int,
        "trt_min_subgraph_size": int,
        "trt_onnx_bytestream": int,
        "trt_onnx_bytestream_size": int,
        "trt_onnx_model_folder_path": str,
        "trt_op_types_to_exclude": str,
        "trt_preview_features": str,
        "trt_profile_max_shapes": str,
        "trt_profile_min_shapes": str,
        "trt_profile_opt_shapes": str,
        "trt_sparsity_enable": bool,
        "trt_tactic_sources": str,
        "trt_timing_cache_enable": bool,
        "trt_timing_cache_path": str,
        "trt_weight_stripped_engine_enable": bool,
        "user_compute_stream": int,
    }

    @classmethod
    def libraries(cls) -> Sequence[Library]:
        """See `onnxgpu.provider.Provider`."""
        return (
            shared_library("libcuda.so.1", remedy="no NVIDIA driver on this machine: install one, or run on a machine with a GPU"),
            python_package("tensorrt", ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"), remedy="pip install 'onnxgpu-gpu[tensorrt]'"),
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """See `onnxgpu.provider.Provider`."""
        return first_missing(tuple(cls.libraries())) or "this version of onnxgpu builds no TensorRT engines yet"


PROVIDER = TensorrtProvider
