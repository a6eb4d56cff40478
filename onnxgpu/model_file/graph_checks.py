"""The rules of a valid graph: every name defined once, every use defined, no cycle; nodes in topological order."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from onnxgpu.errors import InvalidGraph
from onnxgpu.model_file.names import node_name, subgraphs

if TYPE_CHECKING:
    import onnx

Scopes = tuple[set[str], ...]
"""The names that each enclosing graph defines, outermost first."""


def arrange(graph: onnx.GraphProto, outer: Scopes = ()) -> set[str]:
    """Check `graph` and its subgraphs and sort their nodes, in place; gives the outer names that `graph` uses.

    A subgraph may shadow an outer name, and may return an outer value (an Identity node is added for it).

    Raises:
        InvalidGraph: a name that is defined twice or never, a cycle, an output that nothing produces.
    """
    producers: dict[str, int] = {}
    defined = _given(graph)
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in defined:
                first = f"by {node_name(graph.node[producers[name]])}" if name in producers else "as a graph input or initializer"
                raise _duplicate(name, f"it is given by {node_name(node)} and already {first}")
            defined.add(name)
            producers[name] = index
    needs = [_needs(node, (*outer, defined)) for node in graph.node]
    captured = _return_outer_values(graph, outer, defined)
    for node, names in zip(graph.node, needs, strict=False):
        captured |= {name for name in names if _check_defined(node, name, defined, outer)}
    _sort(graph, needs, producers)
    return captured


def _given(graph: onnx.GraphProto) -> set[str]:
    inputs: set[str] = set()
    for info in graph.input:
        if info.name in inputs:
            raise _duplicate(info.name, "it is a graph input twice")
        inputs.add(info.name)
    initializers: set[str] = set()
    for tensor in graph.initializer:
        if tensor.name in initializers:
            raise _duplicate(tensor.name, "it is an initializer twice")
        initializers.add(tensor.name)
    if "" in inputs | initializers:
        raise InvalidGraph(f"graph '{graph.name}' has an input or initializer without a name")
    return inputs | initializers


def _duplicate(name: str, how: str) -> InvalidGraph:
    return InvalidGraph(f"This is an invalid model. Error: Duplicate definition of name ({name}): {how}; define each value once (SSA)")


def _needs(node: onnx.NodeProto, scopes: Scopes) -> set[str]:
    names = {name for name in node.input if name}
    for inner in subgraphs(node):
        names |= arrange(inner, scopes)
    return names


def _check_defined(node: onnx.NodeProto, name: str, defined: set[str], outer: Scopes) -> bool:
    """True if `name` comes from an outer graph."""
    if name in defined:
        return False
    if any(name in scope for scope in outer):
        return True
    raise InvalidGraph(
        f"Invalid model. Node input '{name}' is not a graph input, initializer, or output of a previous node (used by {node_name(node)})"
    )


def _return_outer_values(graph: onnx.GraphProto, outer: Scopes, defined: set[str]) -> set[str]:
    captured: set[str] = set()
    for info in graph.output:
        name = info.name
        if name in defined:
            continue
        if not any(name in scope for scope in outer):
            raise InvalidGraph(
                f"This is an invalid model. Graph output ({name}) does not exist in the graph: no node of graph '{graph.name}' gives it"
            )
        captured.add(name)
        info.name = f"{name}_returned"
        while info.name in defined:
            info.name += "_"
        defined.add(info.name)
        graph.node.add(op_type="Identity", input=[name], output=[info.name])
    return captured


def _sort(graph: onnx.GraphProto, needs: Sequence[set[str]], producers: dict[str, int]) -> None:
    """Topological order that keeps the given order wherever it can. Added Identity nodes, at the end, need no sorting."""
    waits = [{producers[name] for name in names if name in producers} for names in needs]
    if all(max(wait, default=-1) < index for index, wait in enumerate(waits)):
        return
    readers: list[list[int]] = [[] for _ in waits]
    for index, wait in enumerate(waits):
        for producer in wait:
            readers[producer].append(index)
    open_count = [len(wait) for wait in waits]
    ready = [index for index, count in enumerate(open_count) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        order.append(heappop(ready))
        for reader in readers[order[-1]]:
            open_count[reader] -= 1
            if not open_count[reader]:
                heappush(ready, reader)
    if len(order) < len(waits):
        raise InvalidGraph(_cycle(graph, waits, set(order)))
    nodes = [graph.node[i] for i in (*order, *range(len(waits), len(graph.node)))]
    sorted_graph = type(graph)(node=nodes)
    del graph.node[:]
    graph.node.extend(sorted_graph.node)


def _cycle(graph: onnx.GraphProto, waits: Sequence[set[int]], done: set[int]) -> str:
    """Walk backwards from a node that never became ready until a node comes again."""
    index = next(i for i in range(len(waits)) if i not in done)
    walked: list[int] = []
    while index not in walked:
        walked.append(index)
        index = next(i for i in sorted(waits[index]) if i not in done)
    loop = [*walked[walked.index(index) :], index]
    names = " <- ".join(node_name(graph.node[i]) for i in loop[:10])
    return f"This is an invalid model. Error: the graph is not acyclic: {names}"
