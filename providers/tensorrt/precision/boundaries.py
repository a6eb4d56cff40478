"""Which of the nodes that may compute in either type compute in the small one: so that there are as few casts as possible.

A value needs one cast if a reader wants another type than its producer gives, for all such readers together. The fewest casts are a
minimum cut between float32 and the small type; of several, the one with the most nodes in the small type.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from onnxgpu.partition.minimum_cut import INFINITE, SINK, SOURCE, Edge, source_side
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.precision.view import View

_FIRST_NODE = 2


def small_nodes(view: View, choices: Sequence[Choice]) -> frozenset[int]:
    """The indices of the nodes that compute in the small type.

    Args:
        view: of the segment.
        choices: one for each node.
    """
    if not any(choice.kind is Kind.SMALL for choice in choices):
        return frozenset()
    edges: list[Edge] = []
    for index, choice in enumerate(choices):
        if choice.kind is Kind.FULL:
            edges.append((SOURCE, _FIRST_NODE + index, INFINITE))
        elif choice.kind is Kind.SMALL:
            edges.append((_FIRST_NODE + index, SINK, INFINITE))
    count = _FIRST_NODE + len(choices)
    for name in sorted(name for name in view.names if view.is_float32(name) and not view.is_constant(name)):
        producer, readers = _ends(view, choices, name)
        for reader in readers:
            if reader != producer:
                edges += [(count, reader, INFINITE), (reader, count + 1, INFINITE)]
        edges += [(producer, count, 1), (count + 1, producer, 1)]
        count += 2
    full = source_side(count, [edge for edge in edges if edge[1] != SOURCE and edge[0] != SINK])
    wanted = (Kind.SMALL, Kind.EITHER)
    return _linked(view, choices, {i for i, choice in enumerate(choices) if choice.kind in wanted and _FIRST_NODE + i not in full})


def _linked(view: View, choices: Sequence[Choice], nodes: Set[int]) -> frozenset[int]:
    """The nodes that values lead from or to one that has to be small; the others gain nothing, and shape arithmetic is among them."""
    linked = {index for index in nodes if choices[index].kind is Kind.SMALL}
    waiting = list(linked)
    while waiting:
        index = waiting.pop()
        before = {view.producers[name] for name in view.nodes[index].input if name in view.producers and view.is_float32(name)}
        after = {reader for reader, _, name in view.followers(index) if view.is_float32(name)}
        new = ((before | after) & nodes) - linked
        linked |= new
        waiting += new
    return frozenset(linked)


def _ends(view: View, choices: Sequence[Choice], name: str) -> tuple[int, set[int]]:
    """The vertices of who gives and of who reads the value; `SOURCE` stands for everybody with whom it is float32 for certain."""
    index = view.producers.get(name)
    producer = SOURCE
    if index is not None and list(view.nodes[index].output).index(name) in choices[index].changes.outputs:
        producer = _FIRST_NODE + index
    readers: set[int] = set()
    for reader, position in view.readers.get(name, ()):
        if choices[reader].kind is not Kind.UNTOUCHED:
            readers.add(_FIRST_NODE + reader if position in choices[reader].changes.inputs else SOURCE)
    if name in view.outputs or name in view.captured:
        readers.add(SOURCE)
    return producer, readers
