"""Gradient of ai.onnx.preview.training, replaced by the nodes that compute it: reverse-mode differentiation of the graph.

A Gradient node names a part of the graph around it, from tensors `xs` and `zs` to `y`. The nodes of that part are gone
through backwards, and each adds the nodes that carry the gradient of its output to its inputs (`gradient_rules.py`).
The result is ordinary ONNX, so a gradient can be differentiated again, and every provider can run it.
Spec: https://onnx.ai/onnx/operators/onnx_aionnxpreviewtraining_Gradient.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from onnxgpu.errors import InvalidGraph, NotImplemented
from onnxgpu.model_file.gradient_layers import RULES
from onnxgpu.model_file.gradient_tape import Tape
from onnxgpu.model_file.names import all_graphs, node_name, operator_name, subgraphs

if TYPE_CHECKING:
    import onnx

DOMAIN = "ai.onnx.preview.training"
OLDEST_OPSET = 11
"""The first opset whose operators the rules are written with."""


def expand_gradients(model: onnx.ModelProto) -> None:
    """Replace every Gradient node of `model` by the nodes that compute it, in place.

    Raises:
        InvalidGraph: a Gradient that names a tensor that is not there, or gradients that need each other.
        NotImplemented: an operator without a rule on the way, a Gradient in a subgraph, or an opset before 11.
    """
    nodes = [(graph, node) for graph in all_graphs(model.graph) for node in graph.node if _is_gradient(node)]
    if not nodes:
        return
    _check_place(model, nodes)
    while waiting := [node for node in model.graph.node if _is_gradient(node)]:
        node = _first_ready(model.graph, waiting)
        expanded = _expanded(model, node)
        model.graph.node.remove(node)
        model.graph.node.extend(expanded)


def _is_gradient(node: onnx.NodeProto) -> bool:
    return (node.domain, node.op_type) == (DOMAIN, "Gradient")


def _check_place(model: onnx.ModelProto, found: Sequence[tuple[onnx.GraphProto, onnx.NodeProto]]) -> None:
    version = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    for graph, node in found:
        if graph is not model.graph:
            raise NotImplemented(f"{node_name(node)} stands in a subgraph; only those of the main graph can be differentiated")
        if version < OLDEST_OPSET:
            raise NotImplemented(f"{node_name(node)} needs a model of opset {OLDEST_OPSET} or newer, this one has {version}")


def _first_ready(graph: onnx.GraphProto, waiting: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    """A Gradient whose part of the graph has no other Gradient in it."""
    for node in waiting:
        if not any(_is_gradient(inner) for inner in _part(graph, node)):
            return node
    raise InvalidGraph(f"gradients need each other: {', '.join(node_name(node) for node in waiting)}")


def _strings(node: onnx.NodeProto, name: str) -> list[str]:
    return next(([value.decode() for value in a.strings] for a in node.attribute if a.name == name), [])


def _target(node: onnx.NodeProto) -> str:
    return next((str(a.s.decode()) for a in node.attribute if a.name == "y"), "")


def _part(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes between `xs`, `zs` and `y`, each behind those whose outputs it reads."""
    producers = {name: other for other in graph.node for name in other.output if name}
    given = {*_strings(node, "xs"), *_strings(node, "zs")}
    order: list[onnx.NodeProto] = []
    seen: set[int] = set()
    stack = [(_target(node), False)]
    while stack:
        name, done = stack.pop()
        producer = producers.get(name)
        if producer is None or name in given:
            continue
        if done:
            order.append(producer)
        elif id(producer) not in seen:
            seen.add(id(producer))
            stack.append((name, True))
            stack += [(read, False) for read in producer.input]
    return order


def _expanded(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What takes the place of one Gradient node."""
    _check(model.graph, node)
    name = node.name or next(filter(None, node.output))
    wanted, target = _strings(node, "xs"), _target(node)
    values = dict(zip([*wanted, *_strings(node, "zs")], node.input, strict=True))
    part = _part(model.graph, node)
    if any(name != value for name, value in values.items()):
        part = _moved(part, values, f"{name}/at_inputs")
        model.graph.node.extend(part)
    for inner in part:
        if any(subgraphs(inner)):
            raise NotImplemented(f"{node_name(node)} cannot differentiate {node_name(inner)}: it has subgraphs")
    sources = [values[source] for source in wanted]
    tape = Tape(model, name)
    tape.start(values.get(target, target), _active(part, sources))
    for inner in reversed(part):
        _differentiate(tape, node, inner)
    for source, output in zip(sources, node.output, strict=False):
        if output:
            tape.finish(source, output)
    return tape.nodes


def _check(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    given = [*_strings(node, "xs"), *_strings(node, "zs")]
    known = {name for other in graph.node for name in other.output} | {v.name for v in (*graph.input, *graph.initializer)}
    missing = [name for name in (*given, _target(node)) if name not in known]
    if missing:
        raise InvalidGraph(f"{node_name(node)}: there is no tensor '{missing[0]}'")
    if len(given) != len(node.input) or len(node.output) > len(_strings(node, "xs")) or not any(node.output):
        raise InvalidGraph(
            f"{node_name(node)}: expected one input for each of the {len(given)} tensors of xs and zs, and at most one output "
            f"for each of xs, got {len(node.input)} inputs and {len(node.output)} outputs"
        )


def _moved(part: Iterable[onnx.NodeProto], values: dict[str, str], prefix: str) -> list[onnx.NodeProto]:
    """The part once more, over the inputs of the Gradient in place of the tensors that it names; `values` gets the new names."""
    moved = []
    for node in part:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name = f"{prefix}/{node.name or node.output[0]}"
        copy.input[:] = [values.get(name, name) for name in node.input]
        values |= {name: f"{prefix}/{name}" for name in node.output if name}
        copy.output[:] = [values[name] if name else "" for name in node.output]
        moved.append(copy)
    return moved


def _differentiate(tape: Tape, gradient_node: onnx.NodeProto, node: onnx.NodeProto) -> None:
    """Give the gradients of the node's inputs, if one of its outputs has one."""
    reached = [index for index, name in enumerate(node.output) if tape.gradient(name) is not None]
    if not reached:
        return
    found = RULES.get(node.op_type) if not node.domain else None
    if found is None or reached != [0]:
        why = "the gradient of its further outputs is needed" if found else f"there is no rule for {operator_name(node)}"
        raise NotImplemented(
            f"{node_name(gradient_node)} cannot differentiate {node_name(node)}: {why}; there are rules for {', '.join(sorted(RULES))}"
        )
    found(tape, node, tape.gradient(node.output[0]) or "")


def _active(nodes: Iterable[onnx.NodeProto], sources: Iterable[str]) -> set[str]:
    """Every value that depends on one of `sources`."""
    active = set(sources)
    for node in nodes:
        if active.intersection(node.input):
            active.update(name for name in node.output if name)
    return active
