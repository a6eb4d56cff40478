"""Which of the nodes that may compute in either type compute in the small one: so that there are as few casts as possible.

A value needs one cast if a reader wants another type than its producer gives, for all such readers together. The fewest casts are a
minimum cut between float32 and the small type; of several, the one with the most nodes in the small type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from onnxgpu.partition.minimum_cut import INFINITE, SINK, SOURCE, Edge, source_side
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.precision.view import View


def small_nodes(view: View, choices: Sequence[Choice]) -> frozenset[int]:
    """The indices of the nodes that compute in the small type.

    Args:
        view: of the segment.
        choices: one for each node.
    """
    fixed = {index for index, choice in enumerate(choices) if choice.kind is Kind.SMALL}
    if not fixed:
        return frozenset()
    free = [index for index, choice in enumerate(choices) if choice.kind is Kind.EITHER]
    vertices = dict.fromkeys(fixed, SINK) | {index: SINK + 1 + place for place, index in enumerate(free)}
    edges: list[Edge] = []
    count = SINK + 1 + len(free)
    for name in sorted(name for name in view.names if view.is_float32(name) and not view.is_constant(name)):
        producer, readers = _ends(view, choices, vertices, name)
        if not {producer, *readers} <= {SOURCE, SINK}:
            edges += _edges(producer, readers, count)
            count += 2
    full = _source_side([edge for edge in edges if edge[0] != SINK and edge[1] != SOURCE])
    return _linked(view, choices, fixed | {index for index in free if vertices[index] not in full})


def _ends(view: View, choices: Sequence[Choice], vertices: Mapping[int, int], name: str) -> tuple[int, set[int]]:
    """The vertices of who gives and of who reads the value; `SOURCE` stands for everybody with whom it is float32 for certain."""
    index = view.producers.get(name)
    producer = SOURCE
    if index is not None and list(view.nodes[index].output).index(name) in choices[index].changes.outputs:
        producer = vertices[index]
    readers: set[int] = set()
    for reader, position in view.readers.get(name, ()):
        if choices[reader].kind is not Kind.UNTOUCHED:
            readers.add(vertices[reader] if position in choices[reader].changes.inputs else SOURCE)
    if name in view.outputs or name in view.captured:
        readers.add(SOURCE)
    return producer, readers - {producer}


def _edges(producer: int, readers: Set[int], vertex: int) -> list[Edge]:
    """What makes a cut cost 1 if any reader is on the other side than the producer; `vertex` and the next are new."""
    if len(readers) == 1:
        (reader,) = readers
        return [(producer, reader, 1), (reader, producer, 1)]
    down, up = vertex, vertex + 1
    shared = [edge for reader in readers for edge in ((down, reader, INFINITE), (reader, up, INFINITE))]
    return [(producer, down, 1), (up, producer, 1), *shared]


def _source_side(edges: Sequence[Edge]) -> set[int]:
    """The vertices on the source's side of a minimum cut, found for each part that only source and sink join: parts are small."""
    neighbours: dict[int, list[int]] = {}
    for place, edge in enumerate(edges):
        for vertex in edge[:2]:
            if vertex not in (SOURCE, SINK):
                neighbours.setdefault(vertex, []).append(place)
    side: set[int] = set()
    seen: set[int] = set()
    for start in neighbours:
        if start in seen:
            continue
        own: dict[int, int] = {SOURCE: SOURCE, SINK: SINK, start: SINK + 1}
        part: set[int] = set()
        waiting = [start]
        while waiting:
            for place in neighbours[waiting.pop()]:
                part.add(place)
                for vertex in edges[place][:2]:
                    if vertex not in own:
                        own[vertex] = len(own)
                        waiting.append(vertex)
        seen.update(own)
        found = source_side(len(own), [(own[tail], own[head], capacity) for tail, head, capacity in map(edges.__getitem__, sorted(part))])
        side.update(vertex for vertex, number in own.items() if number in found)
    return side


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
