"""Over how many elements a node adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxgpu.providers.tensorrt.precision.view import attribute

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.precision.view import View


def length(view: View, index: int) -> int | None:
    """How many elements go into one of the results of a sum, mean, softmax or average pool; None: not known."""
    node = view.nodes[index]
    if node.op_type == "AveragePool":
        return math.prod(int(size) for size in attribute(node, "kernel_shape", ()))
    shape = view.shapes.get(node.input[0])
    axes = None if shape is None else _axes(view, index, len(shape))
    if shape is None or axes is None or any(not -len(shape) <= axis < len(shape) for axis in axes):
        return None
    sizes = [shape[axis] for axis in axes]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def _axes(view: View, index: int, rank: int) -> Sequence[int] | None:
    node = view.nodes[index]
    if node.op_type == "GlobalAveragePool":
        return range(2, rank)
    if node.op_type == "Softmax":
        axis = attribute(node, "axis", -1 if view.versions.get("", 1) >= 13 else 1)
        return (axis,) if view.versions.get("", 1) >= 13 else range(axis % max(rank, 1), rank)
    if len(node.input) > 1 and node.input[1]:
        given = view.constant(node.input[1])
        if given is None:
            return None
        axes = tuple(int(axis) for axis in given.reshape(-1))
    else:
        axes = tuple(attribute(node, "axes", ()))
    if axes:
        return axes
    return () if attribute(node, "noop_with_empty_axes", 0) else range(rank)
