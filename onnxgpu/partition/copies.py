"""Which nodes to move to the host because that saves more in copies than it costs: a minimum cut.

A node on the source's side stays on its device, on the sink's side it runs on the host. Cutting a node's edge costs
what the node costs on that side; cutting a value's edge costs one copy of it, however many nodes read it. Inputs,
outputs and constants of the graph cost nothing: they are copied in any case, or once. Those of a body lie where its node runs,
and a loop's condition on the host; where the node runs on the host, they cost nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from onnxgpu.partition.hints import Hints
from onnxgpu.partition.minimum_cut import INFINITE, SINK, SOURCE, Edge, source_side
from onnxgpu.partition.placement import Assignment
from onnxgpu.provider import HOST, Claim, Provider, Subgraph, ValueInfo, bytes_of
from onnxgpu.segment_provider import SegmentProvider

if TYPE_CHECKING:
    import onnx_ir as ir

COPY_LATENCY = 10e-6
COPY_BYTES_PER_SECOND = 10e9
_UNIT = 1e-8


def host_moves(assignments: Mapping[ir.Node, Assignment], providers: Sequence[Provider], hints: Hints) -> list[ir.Node]:
    """Nodes now on a device that are better off on the host."""
    body_ends = list(_body_ends(assignments))
    on_host = {a.provider.place == HOST for a in assignments.values()}
    if on_host <= {True} or (on_host == {False} and not any(is_on_host for *_, is_on_host in body_ends)):
        return []
    hosts = [provider for provider in providers if provider.place == HOST]
    vertices = {node: i + 2 for i, node in enumerate(assignments)}
    edges: list[Edge] = []
    for node, assignment in assignments.items():
        edges += _node_edges(vertices[node], assignment, hosts, hints)
    count = len(vertices) + 2
    for node, assignment in assignments.items():
        for value, info in zip(node.outputs, assignment.operation.outputs, strict=True):
            readers = _data_readers(value, assignments)
            if info is not None and readers:
                edges += _value_edges(vertices[node], [vertices[r] for r in readers], count, _capacity(_copy_seconds(info)))
                count += 2
    for value, info, node, is_on_host in body_ends:
        end, maker = SINK if is_on_host else vertices[node], value.producer()
        capacity = _capacity(_copy_seconds(info))
        if maker is None:
            edges += _value_edges(end, [vertices[reader] for reader in _data_readers(value, assignments)], count, capacity)
        else:
            edges += _value_edges(vertices[maker], [end], count, capacity)
        count += 2
    device_side = source_side(count, edges)
    return [node for node, vertex in vertices.items() if assignments[node].provider.place != HOST and vertex not in device_side]


def _body_ends(assignments: Mapping[ir.Node, Assignment]) -> Iterator[tuple[ir.Value, ValueInfo, ir.Node, bool]]:
    """Inputs and outputs of bodies, for control flow on a device: what is known of them, the node, and whether they are the host's.

    All others lie where the node runs.
    """
    for node, assignment in assignments.items():
        if assignment.provider.place == HOST:
            continue
        for name, known in assignment.operation.attributes.items():
            if isinstance(known, Subgraph):
                graph, host = node.attributes[name].as_graph(), assignment.claim.body_host.get(name, ((), ()))
                for values, infos, on_host in ((graph.inputs, known.inputs, host[0]), (graph.outputs, known.outputs, host[1])):
                    yield from ((value, info, node, i in on_host) for i, (value, info) in enumerate(zip(values, infos, strict=True)))


def _node_edges(vertex: int, assignment: Assignment, hosts: Sequence[Provider], hints: Hints) -> list[Edge]:
    operation, provider = assignment.operation, assignment.provider
    if provider.place == HOST:
        return [(vertex, SINK, INFINITE)]
    host = next((h for h in hosts if isinstance(h.claim(operation), Claim)), None)
    if host is None or hints.provider_for(operation) or isinstance(provider, SegmentProvider):
        return [(SOURCE, vertex, INFINITE)]
    on_host, on_device = host.cost(operation), provider.cost(operation)
    if hints.mode == "fastest":
        return [(SOURCE, vertex, _capacity(on_host)), (vertex, SINK, _capacity(on_device))]
    return [(SOURCE, vertex, _capacity(max(on_host - on_device, 0) + _UNIT))]


def _value_edges(producer: int, readers: Sequence[int], fresh: int, capacity: int) -> list[Edge]:
    down, up = fresh, fresh + 1
    edges = [(producer, down, capacity), (up, producer, capacity)]
    for reader in readers:
        edges += [(down, reader, INFINITE), (reader, up, INFINITE)]
    return edges


def _data_readers(value: ir.Value, assignments: Mapping[ir.Node, Assignment]) -> list[ir.Node]:
    readers = []
    for usage in value.uses():
        assignment = assignments.get(usage.node)
        if assignment and usage.idx not in assignment.claim.shape_only_inputs | assignment.claim.host_inputs:
            readers.append(usage.node)
    return readers


def _copy_seconds(value: ValueInfo) -> float:
    return COPY_LATENCY + bytes_of(value) / COPY_BYTES_PER_SECOND


def _capacity(seconds: float) -> int:
    return max(1, min(int(seconds / _UNIT), INFINITE - 1))
