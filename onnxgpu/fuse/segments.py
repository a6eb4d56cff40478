"""Make each segment of a placement one node, which the provider runs as one step.

Where the provider wants a stand-by, the node keeps the nodes it replaced as a body, which the session's other providers run while
there is no engine: a graph with inputs of its own, partitioned as if it were a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from onnxgpu.errors import NotImplemented
from onnxgpu.fuse.fusion import INTERNAL_DOMAIN
from onnxgpu.log import logger
from onnxgpu.partition import Assignment, Hints, PlacedSegment, Placement, partition
from onnxgpu.partition.operations import operation_of
from onnxgpu.partition.segments import ends
from onnxgpu.provider import Claim, Provider
from onnxgpu.segment_provider import STAND_BY, SegmentClaim, SegmentProvider

if TYPE_CHECKING:
    import onnx_ir as ir

SEGMENT = "Segment"


def collapse(model: ir.Model, placement: Placement, providers: Sequence[Provider], hints: Hints, *, is_run: bool = True) -> Placement:
    """Replace the nodes of each segment of `placement` by one node.

    Args:
        model: changed in place.
        placement: of all its nodes.
        providers: the session's; those behind a segment's own may stand by.
        hints: where the caller wants certain nodes.
        is_run: False where the model is only written, so that nothing has to stand by.
    """
    if not placement.segments:
        return placement
    assignments = dict(placement.assignments)
    for placed in placement.segments:
        _collapse(placed, model, assignments, providers if is_run else (), hints)
    for graph in {node.graph for node, assignment in assignments.items() if assignment.members}:
        if graph is not None:
            graph.sort()
    return Placement({node: assignments[node] for graph in model.graphs() for node in graph})


def _collapse(
    placed: PlacedSegment, model: ir.Model, assignments: dict[ir.Node, Assignment], providers: Sequence[Provider], hints: Hints
) -> None:
    """Replace one segment; `providers` is empty where nothing has to stand by."""
    import onnx_ir as ir

    graph, claim = placed.nodes[0].graph, placed.claim
    assert isinstance(graph, ir.Graph)
    inputs, old = ends(placed.nodes)
    outputs = [ir.Value(name=value.name, type=value.type, shape=value.shape) for value in old]
    node = ir.Node(INTERNAL_DOMAIN, SEGMENT, inputs, outputs=outputs, name=placed.segment.name, version=1)
    members = tuple(assignments.pop(member) for member in placed.nodes)
    wants_stand_by = bool(providers) and isinstance(claim, SegmentClaim) and claim.stand_by
    _replace(graph, placed.nodes, node, old, keep=wants_stand_by)
    if wants_stand_by:
        body = _body(placed, inputs, old, model.opset_imports)
        try:
            meanwhile = _placed_stand_by(body, model.ir_version, placed.provider, providers, hints)
        except NotImplemented as error:
            logger.warning("%s has no stand-by, so runs wait until it is built: %s", placed.segment, error.message)
            members = tuple(replace(member, reason=f"{member.reason}; runs wait until its segment is built") for member in members)
        else:
            claim = _with_body(claim)
            node.attributes.add(ir.AttrGraph(STAND_BY, body))
            names = [meanwhile[inner].provider.label for inner in placed.nodes]
            members = tuple(replace(member, meanwhile=name) for member, name in zip(members, names, strict=True))
            assignments.update(meanwhile)
    reason = f"{len(members)} nodes as one segment"
    assignments[node] = Assignment(operation_of(node, model.opset_imports), placed.provider, claim, reason, members=members)


def _replace(graph: ir.Graph, nodes: Sequence[ir.Node], node: ir.Node, old: Sequence[ir.Value], *, keep: bool) -> None:
    """Put `node` in the place of `nodes`, whose values `old` are read outside; `keep`: they stay connected with each other."""
    import onnx_ir as ir

    if not keep:
        ir.convenience.replace_nodes_and_values(graph, nodes[-1], nodes, [node], old, node.outputs)
        return
    ir.convenience.replace_all_uses_with(old, node.outputs, replace_graph_outputs=True)
    graph.insert_after(nodes[-1], node)
    graph.remove(nodes)
    _reconnect(nodes, dict(zip(node.outputs, old, strict=True)))


def _reconnect(nodes: Sequence[ir.Node], values: Mapping[ir.Value, ir.Value]) -> None:
    """Let `nodes`, and those of their bodies, read `values[v]` in place of `v`."""
    from onnx_ir.traversal import RecursiveGraphIterator

    for node in nodes:
        bodies = [attribute.as_graph() for attribute in node.attributes.values() if attribute.type.name == "GRAPH"]
        for reader in (node, *(inner for body in bodies for inner in RecursiveGraphIterator(body))):
            for index, value in enumerate(reader.inputs):
                if value is not None and value in values:
                    reader.replace_input_with(index, values[value])


def _body(placed: PlacedSegment, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], opset_imports: Mapping[str, int]) -> ir.Graph:
    """The segment's nodes as a graph with inputs of its own; constants stay those of the graph around it."""
    import onnx_ir as ir

    own = [ir.Value(name=value.name, type=value.type, shape=value.shape) for value in inputs]
    _reconnect(placed.nodes, dict(zip(inputs, own, strict=True)))
    return ir.Graph(own, outputs, nodes=placed.nodes, opset_imports=dict(opset_imports), name=placed.segment.name)


def _placed_stand_by(
    body: ir.Graph, ir_version: int, first: Provider, providers: Sequence[Provider], hints: Hints
) -> dict[ir.Node, Assignment]:
    """Assignments of the body's nodes to the providers of operators behind `first`.

    Raises:
        NotImplemented: none of them runs some node.
    """
    import onnx_ir as ir

    behind = [p for p in providers[providers.index(first) + 1 :] if not isinstance(p, SegmentProvider)]
    followed = Hints(tuple(hint for hint in hints.hints if any(map(hint.names, behind))), hints.mode)
    placement = partition(ir.Model(body, ir_version=ir_version), behind, followed)
    return {node: replace(assignment, is_stand_by=True) for node, assignment in placement.assignments.items()}


def _with_body(claim: Claim) -> Claim:
    """The claim, with what goes into and out of the body where the node itself has it."""
    ends_on_host = tuple(sorted(claim.host_inputs)), tuple(sorted(claim.host_outputs))
    return replace(claim, shape_only_inputs=frozenset(), body_host={STAND_BY: ends_on_host})
