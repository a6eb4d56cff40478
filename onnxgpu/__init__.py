"""onnxgpu: run ONNX models GPU-first from Python, through onnxruntime's API.

import onnxgpu as ort

session = ort.InferenceSession("model.onnx", providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
outputs = session.run(None, {"x": x})
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxgpu.bindings import IOBinding, SessionIOBinding
from onnxgpu.build_info import (
    cuda_version,
    get_build_info,
    get_version_string,
    has_collective_ops,
    package_name,
    preload_dlls,
    print_debug_info,
    version,
)
from onnxgpu.devices import OrtDevice, OrtDeviceVendorId
from onnxgpu.discovery import get_all_providers, get_available_providers
from onnxgpu.drop_in import as_onnxruntime
from onnxgpu.ep_devices import OrtEpDevice, OrtHardwareDevice, OrtHardwareDeviceType, get_ep_devices
from onnxgpu.errors import OnnxGpuError, ProviderFallbackWarning
from onnxgpu.log import set_default_logger_callback, set_default_logger_severity, set_default_logger_verbosity
from onnxgpu.memory_info import (
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
from onnxgpu.options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    OrtCompileApiFlags,
    OrtExecutionProviderDevicePolicy,
    RunOptions,
    SessionOptions,
)
from onnxgpu.ort_value import OrtValue, copy_tensors
from onnxgpu.release import __version__
from onnxgpu.seeds import set_seed
from onnxgpu.session import InferenceSession
from onnxgpu.sparse import OrtSparseFormat, SparseTensor
from onnxgpu.surroundings import set_global_thread_pool_sizes

if TYPE_CHECKING:
    from onnxgpu.adapters import AdapterFormat, LoraAdapter
    from onnxgpu.assignments import OrtEpAssignedNode, OrtEpAssignedSubgraph
    from onnxgpu.ep_context import OrtEpContextData, OrtEpContextDataBuffer, OrtExternalInitializerInfo
    from onnxgpu.model_compiler import ModelCompiler
    from onnxgpu.model_package import (
        ModelPackage,
        ModelPackageComponentContext,
        ModelPackageContext,
        ModelPackageOptions,
        ModelPackageWriteMode,
    )
    from onnxgpu.plugins import register_execution_provider_library, unregister_execution_provider_library

__all__ = [
    "AdapterFormat",
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "LoraAdapter",
    "ModelCompiler",
    "ModelMetadata",
    "ModelPackage",
    "ModelPackageComponentContext",
    "ModelPackageContext",
    "ModelPackageOptions",
    "ModelPackageWriteMode",
    "NodeArg",
    "OnnxGpuError",
    "OrtAllocatorType",
    "OrtArenaCfg",
    "OrtCompileApiFlags",
    "OrtDevice",
    "OrtDeviceMemoryType",
    "OrtDeviceVendorId",
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
    "ProviderFallbackWarning",
    "RunOptions",
    "SessionIOBinding",
    "SessionOptions",
    "SparseTensor",
    "__version__",
    "as_onnxruntime",
    "copy_tensors",
    "create_and_register_allocator",
    "create_and_register_allocator_v2",
    "cuda_version",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_ep_devices",
    "get_version_string",
    "has_collective_ops",
    "package_name",
    "preload_dlls",
    "print_debug_info",
    "register_execution_provider_library",
    "set_default_logger_callback",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_global_thread_pool_sizes",
    "set_seed",
    "unregister_execution_provider_library",
    "version",
]

_IMPORTED_LATER = {
    **dict.fromkeys(("AdapterFormat", "LoraAdapter"), "onnxgpu.adapters"),
    **dict.fromkeys(("OrtEpContextData", "OrtEpContextDataBuffer", "OrtExternalInitializerInfo"), "onnxgpu.ep_context"),
    **dict.fromkeys(("ModelPackage", "ModelPackageComponentContext", "ModelPackageContext"), "onnxgpu.model_package"),
    **dict.fromkeys(("ModelPackageOptions", "ModelPackageWriteMode"), "onnxgpu.model_package"),
    "ModelCompiler": "onnxgpu.model_compiler",
    **dict.fromkeys(("OrtEpAssignedNode", "OrtEpAssignedSubgraph"), "onnxgpu.assignments"),
    **dict.fromkeys(("register_execution_provider_library", "unregister_execution_provider_library"), "onnxgpu.plugins"),
}
"""Names that few programs use: their modules are imported when somebody asks for them."""

_MODULES_LATER = {"capi": "onnxgpu.capi", "onnxruntime_validation": "onnxgpu.capi.onnxruntime_validation"}

if not TYPE_CHECKING:  # a type checker is to see that a misspelt name does not exist

    def __getattr__(name: str) -> Any:
        if name in _MODULES_LATER:
            return import_module(_MODULES_LATER[name])
        if name not in _IMPORTED_LATER:
            raise AttributeError(f"module 'onnxgpu' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_IMPORTED_LATER[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_IMPORTED_LATER})


import_capi_exception: Exception | None = None
"""What onnxruntime caught while it loaded its own library; programs raise it if there is one."""


def get_device() -> str:
    """`GPU` if a provider with a device of its own is available here, else `CPU` (onnxruntime's words)."""
    from onnxgpu.discovery import providers

    known = providers()
    return "CPU" if all(known[name].memory is None for name in get_available_providers()) else "GPU"


def enable_telemetry_events() -> None:
    """Does nothing: onnxgpu collects no telemetry."""


def disable_telemetry_events() -> None:
    """Does nothing: onnxgpu collects no telemetry."""
