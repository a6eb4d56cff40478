"""Tie a body's output that is a value of an outer graph to that value.

onnx-ir reads such an output as a value of its own that nothing produces, so that `Value.uses()` of the outer value does
not know of it. An Identity in the body makes the use visible; ONNX's meaning stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxgpu.rewrite.editing import Rewriting, bodies


def link_captured_outputs(model: ir.Model, rewriting: Rewriting) -> None:
    """Give every captured body output of `model` an Identity that reads the outer value."""
    rewriting.rule = "link_captured_outputs"
    _link(model.graph, {}, rewriting)


def _link(graph: ir.Graph, outer: Mapping[str, ir.Value], rewriting: Rewriting) -> None:
    nodes = tuple(graph)
    if outer:
        _link_outputs(graph, outer, rewriting)
    if not any(True for node in nodes for _ in bodies(node)):
        return
    own = [*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs)]
    visible = {**outer, **{value.name: value for value in own if value.name}}
    for node in nodes:
        for body in bodies(node):
            _link(body, visible, rewriting)


def _link_outputs(graph: ir.Graph, outer: Mapping[str, ir.Value], rewriting: Rewriting) -> None:
    for index, output in enumerate(tuple(graph.outputs)):
        if output.producer() is not None or output.is_graph_input() or output.is_initializer():
            continue
        source = outer.get(output.name or "")
        if source is None or source is output:
            continue
        name = rewriting.fresh_name(f"{output.name}_captured")
        copy = ir.Node("", "Identity", [source], outputs=[ir.Value(name=name, type=source.type, shape=source.shape)], name=name)
        rewriting.mark(copy, f"output '{output.name}' of a body")
        graph.append(copy)
        graph.outputs[index] = copy.outputs[0]
