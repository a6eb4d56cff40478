"""What programs import from `onnxruntime.capi.onnxruntime_pybind11_state`: errors, options, values, tools."""

from onnxgpu import disable_telemetry_events, enable_telemetry_events, get_device
from onnxgpu.adapters import LoraAdapter
from onnxgpu.assignments import OrtEpAssignedNode, OrtEpAssignedSubgraph
from onnxgpu.bindings import SessionIOBinding
from onnxgpu.build_info import get_build_info, get_version_string, has_collective_ops
from onnxgpu.capi import opkernel, schemadef
from onnxgpu.capi.schemadef import get_all_operator_schema
from onnxgpu.devices import Device as OrtDevice
from onnxgpu.discovery import get_all_providers, get_available_providers
from onnxgpu.ep_compatibility import (
    OrtCompiledModelCompatibility,
    OrtDeviceEpIncompatibilityReason,
    get_compatibility_info_from_model,
    get_compatibility_info_from_model_bytes,
    get_hardware_device_ep_incompatibility_details,
    get_hardware_devices,
    get_model_compatibility_for_ep_devices,
)
from onnxgpu.ep_context import OrtEpContextData, OrtEpContextDataBuffer, OrtExternalInitializerInfo
from onnxgpu.ep_devices import OrtEpDevice, OrtHardwareDevice, OrtHardwareDeviceType, get_ep_devices
from onnxgpu.errors import (
    DeviceReset,
    EngineError,
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoadCanceled,
    ModelLoaded,
    ModelRequiresCompilation,
    NoModel,
    NoSuchFile,
    NotFound,
    NotImplemented,
    RuntimeException,
)
from onnxgpu.kernel_defs import get_all_opkernel_def, get_registered_ep_kernel_defs
from onnxgpu.log import set_default_logger_callback, set_default_logger_severity, set_default_logger_verbosity
from onnxgpu.memory_info import (
    ArenaExtendStrategy,
    OrtAllocatorType,
    OrtArenaCfg,
    OrtDeviceMemoryType,
    OrtMemoryInfo,
    OrtMemoryInfoDeviceType,
    OrtMemType,
    OrtSyncStream,
    create_and_register_allocator,
    create_and_register_allocator_v2,
)
from onnxgpu.metadata import ModelMetadata, NodeArg
from onnxgpu.model_package import (
    ModelPackage,
    ModelPackageComponentContext,
    ModelPackageContext,
    ModelPackageOptions,
    ModelPackageWriteMode,
)
from onnxgpu.native_session import NativeSession as InferenceSession
from onnxgpu.native_session import SessionObjectInitializer, get_default_session_options, get_session_initializer
from onnxgpu.native_tools import NativeAdapterFormat as AdapterFormat
from onnxgpu.native_tools import NativeModelCompiler as ModelCompiler
from onnxgpu.options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    OrtCompileApiFlags,
    OrtExecutionProviderDevicePolicy,
    RunOptions,
    SessionOptions,
)
from onnxgpu.ort_value import OrtValueHandle as OrtValue
from onnxgpu.ort_value import OrtValueVector, copy_tensors
from onnxgpu.plugins import register_execution_provider_library, unregister_execution_provider_library
from onnxgpu.seeds import set_seed
from onnxgpu.sparse import OrtSparseFormat, SparseBlockSparseView, SparseCooView, SparseCsrView
from onnxgpu.sparse import SparseTensorHandle as SparseTensor
from onnxgpu.surroundings import set_global_thread_pool_sizes
from onnxgpu.weight_packing import (
    pack_fp4_weights_for_cuda_moe_gemm,
    quantize_matmul_2bits,
    quantize_matmul_4bits,
    quantize_matmul_8bits,
    quantize_matmul_bnb4,
    quantize_qdq_matmul_2bits,
    quantize_qdq_matmul_4bits,
)

kNextPowerOfTwo = ArenaExtendStrategy.kNextPowerOfTwo
kSameAsRequested = ArenaExtendStrategy.kSameAsRequested

__all__ = [
    "AdapterFormat",
    "ArenaExtendStrategy",
    "DeviceReset",
    "EPFail",
    "EngineError",
    "ExecutionMode",
    "ExecutionOrder",
    "Fail",
    "GraphOptimizationLevel",
    "InferenceSession",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "LoraAdapter",
    "ModelCompiler",
    "ModelLoadCanceled",
    "ModelLoaded",
    "ModelMetadata",
    "ModelPackage",
    "ModelPackageComponentContext",
    "ModelPackageContext",
    "ModelPackageOptions",
    "ModelPackageWriteMode",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NodeArg",
    "NotFound",
    "NotImplemented",
    "OrtAllocatorType",
    "OrtArenaCfg",
    "OrtCompileApiFlags",
    "OrtCompiledModelCompatibility",
    "OrtDevice",
    "OrtDeviceEpIncompatibilityReason",
    "OrtDeviceMemoryType",
    "OrtEpAssignedNode",
    "OrtEpAssignedSubgraph",
    "OrtEpContextData",
    "OrtEpContextDataBuffer",
    "OrtEpDevice",
    "OrtExecutionProviderDevicePolicy",
    "OrtExternalInitializerInfo",
    "OrtHardwareDevice",
    "OrtHardwareDeviceType",
    "OrtMemType",
    "OrtMemoryInfo",
    "OrtMemoryInfoDeviceType",
    "OrtSparseFormat",
    "OrtSyncStream",
    "OrtValue",
    "OrtValueVector",
    "RunOptions",
    "RuntimeException",
    "SessionIOBinding",
    "SessionObjectInitializer",
    "SessionOptions",
    "SparseBlockSparseView",
    "SparseCooView",
    "SparseCsrView",
    "SparseTensor",
    "copy_tensors",
    "create_and_register_allocator",
    "create_and_register_allocator_v2",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_operator_schema",
    "get_all_opkernel_def",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_compatibility_info_from_model",
    "get_compatibility_info_from_model_bytes",
    "get_default_session_options",
    "get_device",
    "get_ep_devices",
    "get_hardware_device_ep_incompatibility_details",
    "get_hardware_devices",
    "get_model_compatibility_for_ep_devices",
    "get_registered_ep_kernel_defs",
    "get_session_initializer",
    "get_version_string",
    "has_collective_ops",
    "kNextPowerOfTwo",
    "kSameAsRequested",
    "opkernel",
    "pack_fp4_weights_for_cuda_moe_gemm",
    "quantize_matmul_2bits",
    "quantize_matmul_4bits",
    "quantize_matmul_8bits",
    "quantize_matmul_bnb4",
    "quantize_qdq_matmul_2bits",
    "quantize_qdq_matmul_4bits",
    "register_execution_provider_library",
    "schemadef",
    "set_default_logger_callback",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_global_thread_pool_sizes",
    "set_seed",
    "unregister_execution_provider_library",
]
