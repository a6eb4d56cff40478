"""The options of sessions, runs and providers, with onnxruntime's names and defaults."""

from onnxgpu.options.enums import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    OrtCompileApiFlags,
    OrtExecutionProviderDevicePolicy,
)
from onnxgpu.options.provider_options import checked_provider_options
from onnxgpu.options.run_options import RunOptions
from onnxgpu.options.session_options import SessionOptions

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "OrtCompileApiFlags",
    "OrtExecutionProviderDevicePolicy",
    "RunOptions",
    "SessionOptions",
    "checked_provider_options",
]
