"""The minimum cut between two sides of a directed graph with capacities, by blocking flows.

Dinitz, "Algorithm for solution of a problem of maximum flow in networks with power estimation", 1970. (SciPy's `maximum_flow` is faster
on graphs of tens of thousands of nodes, but its import takes longer than the whole search takes for the graph of a model.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

SOURCE, SINK = 0, 1
Edge = tuple[int, int, int]
INFINITE = 1 << 29

_Residual = list[dict[int, int]]
"""Vertex → neighbour → how much more could flow there."""


def source_side(vertex_count: int, edges: Sequence[Edge]) -> set[int]:
    """The vertices on the source's side of a minimum cut: the fewest there can be.

    Args:
        vertex_count: vertices are 0 … vertex_count-1; 0 is the source, 1 the sink.
        edges: (from, to, capacity); capacities are whole numbers up to `INFINITE`.
    """
    residual: _Residual = [{} for _ in range(vertex_count)]
    for tail, head, capacity in edges:
        residual[tail][head] = min(residual[tail].get(head, 0) + capacity, INFINITE)
        residual[head].setdefault(tail, 0)
    while (distances := _distances(residual))[SOURCE] is not None:
        _block(residual, distances)
    reached, queue = {SOURCE}, deque([SOURCE])
    while queue:
        for vertex, capacity in residual[queue.popleft()].items():
            if capacity > 0 and vertex not in reached:
                reached.add(vertex)
                queue.append(vertex)
    return reached


def _distances(residual: _Residual) -> list[int | None]:
    """Edges from each vertex to the sink along which something can flow; None if there is no way."""
    distances: list[int | None] = [None] * len(residual)
    distances[SINK] = 0
    queue = deque([(SINK, 0)])
    while queue:
        head, distance = queue.popleft()
        for tail in residual[head]:
            if distances[tail] is None and residual[tail][head] > 0:
                distances[tail] = distance + 1
                queue.append((tail, distance + 1))
    return distances


def _block(residual: _Residual, distances: list[int | None]) -> None:
    """Let flow along shortest paths until each has a full edge."""
    untried = [iter(heads) for heads in residual]  # of which the numbers change, and no key
    heads = [next(each, None) for each in untried]
    path = [SOURCE]
    while path:
        vertex = path[-1]
        if vertex == SINK:
            path = _saturate(residual, path)
            continue
        distance, head = distances[vertex], heads[vertex]
        while head is not None and not (residual[vertex][head] > 0 and distance is not None and distances[head] == distance - 1):
            head = next(untried[vertex], None)
        heads[vertex] = head
        if head is None:
            distances[vertex] = None
            path.pop()
        else:
            path.append(head)


def _saturate(residual: _Residual, path: Sequence[int]) -> list[int]:
    """Let as much flow as the path takes; what is left of it in front of the first edge that is full."""
    edges = list(pairwise(path))
    flow = min(residual[tail][head] for tail, head in edges)
    for tail, head in edges:
        residual[tail][head] -= flow
        residual[head][tail] += flow
    full = next(position for position, (tail, head) in enumerate(edges) if not residual[tail][head])
    return list(path[: full + 1])
