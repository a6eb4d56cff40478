"""The state of one rewrite, and the only ways in which rules change a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxgpu.rewrite.values import described, labelled

if TYPE_CHECKING:
    from onnxgpu.rewrite import Evaluate

PROVENANCE = "onnxgpu.rewrite"
"""Key in `metadata_props` of every node and value a rule made: `rule: what it was made from`."""


class Rewriting:
    """One rewrite of one model.

    Attributes:
        model: the model that is changed in place.
        evaluate: runs one node on the host (see `onnxgpu.rewrite.rewrite`).
        fold_limit_bytes: how large a folded result may always be.
        rule: name of the rule at work; it is written into what the rule makes.
    """

    def __init__(self, model: ir.Model, evaluate: Evaluate, fold_limit_bytes: int) -> None:
        self.model = model
        self.evaluate = evaluate
        self.fold_limit_bytes = fold_limit_bytes
        self.rule = ""
        self._names = _names_in(model)

    def version(self, node: ir.Node) -> int:
        """The opset version `node` was written for; 0 if the model does not say."""
        return node.version or self.model.opset_imports.get(node.domain, 0)

    def fresh_name(self, stem: str) -> str:
        """A value name that nothing in the model has, made from `stem`."""
        name, count = stem, 0
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name

    def constant(self, near: ir.Node, array: np.ndarray, stem: str, sources: str, *, exact_name: bool = False) -> ir.Value:
        """A new initializer in the graph of node `near`.

        Its name is made from `stem`, or with `exact_name` is `stem` (the value that had this name is about to go);
        `sources` says in words what it was computed from.
        """
        name = stem if exact_name else self.fresh_name(stem)
        tensor = _tensor(array, name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        self.mark(value, sources)
        owner(near).register_initializer(value)
        return value

    def mark(self, made: ir.Node | ir.Value, sources: str) -> None:
        """Write into a node or value which rule made or changed it, and from what."""
        earlier = made.metadata_props.get(PROVENANCE)
        entry = f"{self.rule}: {sources}"
        made.metadata_props[PROVENANCE] = f"{earlier}; {entry}" if earlier else entry

    def replace(self, old: ir.Value, new: ir.Value) -> bool:
        """Let everybody who reads `old` read `new` instead; True if nothing reads `old` any more.

        Where `old` is a graph output its name must stay, so `new` takes name and position over; if it cannot (it is an
        input, an output itself, or belongs to another graph), `old` stays the output, and only its readers move.
        """
        for user, index in old.uses():
            user.replace_input_with(index, new)
        if not old.is_graph_output():
            _merge_knowledge(new, old)
            return True
        if not self.can_become_output(new, old):
            return False
        self._hand_over_output(old, new)
        return True

    def can_become_output(self, new: ir.Value, old: ir.Value) -> bool:
        """True if graph output `old` can be given to `new` together with its name."""
        taken = new.is_graph_input() or new.is_graph_output() or new.is_initializer()
        return not taken and new.graph is old.graph

    def _hand_over_output(self, old: ir.Value, new: ir.Value) -> None:
        graph, name = old.graph, old.name
        assert graph is not None
        old.name = None
        new.name = name
        new.type = old.type or new.type
        new.shape = old.shape if old.shape is not None else new.shape
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = new

    def bypass(self, node: ir.Node, source: ir.Value) -> str | None:
        """Remove `node`, whose first output always equals `source`; the text of the change, or None if nothing changed."""
        output, text = node.outputs[0], f"{described(node)} is {labelled(source)}"
        if output.is_graph_output() and not self.can_become_output(source, output) and not output.uses():
            return None
        if self.replace(output, source):
            self.remove(node)
        return text

    def remove(self, node: ir.Node) -> None:
        """Take a node that nobody reads out of its graph, with the initializers that only it (or its bodies) read."""
        released = list(_detach_bodies(node))
        released += [value for value in node.inputs if value is not None]
        owner(node).remove(node, safe=True)
        self.release(released)

    def reconnect(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        """Change one input of `node`; an initializer that nobody reads any more is dropped at once."""
        before = node.inputs[index] if index < len(node.inputs) else None
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, value)
        if before is not None:
            self.release([before])

    def release(self, values: Iterable[ir.Value]) -> int:
        """Drop those of `values` that are initializers without a reader, so that their memory is free; how many."""
        count = 0
        for value in values:
            unused = value.is_initializer() and not value.uses() and not value.is_graph_input() and not value.is_graph_output()
            if unused and value.graph is not None and value.name is not None:
                del value.graph.initializers[value.name]
                count += 1
        return count


def owner(node: ir.Node) -> ir.Graph:
    """The graph that `node` is in."""
    assert node.graph is not None
    return node.graph


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs in the attributes of `node`."""
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type is ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _detach_bodies(node: ir.Node) -> Iterator[ir.Value]:
    """Make the nodes in the bodies of `node` read nothing; yields what they read."""
    for body in bodies(node):
        for inner in body.all_nodes():
            for index, value in enumerate(inner.inputs):
                if value is not None:
                    inner.replace_input_with(index, None)
                    yield value


def _names_in(model: ir.Model) -> set[str]:
    names: set[str] = set()
    for graph in model.graphs():
        names.update(value.name for value in graph.inputs if value.name)
        names.update(graph.initializers)
        names.update(value.name for node in graph for value in node.outputs if value.name)
    return names


def _tensor(array: np.ndarray, name: str) -> ir.TensorProtocol:
    if array.dtype.kind in "OUS":
        encoded = [text.encode() if isinstance(text, str) else bytes(text) for text in array.reshape(-1).tolist()]
        return ir.StringTensor(encoded, shape=ir.Shape(array.shape), name=name)
    base = array.base
    if isinstance(base, np.ndarray) and base.nbytes > array.nbytes:
        array = array.copy()
    return ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)


def _merge_knowledge(new: ir.Value, old: ir.Value) -> None:
    """Keep what was known of `old`'s type and shape where `new`, which takes its place, is known less well."""
    if new.is_graph_input() or new.is_initializer():
        return
    new.type = new.type or old.type
    if new.shape is None or old.shape is None:
        new.shape = new.shape if new.shape is not None else old.shape
    elif len(new.shape) == len(old.shape):
        new.shape = ir.Shape([_better(mine, other) for mine, other in zip(new.shape, old.shape, strict=True)])


def _better(mine: int | ir.SymbolicDim, other: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    if isinstance(mine, int):
        return mine
    return other if isinstance(other, int) or mine.value is None else mine
