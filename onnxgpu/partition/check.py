"""The rules a placed graph keeps; one that breaks a rule is a defect of onnxgpu, and the text shows where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.partition.placement import Placement

if TYPE_CHECKING:
    import onnx_ir as ir


def check_placed_graph(model: ir.Model, placement: Placement) -> None:
    """Check that every node is placed and reads only values that are defined before it.

    Raises:
        AssertionError: a rule is broken; names the node and the value.
    """
    _check(model.graph, placement, set())


def _check(graph: ir.Graph, placement: Placement, outer: set[ir.Value]) -> None:
    defined = outer | set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        assert node in placement.assignments, f"{node.op_type} {node.name!r} has no provider"
        for value in node.inputs:
            assert value is None or value in defined, f"{node.op_type} {node.name!r} reads {value.name!r} before it is defined:\n{node}"
        for attribute in node.attributes.values():
            if attribute.type.name == "GRAPH":
                _check(attribute.as_graph(), placement, defined)
        defined |= set(node.outputs)
    for value in graph.outputs:
        assert value in defined, f"graph output {value.name!r} is never defined"
