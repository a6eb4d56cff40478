"""Stage 3: graph to placement, with a reason for every node."""

from onnxgpu.partition.hints import Hints, parse_hints
from onnxgpu.partition.partition import partition
from onnxgpu.partition.placement import Assignment, PlacedSegment, Placement

__all__ = ["Assignment", "Hints", "PlacedSegment", "Placement", "parse_hints", "partition"]
