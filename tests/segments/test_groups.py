"""Segments are as large as they can be, connected, and never wait for what waits for them."""

from __future__ import annotations

import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxgpu.partition.segments import ends, groups


@st.composite
def graphs(draw: st.DrawFn) -> tuple[ir.Graph, set[ir.Node]]:
    """A graph of nodes with up to three inputs, and a choice of its nodes."""
    count = draw(st.integers(1, 24))
    source = ir.Value(name="x")
    nodes: list[ir.Node] = []
    for index in range(count):
        places = draw(st.lists(st.integers(-1, index - 1), min_size=1, max_size=3))
        inputs = [source if place < 0 else nodes[place].outputs[0] for place in places]
        nodes.append(ir.Node("", "Sum", inputs, name=f"n{index}"))
    unread = [node.outputs[0] for node in nodes if not node.outputs[0].uses()]
    graph = ir.Graph([source], unread, nodes=nodes, opset_imports={"": 18})
    return graph, set(draw(st.lists(st.sampled_from(nodes), unique=True)))


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_segments_partition_the_members(case: tuple[ir.Graph, set[ir.Node]]) -> None:
    graph, members = case
    found = groups(graph, members)
    assert sorted(node.name or "" for group in found for node in group) == sorted(node.name or "" for node in members)


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_no_segment_waits_for_itself(case: tuple[ir.Graph, set[ir.Node]]) -> None:
    """With every segment made one node the graph still has an order."""
    graph, members = case
    owner: dict[ir.Node, object] = {node: node for node in graph}
    for number, group in enumerate(groups(graph, members)):
        owner.update(dict.fromkeys(group, number))
    edges = {(owner[p], owner[node]) for node in graph for v in node.inputs if v is not None and (p := v.producer()) is not None}
    left = {part: {a for a, b in edges if b == part and a != part} for part in set(owner.values())}
    while left:
        ready = [part for part, before in left.items() if not before]
        assert ready, "the segments wait for each other"
        for part in ready:
            del left[part]
        for before in left.values():
            before.difference_update(ready)


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_a_segment_is_connected(case: tuple[ir.Graph, set[ir.Node]]) -> None:
    graph, members = case
    for group in groups(graph, members):
        reached, inside = {group[0]}, set(group)
        while True:
            near = {n for n in inside - reached if reached & (_neighbours(n))}
            if not near:
                break
            reached |= near
        assert reached == inside


def _neighbours(node: ir.Node) -> set[ir.Node]:
    before = {p for v in node.inputs if v is not None and (p := v.producer()) is not None}
    return before | {usage.node for value in node.outputs for usage in value.uses()}


def test_everything_is_one_segment_where_nothing_is_in_between() -> None:
    x = ir.Value(name="x")
    a = ir.Node("", "Relu", [x])
    b = ir.Node("", "Neg", [a.outputs[0]])
    c = ir.Node("", "Add", [a.outputs[0], b.outputs[0]])
    graph = ir.Graph([x], [c.outputs[0]], nodes=[a, b, c], opset_imports={"": 18})
    assert groups(graph, {a, b, c}) == [(a, b, c)]
    assert groups(graph, {a, c}) == [(a,), (c,)], "a path leaves the segment and comes back"
    assert ends((a, b)) == ([x], [a.outputs[0], b.outputs[0]])


def test_a_long_chain_takes_no_quadratic_time() -> None:
    value = ir.Value(name="x")
    graph_input, nodes = value, []
    for _ in range(20_000):
        nodes.append(ir.Node("", "Relu", [value]))
        value = nodes[-1].outputs[0]
    graph = ir.Graph([graph_input], [value], nodes=nodes, opset_imports={"": 18})
    assert [len(group) for group in groups(graph, set(nodes))] == [20_000]
