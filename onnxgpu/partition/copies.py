"""Which nodes to move to the host because that saves more in copies than it costs: a minimum cut.

A node on the source's side stays on its device, on the sink's side it runs on the host. Cutting a node's edge costs
what the node costs on that side; cutting a value's edge costs one copy of it, however many nodes read it. Inputs,
outputs and constants of the graph cost nothing: they are copied in any case, or once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnxgpu.partition.hints import Hints
from onnxgpu.partition.minimum_cut import INFINITE, SINK, SOURCE, Edge, source_side
from onnxgpu.partition.placement import Assignment
from onnxgpu.provider import HOST, Claim, Provider, ValueInfo, bytes_of
from onnxgpu.segment_provider import SegmentProvider

if TYPE_CHECKING:
    import onnx_ir as ir

COPY_LATENCY = 10e-6
COPY_BYTES_PER_SECOND = 10e9
_UNIT = 1e-8


def host_moves(assignments: Mapping[ir.Node, Assignment], providers: Sequence[Provider], hints: Hints) -> list[ir.Node]:
    """Nodes now on a device that are better off on the host."""
    if all(a.provider.place == HOST for a in assignments.values()) or all(a.provider.place != HOST for a in assignments.values()):
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
    device_side = source_side(count, edges)
    return [node for node, vertex in vertices.items() if assignments[node].provider.place != HOST and vertex not in device_side]


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
