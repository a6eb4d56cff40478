"""A tree of elementwise operators of one shape and element type, as one operator that passes over memory once.

The fused operator is `onnxgpu.FusedElementwise`; its attribute `expression` is a list of steps `"<operator> <operand> …"`
where an operand is `3` (input 3), `%0` (the result of step 0) or `=0.5` (a constant), and the last step is the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.fuse.fusion import Fusion, float_attribute, same_kind, scalar, sole_reader

if TYPE_CHECKING:
    import onnx_ir as ir

BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min"})
UNARY = frozenset({"Relu", "Sigmoid", "Tanh", "Sqrt", "Exp", "Log", "Neg", "Abs", "Reciprocal", "Erf", "HardSwish"})
MOST_STEPS = 64


def elementwise_chain(node: ir.Node) -> Fusion | None:
    """The largest tree of elementwise nodes that ends in `node`, if it ends there and has two nodes or more.

    Args:
        node: an elementwise node that no elementwise node alone reads.
    """
    if not _is_elementwise(node):
        return None
    reader = sole_reader(node.outputs[0])
    if reader is not None and _is_elementwise(reader) and same_kind(node.outputs[0], reader.outputs[0]):
        return None
    members = _tree(node)
    if len(members) < 2:
        return None
    inputs: dict[ir.Value, int] = {}
    steps: dict[ir.Value, int] = {}
    expression = []
    for member in members:
        expression.append(_step(member, inputs, steps))
        steps[member.outputs[0]] = len(steps)
    if not inputs:
        return None
    return Fusion(tuple(members), "FusedElementwise", tuple(inputs), {"expression": expression})


def _tree(last: ir.Node) -> list[ir.Node]:
    """`last` and, transitively, producers that only members read and whose output has the shape of the result; in order."""
    members = {last}
    waiting = [last]
    while waiting and len(members) < MOST_STEPS:
        for value in waiting.pop().inputs:
            producer = value.producer() if value is not None else None
            if value is None or producer is None or producer in members or not _is_elementwise(producer):
                continue
            readers = {use.node for use in value.uses()}
            if readers <= members and not value.is_graph_output() and producer.graph is last.graph and same_kind(value, last.outputs[0]):
                members.add(producer)
                waiting.append(producer)
    ordered: list[ir.Node] = []
    _in_order(last, members, ordered)
    return ordered


def _in_order(node: ir.Node, members: set[ir.Node], ordered: list[ir.Node]) -> None:
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer in members and producer not in ordered and producer is not None:
            _in_order(producer, members, ordered)
    ordered.append(node)


def _is_elementwise(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in BINARY:
        return len(node.inputs) == 2 and "axis" not in node.attributes
    if node.op_type in UNARY:
        return True
    if node.op_type == "Clip":
        return len(node.inputs) == 3 and all(scalar(bound) is not None for bound in node.inputs[1:])
    if node.op_type == "Swish":
        return float_attribute(node, "alpha", 1.0) == 1.0
    return node.op_type == "LeakyRelu"


def _step(node: ir.Node, inputs: dict[ir.Value, int], steps: dict[ir.Value, int]) -> str:
    if node.op_type == "Clip":
        operands = [_operand(node.inputs[0], inputs, steps), *(f"={scalar(bound)!r}" for bound in node.inputs[1:])]
    else:
        operands = [_operand(value, inputs, steps) for value in node.inputs]
    if node.op_type == "LeakyRelu":
        operands.append(f"={float_attribute(node, 'alpha', 0.01)!r}")
    name = "Silu" if node.op_type == "Swish" else node.op_type
    return " ".join((name, *operands))


def _operand(value: ir.Value | None, inputs: dict[ir.Value, int], steps: dict[ir.Value, int]) -> str:
    assert value is not None
    if value in steps:
        return f"%{steps[value]}"
    constant = scalar(value)
    if constant is not None and value.shape is not None and len(value.shape) == 0:
        return f"={constant!r}"
    return str(inputs.setdefault(value, len(inputs)))
