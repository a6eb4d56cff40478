"""Stage 4: placed graph to placed graph, one rule a file."""

from onnxgpu.fuse.expand import expanded
from onnxgpu.fuse.fuse import fuse
from onnxgpu.fuse.fusion import INTERNAL_DOMAIN, body_of
from onnxgpu.fuse.segments import collapse

__all__ = ["INTERNAL_DOMAIN", "body_of", "collapse", "expanded", "fuse"]
