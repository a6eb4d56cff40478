"""Stage 6: steps to outputs."""

from onnxgpu.execute.program import Program

__all__ = ["Program"]
