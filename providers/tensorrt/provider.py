"""TensorrtExecutionProvider: whole segments as TensorRT engines on one NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from onnxgpu.errors import NotImplemented
from onnxgpu.libraries import Library, first_missing
from onnxgpu.provider import Claim, Operation, Refusal, ValueInfo, bytes_moved
from onnxgpu.providers.cuda import device
from onnxgpu.providers.cuda.device_provider import DeviceProvider, arrays_package
from onnxgpu.providers.tensorrt import library
from onnxgpu.providers.tensorrt.settings import PLUGIN_DOMAIN, listed, settings_of, tell_what_has_no_effect
from onnxgpu.segment_provider import Engine, Exclusions, Segment, SegmentClaim, SegmentProvider, Shape, ShapesAt

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.claims import Claims


class TensorrtProvider(DeviceProvider, SegmentProvider):
    """Whole segments as TensorRT engines on one NVIDIA GPU.

    A session has it only if it is named: its engines take minutes to build.
    """

    name: ClassVar[str] = "TensorrtExecutionProvider"
    preference: ClassVar[int] = 10
    used_unasked: ClassVar[bool] = False
    option_types: ClassVar[Mapping[str, type]] = {
        "device_id": int,
        "has_user_compute_stream": bool,
        "trt_auxiliary_streams": int,
        "trt_bf16_enable": bool,
        "trt_build_heuristics_enable": bool,
        "trt_build_in_background": bool,
        "trt_build_in_process": bool,
        "trt_build_on_request": bool,
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
        "trt_fp32_nodes": str,
        "trt_fp32_operators": str,
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
        "trt_precision_table": str,
        "trt_preview_features": str,
        "trt_profile_max_shapes": str,
        "trt_profile_min_shapes": str,
        "trt_profile_opt_shapes": str,
        "trt_reduced_operators": str,
        "trt_shape_buckets": str,
        "trt_sparsity_enable": bool,
        "trt_tactic_sources": str,
        "trt_tf32_enable": bool,
        "trt_timing_cache_enable": bool,
        "trt_timing_cache_path": str,
        "trt_weight_streaming_budget": int,
        "trt_weight_stripped_engine_enable": bool,
        "user_compute_stream": int,
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        if self.options.get("trt_cuda_graph_enable"):
            self._device_options["enable_cuda_graph"] = True
        if self.options.get("trt_engine_decryption_enable"):
            raise NotImplemented(f"{self.name} keeps engines as they are: unset trt_engine_decryption_enable, and guard the cache's folder")
        tell_what_has_no_effect(self.options)
        self._excluded = frozenset(listed(self.options.get("trt_op_types_to_exclude", "")))
        self._settings = settings_of(self.options, self.place.index)

    @classmethod
    def libraries(cls) -> Sequence[Library]:
        """See `onnxgpu.provider.Provider`."""
        return (device.driver(), arrays_package(), library.found())

    @classmethod
    def unavailable(cls) -> str | None:
        """See `onnxgpu.provider.Provider`."""
        return device.unavailable() or first_missing((arrays_package(),)) or library.problem()

    @property
    def least_nodes(self) -> int:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        return int(self.options.get("trt_min_subgraph_size", 1))

    def domains(self) -> frozenset[str]:
        """See `onnxgpu.provider.Provider`."""
        return frozenset({PLUGIN_DOMAIN}) if self._settings.plugins else frozenset()

    @property
    def recorded_with(self) -> object | None:
        """The device, if CUDA graphs were asked for: each keeps execution contexts of its own."""
        return super().recorded_with if self._device_options.get("enable_cuda_graph") else None

    def cost(self, operation: Operation) -> float:
        """The traffic of its arrays, on a GPU of 1 TB/s: operators of one segment are launched together."""
        return 1e-6 + bytes_moved(operation) / 1e12

    def survey(self, inputs: Sequence[ValueInfo], shapes_at: ShapesAt) -> None:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        self._claims.survey(inputs, shapes_at)

    def usual_shapes(self) -> Sequence[Mapping[str, Shape]]:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        return self._claims.usual_shapes()

    def supports(self, operation: Operation) -> Refusal | None:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        reason = self._claims.refusal(operation)
        return None if reason is None else Refusal(reason)

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """See `onnxgpu.segment_provider.SegmentProvider`; asks TensorRT's parser, and builds only when the kernel is made."""
        return self._claims.answer(segment)

    def misfit(self, version: str, hardware: str) -> str | None:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        from onnxgpu.providers.tensorrt.kept_engine import misfit

        return misfit(version, hardware, self.device)

    def claim_engine(self, segment: Segment, engine: Engine) -> SegmentClaim | Refusal:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        return self._claims.kept_answer(segment, engine)

    @property
    def context_entries(self) -> Mapping[str, str]:
        """See `onnxgpu.segment_provider.SegmentProvider`."""
        if not self.options.get("trt_dump_ep_context_model"):
            return {}
        return {
            "ep.context_enable": "1",
            "ep.context_file_path": str(self.options.get("trt_ep_context_file_path", "")),
            "ep.context_embed_mode": str(self.options.get("trt_ep_context_embed_mode", 0)),
        }

    @cached_property
    def _claims(self) -> Claims:
        """What is needed only where there is TensorRT: every session imports this file."""
        from onnxgpu.providers.tensorrt.claims import Claims

        return Claims(self.device, self.options, self._settings, self._excluded)


PROVIDER = TensorrtProvider
