"""Models of compiled segments: a model, saved with what providers compiled, so that later sessions compile nothing."""

from onnxgpu.context_model.request import ContextRequest, requested
from onnxgpu.context_model.writing import with_engines

__all__ = ["ContextRequest", "requested", "with_engines"]
