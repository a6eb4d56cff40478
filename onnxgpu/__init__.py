"""onnxgpu: run ONNX models GPU-first from Python, through onnxruntime's API.

import onnxgpu as ort

session = ort.InferenceSession("model.onnx", providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
outputs = session.run(None, {"x": x})
"""

from onnxgpu.errors import OnnxGpuError, ProviderFallbackWarning
from onnxgpu.metadata import ModelMetadata, NodeArg
from onnxgpu.options import ExecutionMode, ExecutionOrder, GraphOptimizationLevel, RunOptions, SessionOptions
from onnxgpu.session import InferenceSession, get_all_providers, get_available_providers
from onnxgpu.version import __version__

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OnnxGpuError",
    "ProviderFallbackWarning",
    "RunOptions",
    "SessionOptions",
    "__version__",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_device",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
]


def get_device() -> str:
    """`GPU` if a provider with a device of its own is available here, else `CPU` (onnxruntime's words)."""
    from onnxgpu.discovery import providers

    known = providers()
    return "CPU" if all(known[name].fallback for name in get_available_providers()) else "GPU"


def set_default_logger_severity(severity: int) -> None:
    """Least severity that is logged: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal.

    Raises:
        RuntimeError: `severity` is none of these.
    """
    import logging

    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    if severity not in range(len(levels)):
        raise RuntimeError(f"Invalid logging severity. 0:Verbose, 1:Info, 2:Warning, 3:Error, 4:Fatal (got {severity})")
    logging.getLogger("onnxgpu").setLevel(levels[severity])


def set_default_logger_verbosity(verbosity: int) -> None:
    """Accepted for compatibility: onnxgpu has one level of verbose logging."""


def enable_telemetry_events() -> None:
    """Does nothing: onnxgpu collects no telemetry."""


def disable_telemetry_events() -> None:
    """Does nothing: onnxgpu collects no telemetry."""
