"""The placement and the plan, as text and as JSON."""

from onnxgpu.explain.explanation import explanation
from onnxgpu.explain.text import explanation_text

__all__ = ["explanation", "explanation_text"]
