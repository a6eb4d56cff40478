"""ONNX → ONNX: a segment in smaller types, since TensorRT's networks compute in exactly the types that they are written in."""

from onnxgpu.providers.tensorrt.precision.prepare import prepared
from onnxgpu.providers.tensorrt.precision.reduce import reduced
from onnxgpu.providers.tensorrt.precision.report import NodePrecision, PrecisionReport
from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings, settings_of

__all__ = ["NodePrecision", "PrecisionReport", "PrecisionSettings", "prepared", "reduced", "settings_of"]
