"""Model-local functions, replaced by their bodies: nested ones, in subgraphs, and of another opset than the model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING

from onnxgpu.errors import InvalidGraph, NotImplemented
from onnxgpu.model_file.names import all_graphs, node_name, operator_name, subgraphs
from onnxgpu.model_file.opset_meaning import means_the_same

if TYPE_CHECKING:
    import onnx

NODE_LIMIT = 1_000_000
"""Nodes that the inlined functions of one model may add up to: functions that call functions grow exponentially."""

Key = tuple[str, str, str]


def inline_functions(model: onnx.ModelProto) -> None:
    """Replace every call of a model-local function by the function's nodes, in place.

    Values and nodes of a body get the call's name as a prefix. Spec: "Model-local functions" in ONNX's IR.md.

    Raises:
        InvalidGraph: a function that calls itself, or a call that does not fit its function.
        NotImplemented: an operator in a function that means something else at the model's opset.
    """
    if model.functions:
        _Inliner(model).expand(model.graph, ())
        del model.functions[:]


class _Inliner:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._functions: dict[Key, onnx.FunctionProto] = {}
        for function in model.functions:
            key = (function.domain, function.name, function.overload)
            if key in self._functions:
                raise InvalidGraph(f"function {function.domain}.{function.name} is defined twice")
            self._functions[key] = function
        self._model = model
        self._versions = {entry.domain: entry.version for entry in model.opset_import}
        self._prefixes = _leading_parts(model.graph)
        self._nodes = 0

    def expand(self, graph: onnx.GraphProto, calls: tuple[Key, ...]) -> None:
        """Replace the calls in `graph` and in its subgraphs; `calls` are the functions that this is inside of."""
        for node in graph.node:
            for inner in subgraphs(node):
                self.expand(inner, calls)
        if not any(_key(node) in self._functions for node in graph.node):
            return
        expanded: list[onnx.NodeProto] = []
        for node in graph.node:
            expanded += self._body(node, calls) if _key(node) in self._functions else [node]
        holder = type(graph)(node=expanded)
        del graph.node[:]
        graph.node.extend(holder.node)

    def _body(self, call: onnx.NodeProto, calls: tuple[Key, ...]) -> list[onnx.NodeProto]:
        import onnx

        key = _key(call)
        function = self._functions[key]
        if key in calls:
            raise InvalidGraph(f"function {operator_name(call)} calls itself: {' -> '.join(k[1] for k in (*calls, key))}")
        self._nodes += len(function.node)
        if self._nodes > NODE_LIMIT:
            raise InvalidGraph(f"the functions of the model add up to more than {NODE_LIMIT} nodes (at {node_name(call)})")
        self._check_opsets(call, function)
        names = _bind(call, function)
        body = onnx.GraphProto(node=function.node)
        _bind_attributes(body.node, _attributes(call, function))
        prefix = self._prefix(call)
        body.node.extend(_passed_through(call, function, names, prefix))
        _rename(body, names, prefix)
        self._prefixes |= _leading_parts(body)
        self.expand(body, (*calls, key))
        return list(body.node)

    def _prefix(self, call: onnx.NodeProto) -> str:
        wanted = call.name or call.op_type
        prefix, number = wanted, 1
        while prefix in self._prefixes:
            number += 1
            prefix = f"{wanted}_{number}"
        self._prefixes.add(prefix)
        return f"{prefix}/"

    def _check_opsets(self, call: onnx.NodeProto, function: onnx.FunctionProto) -> None:
        for entry in function.opset_import:
            if entry.domain not in self._versions:
                self._versions[entry.domain] = entry.version
                self._model.opset_import.add(domain=entry.domain, version=entry.version)
        written = {entry.domain: entry.version for entry in function.opset_import}
        nodes = [n for node in function.node for n in (node, *(n for g in subgraphs(node) for inner in all_graphs(g) for n in inner.node))]
        for node in nodes:
            if _key(node) in self._functions:
                continue
            if node.domain not in written:
                raise InvalidGraph(f"function {operator_name(call)} uses {operator_name(node)}, but imports no opset of '{node.domain}'")
            source, target = written[node.domain], self._versions[node.domain]
            if source != target and not means_the_same(node, source, target):
                raise NotImplemented(
                    f"function {operator_name(call)} is written for opset {source} of domain '{node.domain or 'ai.onnx'}', "
                    f"the model for {target}, and {node_name(node)} does not mean the same in both; export the model with one opset"
                )


def _key(node: onnx.NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _leading_parts(graph: onnx.GraphProto) -> set[str]:
    """What stands before each `/` in the names of the graph, so that a prefix that is not among them makes new names."""
    parts: set[str] = set()
    for inner in all_graphs(graph):
        named = (*inner.input, *inner.initializer)
        for name in (*(n.name for n in named), *(o for node in inner.node for o in node.output)):
            pieces = name.split("/")
            parts |= {"/".join(pieces[:i]) for i in range(1, len(pieces))}
    return parts


def _bind(call: onnx.NodeProto, function: onnx.FunctionProto) -> dict[str, str]:
    """What the function's own names are called at the call."""
    if len(call.input) > len(function.input) or len(call.output) > len(function.output):
        raise InvalidGraph(
            f"{node_name(call)} has {len(call.input)} inputs and {len(call.output)} outputs, "
            f"its function takes at most {len(function.input)} and gives at most {len(function.output)}"
        )
    given = [*call.input, *[""] * (len(function.input) - len(call.input))]
    names = dict(zip(function.input, given, strict=True))
    for inner, outer in zip(function.output, call.output, strict=False):
        if outer and inner not in names:
            names[inner] = outer
    return names


def _passed_through(call: onnx.NodeProto, function: onnx.FunctionProto, names: dict[str, str], prefix: str) -> Iterable[onnx.NodeProto]:
    """Identity nodes for outputs that are inputs of the function, or another output once more."""
    import onnx

    for index, (inner, outer) in enumerate(zip(function.output, call.output, strict=False)):
        if outer and names[inner] != outer:
            if not names[inner]:
                raise InvalidGraph(f"{node_name(call)} leaves out input '{inner}', which its function gives back as output '{outer}'")
            alias = f"passed_{index}"
            while alias in names:
                alias += "_"
            names[alias] = outer
            yield onnx.NodeProto(op_type="Identity", name=alias, input=[inner], output=[alias])


def _attributes(call: onnx.NodeProto, function: onnx.FunctionProto) -> dict[str, onnx.AttributeProto]:
    known = {attribute.name: attribute for attribute in function.attribute_proto}
    return known | {attribute.name: attribute for attribute in call.attribute}


def _bind_attributes(nodes: Iterable[onnx.NodeProto], values: Mapping[str, onnx.AttributeProto]) -> None:
    """Put the call's attributes (or the function's defaults) where the body refers to them; what is not given goes."""
    for node in nodes:
        for index in reversed(range(len(node.attribute))):
            attribute = node.attribute[index]
            if not attribute.ref_attr_name:
                continue
            name, value = attribute.name, values.get(attribute.ref_attr_name)
            if value is None:
                del node.attribute[index]
            else:
                attribute.CopyFrom(value)
                attribute.name = name
        for graph in subgraphs(node):
            _bind_attributes(graph.node, values)


def _rename(graph: onnx.GraphProto, names: MutableMapping[str, str], prefix: str) -> None:
    """Rename every value of a function's body; `names` has those of the enclosing scopes and gets those of `graph`."""
    for info in (*graph.input, *graph.initializer):
        names[info.name] = prefix + info.name
    for node in graph.node:
        for name in filter(None, node.output):
            names.setdefault(name, prefix + name)
    for node in graph.node:
        node.name = prefix + (node.name or node.op_type)
        node.input[:] = [names.get(name, prefix + name) if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]
        for inner in subgraphs(node):
            _rename(inner, dict(names), prefix)
    for infos in (graph.input, graph.initializer, graph.output, graph.value_info):
        for info in infos:
            info.name = names.get(info.name, prefix + info.name)
