"""Put the nodes of a provider of segments together into the largest segments that can run as one step each.

The graph is scheduled in turns (Kahn's algorithm with two queues): all nodes of others that are ready, then all nodes of the
provider that are ready or become so within the turn. A path between two nodes of one turn passes through nodes of that
turn only, so no segment waits for what waits for itself; each connected part of a turn is a segment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from onnxgpu.model_file import is_constant
from onnxgpu.partition.operations import info_of
from onnxgpu.provider import Operation, ValueInfo
from onnxgpu.segment_provider import Segment

if TYPE_CHECKING:
    import onnx_ir as ir


def groups(graph: ir.Graph, members: Collection[ir.Node]) -> list[tuple[ir.Node, ...]]:
    """The nodes of `members` that are in `graph`, as segments in an order in which they can run.

    Args:
        graph: nodes in topological order.
        members: nodes that may be in segments.
    """
    nodes = tuple(graph)
    before = {node: _producers(node, graph) for node in nodes}
    after: dict[ir.Node, list[ir.Node]] = {node: [] for node in nodes}
    for node in nodes:
        for producer in before[node]:
            after[producer].append(node)
    missing = {node: len(before[node]) for node in nodes}
    ready: dict[bool, deque[ir.Node]] = {False: deque(), True: deque()}
    for node in nodes:
        if not missing[node]:
            ready[node in members].append(node)
    found: list[list[ir.Node]] = []
    turn = False
    while ready[False] or ready[True]:
        batch: list[ir.Node] = []
        while ready[turn]:
            node = ready[turn].popleft()
            batch.append(node)
            for reader in after[node]:
                missing[reader] -= 1
                if not missing[reader]:
                    ready[reader in members].append(reader)
        if turn:
            found += _connected(batch, before)
        turn = not turn
    position = {node: index for index, node in enumerate(nodes)}
    return [tuple(sorted(group, key=position.__getitem__)) for group in found]


def _producers(node: ir.Node, graph: ir.Graph) -> set[ir.Node]:
    """The nodes of `graph` whose outputs `node`, or a body of it, reads."""
    return {producer for value in _read(node) if (producer := value.producer()) is not None and producer.graph is graph}


def _read(node: ir.Node) -> Iterator[ir.Value]:
    import onnx_ir as ir

    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            body = attribute.as_graph()
            yield from body.outputs
            for inner in body:
                yield from _read(inner)


def _connected(batch: Sequence[ir.Node], before: dict[ir.Node, set[ir.Node]]) -> list[list[ir.Node]]:
    """The parts of `batch` that no edge connects."""
    part: dict[ir.Node, list[ir.Node]] = {}
    for node in batch:
        joined = sorted({id(p): p for producer in before[node] if (p := part.get(producer))}.values(), key=len)
        largest = joined.pop() if joined else []
        for moved in (*joined, [node]):
            largest += moved
            part.update(dict.fromkeys(moved, largest))
    return list({id(nodes): nodes for nodes in part.values()}.values())


def segment_of(name: str, nodes: Sequence[ir.Node], operations: Iterable[Operation]) -> Segment:
    """The segment of `nodes`, one of `groups`.

    Args:
        name: of the segment.
        nodes: in graph order.
        operations: theirs.
    """
    inputs, outputs = ends(nodes)
    return Segment(name, tuple(operations), tuple(map(_info, inputs)), tuple(map(_info, outputs)))


def ends(nodes: Sequence[ir.Node]) -> tuple[list[ir.Value], list[ir.Value]]:
    """The values that `nodes` read from outside, constants excepted, and those of theirs that are read outside."""
    inside = set(nodes)
    read = dict.fromkeys(value for node in nodes for value in node.inputs if value is not None)
    inputs = [value for value in read if value.producer() not in inside and not is_constant(value)]
    outputs = [value for node in nodes for value in node.outputs if _leaves(value, inside)]
    return inputs, outputs


def _leaves(value: ir.Value, inside: set[ir.Node]) -> bool:
    return value.is_graph_output() or any(usage.node not in inside for usage in value.uses())


def _info(value: ir.Value) -> ValueInfo:
    info = info_of(value)
    assert info is not None
    return info
