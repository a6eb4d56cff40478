"""Remove nodes that move or cut nothing, where shapes prove it."""

from __future__ import annotations

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.known_elements import known_elements
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import Dimension, attribute, dimensions, given, integers

_PRACTICALLY_INFINITE = 2**31 - 1
"""Exporters write this or more as the end of a slice that goes to the end."""


@node_rule("Transpose")
def remove_identity_transpose(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A permutation that leaves every axis where it is, or a tensor with at most one axis."""
    source = given(node, 0)
    order = attribute(node, "perm", None)
    shape = dimensions(source)
    keeps = list(order) == list(range(len(order))) if order is not None else shape is not None and len(shape) <= 1
    return rewriting.bypass(node, source) if keeps and source is not None else None


@node_rule("Reshape", "Flatten")
def remove_same_shape_reshape(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A Reshape to the shape that the tensor has, or a Flatten at axis 1 of a matrix."""
    source = given(node, 0)
    shape = dimensions(source)
    if source is None or shape is None:
        return None
    if node.op_type == "Flatten":
        keeps = len(shape) == 2 and attribute(node, "axis", 1) in (1, -1)
    else:
        target = reshape_target(node)
        keeps = target is not None and _is_shape(target, shape, zero_copies=not attribute(node, "allowzero", 0))
    return rewriting.bypass(node, source) if keeps else None


def reshape_target(node: ir.Node) -> list[Dimension] | None:
    """What is known of the shape a Reshape is told to make (before opset 5 an attribute); None: not even its length."""
    if "shape" in node.attributes:
        return list(node.attributes["shape"].as_ints())
    target = given(node, 1)
    elements = None if target is None else known_elements(target)
    return None if elements is None else list(elements.reshape(-1))


def _is_shape(target: list[Dimension], shape: tuple[Dimension, ...], *, zero_copies: bool) -> bool:
    """True if a Reshape to `target` leaves a tensor of `shape` as it is; one unproven axis follows from the others."""
    if len(target) != len(shape):
        return False
    proven = [(zero_copies and wanted == 0) or (wanted is not None and wanted == size) for wanted, size in zip(target, shape, strict=True)]
    if all(proven):
        return True
    if proven.count(False) != 1:
        return False
    rest = target[proven.index(False)]
    if isinstance(rest, int):
        return rest == -1
    return all(isinstance(size, int) and size > 0 for size, sure in zip(shape, proven, strict=True) if sure)


@node_rule("Expand")
def remove_same_shape_expand(node: ir.Node, rewriting: Rewriting) -> str | None:
    """An Expand to ones or to the sizes that the tensor has."""
    source, target = node.inputs
    shape = dimensions(source)
    wanted = None if target is None else known_elements(target)
    if source is None or shape is None or wanted is None or wanted.size > len(shape):
        return None
    sizes = shape[len(shape) - wanted.size :]
    if not all(want == 1 or (want is not None and want == size) for want, size in zip(wanted.reshape(-1), sizes, strict=True)):
        return None
    return rewriting.bypass(node, source)


@node_rule("Slice")
def remove_full_slice(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A Slice from the first to the last element, in steps of one."""
    source = given(node, 0)
    if rewriting.version(node) < 10:
        starts, ends, axes, steps = (list(attribute(node, name, ())) or None for name in ("starts", "ends", "axes", "steps"))
    else:
        starts, ends, axes, steps = (integers(given(node, index)) for index in (1, 2, 3, 4))
        if (axes is None and given(node, 3) is not None) or (steps is None and given(node, 4) is not None):
            return None
    if source is None or starts is None or ends is None:
        return None
    shape = dimensions(source)
    axes = list(range(len(starts))) if axes is None else axes
    if any(step != 1 for step in steps or ()):
        return None
    if not all(
        _covers(start, end, shape[axis] if shape is not None and axis < len(shape) else None)
        for start, end, axis in zip(starts, ends, axes, strict=True)
    ):
        return None
    return rewriting.bypass(node, source)


def _covers(start: int, end: int, size: Dimension) -> bool:
    """True if start:end takes all of an axis of `size`."""
    if isinstance(size, int):
        return (start == 0 or start <= -size) and end >= size
    return start == 0 and end >= _PRACTICALLY_INFINITE


@node_rule("Pad")
def remove_zero_pad(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A Pad by nothing, whatever its mode."""
    source = given(node, 0)
    pads = integers(given(node, 1)) if rewriting.version(node) >= 11 else list(attribute(node, "pads", ())) or None
    return rewriting.bypass(node, source) if source is not None and pads is not None and not any(pads) else None


@node_rule("Concat")
def remove_single_concat(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A Concat of one tensor."""
    source = given(node, 0)
    return rewriting.bypass(node, source) if len(node.inputs) == 1 and source is not None else None
