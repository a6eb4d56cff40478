"""Stage 6: steps to outputs."""

from onnxgpu.execute.program import Given, Program

__all__ = ["Given", "Program"]
