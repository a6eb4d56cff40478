"""Stage 4: placed graph to placed graph, one rule a file."""

from onnxgpu.fuse.expand import expanded
from onnxgpu.fuse.fuse import fuse
from onnxgpu.fuse.fusion import body_of

__all__ = ["body_of", "expanded", "fuse"]
