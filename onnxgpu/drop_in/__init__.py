"""onnxgpu in the place of onnxruntime, for programs that stay as they are."""

from onnxgpu.drop_in.serving import Serving, as_onnxruntime

__all__ = ["Serving", "as_onnxruntime"]
