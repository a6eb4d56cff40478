"""What programs import from `onnxruntime.capi.onnxruntime_inference_collection`."""

from onnxgpu.session import InferenceSession

__all__ = ["InferenceSession"]
