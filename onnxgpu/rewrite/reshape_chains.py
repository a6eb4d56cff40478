"""Merge consecutive Transposes, and consecutive operators that change nothing but the shape."""

from __future__ import annotations

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.no_op_shapes import reshape_target
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import attribute, described, dimensions, given


@node_rule("Transpose")
def merge_transposes(node: ir.Node, rewriting: Rewriting) -> str | None:
    """`Transpose(Transpose(x))` is one Transpose of x; both permutations have to be known."""
    first = _producer(node, "Transpose")
    source = None if first is None else given(first, 0)
    if first is None or source is None:
        return None
    inner, outer = _order(first), _order(node)
    if inner is None or outer is None or len(inner) != len(outer):
        return None
    text = f"{described(node)} takes in {described(first)}"
    node.attributes["perm"] = ir.AttrInt64s("perm", [inner[axis] for axis in outer])
    rewriting.mark(node, f"{described(first)}, {described(node)}")
    rewriting.reconnect(node, 0, source)
    return text


@node_rule("Reshape")
def merge_reshapes(node: ir.Node, rewriting: Rewriting) -> str | None:
    """A Reshape after Reshape, Flatten, Squeeze or Unsqueeze reads their input, if its target copies no size from it."""
    first = _producer(node, "Reshape", "Flatten", "Squeeze", "Unsqueeze")
    source = None if first is None else given(first, 0)
    target = reshape_target(node)
    if first is None or source is None or target is None:
        return None
    # An unknown size may turn out to be 0, which without allowzero means "as the input has it".
    copies = any(not isinstance(size, int) or size == 0 for size in target) and not attribute(node, "allowzero", 0)
    if copies:
        return None
    text = f"{described(node)} takes in {described(first)}"
    rewriting.mark(node, f"{described(first)}, {described(node)}")
    rewriting.reconnect(node, 0, source)
    return text


def _producer(node: ir.Node, *operators: str) -> ir.Node | None:
    """The node of ai.onnx that makes input 0 of `node`, in the same graph, if it is one of `operators`."""
    source = given(node, 0)
    producer = source.producer() if source is not None else None
    fits = producer is not None and producer.op_type in operators and not producer.domain and producer.graph is node.graph
    return producer if fits else None


def _order(node: ir.Node) -> list[int] | None:
    order = attribute(node, "perm", None)
    if order is not None:
        return list(order)
    shape = dimensions(given(node, 0)) or dimensions(node.outputs[0])
    return None if shape is None else list(reversed(range(len(shape))))
