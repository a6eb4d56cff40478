"""The minimum cut between two sides of a directed graph with capacities.

Uses SciPy's `maximum_flow` where SciPy is installed; otherwise push-relabel (Goldberg and Tarjan,
"A new approach to the maximum-flow problem", 1988).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

SOURCE, SINK = 0, 1
Edge = tuple[int, int, int]
INFINITE = 1 << 29


def source_side(vertex_count: int, edges: Sequence[Edge]) -> set[int]:
    """The vertices on the source's side of a minimum cut.

    Args:
        vertex_count: vertices are 0 … vertex_count-1; 0 is the source, 1 the sink.
        edges: (from, to, capacity); capacities are whole numbers up to `INFINITE`.
    """
    try:
        residual = _scipy_residual(vertex_count, edges)
    except ImportError:
        residual = _push_relabel(vertex_count, edges)
    reached, queue = {SOURCE}, deque([SOURCE])
    while queue:
        for vertex, capacity in residual[queue.popleft()].items():
            if capacity > 0 and vertex not in reached:
                reached.add(vertex)
                queue.append(vertex)
    return reached


def _capacities(vertex_count: int, edges: Sequence[Edge]) -> list[dict[int, int]]:
    residual: list[dict[int, int]] = [{} for _ in range(vertex_count)]
    for tail, head, capacity in edges:
        residual[tail][head] = min(residual[tail].get(head, 0) + capacity, INFINITE)
        residual[head].setdefault(tail, 0)
    return residual


def _scipy_residual(vertex_count: int, edges: Sequence[Edge]) -> list[dict[int, int]]:
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    residual = _capacities(vertex_count, edges)
    rows, columns, values = zip(*((u, v, c) for u, heads in enumerate(residual) for v, c in heads.items()), strict=True)
    graph = csr_array((np.array(values, np.int32), (rows, columns)), shape=(vertex_count, vertex_count))
    flow = maximum_flow(graph, SOURCE, SINK).flow.tocoo()
    for u, v, f in zip(flow.row, flow.col, flow.data, strict=True):
        residual[u][v] -= int(f)
    return residual


def _push_relabel(vertex_count: int, edges: Sequence[Edge]) -> list[dict[int, int]]:
    residual = _capacities(vertex_count, edges)
    height, excess = [0] * vertex_count, [0] * vertex_count
    height[SOURCE] = vertex_count
    active: deque[int] = deque()
    for head, capacity in list(residual[SOURCE].items()):
        if capacity > 0:
            residual[SOURCE][head] -= capacity
            residual[head][SOURCE] = residual[head].get(SOURCE, 0) + capacity
            excess[head] += capacity
            if head != SINK:
                active.append(head)
    while active:
        vertex = active.popleft()
        while excess[vertex] > 0:
            lowest = 2 * vertex_count
            for head, capacity in residual[vertex].items():
                if capacity <= 0:
                    continue
                if height[vertex] == height[head] + 1:
                    pushed = min(excess[vertex], capacity)
                    residual[vertex][head] -= pushed
                    residual[head][vertex] += pushed
                    if excess[head] == 0 and head not in (SOURCE, SINK):
                        active.append(head)
                    excess[vertex] -= pushed
                    excess[head] += pushed
                    if excess[vertex] == 0:
                        break
                else:
                    lowest = min(lowest, height[head])
            if excess[vertex] > 0:
                height[vertex] = lowest + 1
    return residual
