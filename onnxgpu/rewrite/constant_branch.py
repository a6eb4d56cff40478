"""Replace an If whose condition is constant by the branch that it takes."""

from __future__ import annotations

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting, owner
from onnxgpu.rewrite.rule import node_rule
from onnxgpu.rewrite.values import attribute, constant_array, described, given


@node_rule("If")
def inline_constant_branch(node: ir.Node, rewriting: Rewriting) -> str | None:
    """Move the nodes of the branch taken into the graph that the If is in; the other branch goes.

    The values of the branch get new names: the same names may be in use in the bodies of other nodes.
    """
    condition = constant_array(given(node, 0))
    if condition is None or condition.size != 1:
        return None
    name = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    branch = attribute(node, name, None)
    if not isinstance(branch, ir.Graph) or len(branch.outputs) != len(node.outputs):
        return None
    text = f"{described(node)} takes {name}"
    results = list(branch.outputs)
    _move(branch, node, rewriting)
    for output, result in zip(node.outputs, results, strict=True):
        if not rewriting.replace(output, result):
            _keep_output(node, output, result, rewriting)
    rewriting.remove(node)
    return text


def _move(branch: ir.Graph, node: ir.Node, rewriting: Rewriting) -> None:
    graph = owner(node)
    branch.outputs.clear()
    for value in tuple(branch.initializers.values()):
        del branch.initializers[str(value.name)]
        value.name = rewriting.fresh_name(f"{node.outputs[0].name}/{value.name}")
        graph.register_initializer(value)
        rewriting.mark(value, described(node))
    nodes = tuple(branch)
    branch.remove(nodes)
    for inner in nodes:
        for value in inner.outputs:
            if value.name:
                value.name = rewriting.fresh_name(f"{node.outputs[0].name}/{value.name}")
        rewriting.mark(inner, described(node))
    graph.insert_before(node, nodes)


def _keep_output(node: ir.Node, output: ir.Value, result: ir.Value, rewriting: Rewriting) -> None:
    """Copy `result` into graph output `output`, whose name `result` cannot take over."""
    graph, name = owner(node), output.name
    output.name = None
    copy = ir.Node("", "Identity", [result], outputs=[ir.Value(name=name, type=output.type, shape=output.shape)], name=name)
    rewriting.mark(copy, described(node))
    graph.insert_before(node, copy)
    for index, value in enumerate(tuple(graph.outputs)):
        if value is output:
            graph.outputs[index] = copy.outputs[0]
