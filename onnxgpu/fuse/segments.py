"""Make each segment of a placement one node, which the provider runs as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.fuse.fusion import INTERNAL_DOMAIN
from onnxgpu.partition import Assignment, PlacedSegment, Placement
from onnxgpu.partition.operations import operation_of
from onnxgpu.partition.segments import ends

if TYPE_CHECKING:
    import onnx_ir as ir

SEGMENT = "Segment"


def collapse(model: ir.Model, placement: Placement) -> Placement:
    """Replace the nodes of each segment of `placement` by one node.

    Args:
        model: changed in place.
        placement: of all its nodes.
    """
    if not placement.segments:
        return placement
    assignments = dict(placement.assignments)
    for placed in placement.segments:
        _collapse(placed, model, assignments)
    for graph in {node.graph for node, assignment in assignments.items() if assignment.members}:
        if graph is not None:
            graph.sort()
    return Placement({node: assignments[node] for graph in model.graphs() for node in graph})


def _collapse(placed: PlacedSegment, model: ir.Model, assignments: dict[ir.Node, Assignment]) -> None:
    import onnx_ir as ir

    graph = placed.nodes[0].graph
    assert graph is not None
    inputs, old = ends(placed.nodes)
    outputs = [ir.Value(name=value.name, type=value.type, shape=value.shape) for value in old]
    node = ir.Node(INTERNAL_DOMAIN, SEGMENT, inputs, outputs=outputs, name=placed.segment.name, version=1)
    members = tuple(assignments.pop(member) for member in placed.nodes)
    ir.convenience.replace_nodes_and_values(graph, placed.nodes[-1], placed.nodes, [node], old, outputs)
    reason = f"{len(members)} nodes as one segment"
    assignments[node] = Assignment(operation_of(node, model.opset_imports), placed.provider, placed.claim, reason, members=members)
