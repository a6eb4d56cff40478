"""A function of arrays as the calls of NumPy that it makes for given shapes, so that what it decides by shapes it decides once."""

from __future__ import annotations

from onnxgpu.tracing.trace import are_few, traced_calls, traced_launch, traced_views

__all__ = ["are_few", "traced_calls", "traced_launch", "traced_views"]
