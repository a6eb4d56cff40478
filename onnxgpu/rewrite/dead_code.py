"""Remove what nobody reads."""

from __future__ import annotations

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import graph_rule, node_rule
from onnxgpu.rewrite.values import attribute, described, labelled

_FIRST_OPTIONAL_OUTPUT = {
    "Dropout": 1,
    "MaxPool": 1,
    "LayerNormalization": 1,
    "BatchNormalization": 1,
    "LSTM": 0,
    "GRU": 0,
    "RNN": 0,
    "Unique": 1,
    "Attention": 1,
}


@node_rule(*_FIRST_OPTIONAL_OUTPUT)
def drop_unused_outputs(node: ir.Node, rewriting: Rewriting) -> str | None:
    """Leave out optional outputs that nobody reads, so that they are not computed.

    A BatchNormalization before opset 14 says by its outputs whether it trains; it keeps them.
    """
    trains = node.op_type == "BatchNormalization" and (rewriting.version(node) < 14 or attribute(node, "training_mode", 0))
    if trains or (node.op_type == "Dropout" and rewriting.version(node) < 7):
        return None
    unused = [
        value
        for value in node.outputs[_FIRST_OPTIONAL_OUTPUT[node.op_type] :]
        if value.name and not value.uses() and not value.is_graph_output()
    ]
    if not unused or len(unused) == sum(bool(value.name) for value in node.outputs):
        return None
    text = f"{described(node)} without {', '.join(labelled(value) for value in unused)}"
    for value in unused:
        value.name = ""
    count = len(node.outputs)
    while not node.outputs[count - 1].name:
        count -= 1
    node.resize_outputs(count)
    return text


@graph_rule
def remove_dead_code(graph: ir.Graph, rewriting: Rewriting) -> list[str]:
    """Remove nodes none of whose outputs is read (bodies of control flow count as readers), and unread initializers.

    A node without any output is kept: it can only be there for an effect.
    """
    texts: list[str] = []
    for node in tuple(reversed(graph)):
        if node.outputs and not any(value.uses() or value.is_graph_output() for value in node.outputs):
            texts.append(described(node))
            rewriting.remove(node)
    for value in tuple(graph.initializers.values()):
        if rewriting.release([value]):
            texts.append(f"initializer {labelled(value)}")
    return texts
