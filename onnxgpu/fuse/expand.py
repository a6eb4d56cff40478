"""Back from a fused graph to standard ONNX: every fused node is replaced by the body it carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.fuse.fusion import body_of, inlined

if TYPE_CHECKING:
    import onnx_ir as ir


def expanded(model: ir.Model) -> ir.Model:
    """A copy of `model` with the body of each fused node in the node's place; tensors are shared with `model`.

    Args:
        model: as `fuse` left it; bodies of If, Loop and Scan are gone through too.
    """
    copy = model.clone()
    graphs = list(copy.graphs())
    taken = {value.name or "" for graph in graphs for value in _values(graph)}
    for graph in graphs:
        for node in tuple(graph):
            if body_of(node) is not None:
                _expand(graph, node, taken)
    return copy


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]


def _expand(graph: ir.Graph, node: ir.Node, taken: set[str]) -> None:
    import onnx_ir as ir

    old = node.outputs[0]
    values = {value: value for value in node.inputs if value is not None}
    nodes = inlined(node, values)
    for value in (value for inner in nodes for value in inner.outputs if value is not values[old]):
        value.name = _free(value.name or "value", taken)
    ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, [old], [values[old]])
    values[old].name = old.name


def _free(name: str, taken: set[str]) -> str:
    free = next(candidate for candidate in (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2))) if candidate not in taken)
    taken.add(free)
    return free
