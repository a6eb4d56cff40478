"""A proposed fusion, the fused node it becomes, and the standard-ONNX body that the node carries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxgpu.model_file import is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

INTERNAL_DOMAIN = "onnxgpu"
BODY = "onnxgpu.body"


@dataclass(frozen=True)
class Fusion:
    """Nodes that one operator could replace.

    Attributes:
        nodes: in graph order; only the last one's first output is read from outside.
        shared: nodes before these that are part of the meaning, but stay as long as others read them.
        operator: what replaces them.
        inputs: of the new node; None for an absent one.
        attributes: of the new node: numbers, strings, lists of them, or attributes of the old nodes.
        domain, version: of the new operator.
    """

    nodes: tuple[ir.Node, ...]
    operator: str
    inputs: tuple[ir.Value | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = INTERNAL_DOMAIN
    version: int = 1
    shared: tuple[ir.Node, ...] = ()

    @property
    def output(self) -> ir.Value:
        """The value that stays."""
        return self.nodes[-1].outputs[0]


def fused_node(fusion: Fusion, opset_imports: Mapping[str, int]) -> ir.Node:
    """The new node, with the standard-ONNX body of what it replaces; not yet in the graph."""
    import onnx_ir as ir

    old = fusion.output
    output = ir.Value(name=old.name, type=old.type, shape=old.shape)
    name = fusion.nodes[-1].name or old.name
    attributes = [_attribute(name, value) for name, value in fusion.attributes.items()]
    node = ir.Node(fusion.domain, fusion.operator, fusion.inputs, attributes, outputs=[output], name=name, version=fusion.version)
    node.meta[BODY] = _body(fusion, opset_imports)
    return node


def _attribute(name: str, value: Any) -> ir.Attr:
    """An attribute; onnx-ir's own conversion tries every protocol it knows and takes most of the time of a fusion."""
    import onnx_ir as ir

    if isinstance(value, ir.Attr):
        return value
    kind = type(value[0]) if isinstance(value, (list, tuple)) else type(value)
    types = ir.AttributeType
    one, many = {int: (types.INT, types.INTS), float: (types.FLOAT, types.FLOATS), str: (types.STRING, types.STRINGS)}[kind]
    return ir.Attr(name, many if isinstance(value, (list, tuple)) else one, value)


def body_of(node: ir.Node) -> ir.Function | None:
    """The standard-ONNX function with a fused node's meaning (its inputs are the node's present inputs); None for others."""
    body: ir.Function | None = node.meta.get(BODY)
    return body


def _body(fusion: Fusion, opset_imports: Mapping[str, int]) -> ir.Function:
    import onnx_ir as ir

    values: dict[ir.Value, ir.Value] = {}
    inputs = [_copy_value(value, values) for value in fusion.inputs if value is not None]
    nodes = _copied_nodes((*fusion.shared, *fusion.nodes), values)
    graph = ir.Graph(inputs, [values[fusion.output]], nodes=nodes, opset_imports=dict(opset_imports))
    return ir.Function(INTERNAL_DOMAIN, fusion.operator, fusion.output.name or "", graph=graph, attributes=())


def _copied_nodes(nodes: Iterable[ir.Node], values: dict[ir.Value, ir.Value]) -> list[ir.Node]:
    """Copies of `nodes` over copies of their values; constants become Constant nodes, fused nodes their bodies."""
    copies: list[ir.Node] = []
    for node in nodes:
        for value in node.inputs:
            if value is not None and value not in values:
                copies.append(_constant(value, values))
        copies += inlined(node, values) if body_of(node) else [_copied_node(node, values)]
    return copies


def _copied_node(node: ir.Node, values: dict[ir.Value, ir.Value]) -> ir.Node:
    import onnx_ir as ir

    inputs = [None if value is None else values[value] for value in node.inputs]
    outputs = [_copy_value(value, values) for value in node.outputs]
    return ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), outputs=outputs, name=node.name, version=node.version)


def inlined(node: ir.Node, values: dict[ir.Value, ir.Value]) -> list[ir.Node]:
    """Copies of the nodes of a fused node's body.

    Args:
        node: a fused node.
        values: its inputs → the values that stand for them; its output is added.
    """
    body = body_of(node)
    assert body is not None
    given = [values[value] for value in node.inputs if value is not None]
    inner: dict[ir.Value, ir.Value] = dict(zip(body.inputs, given, strict=True))
    copies = _copied_nodes(body, inner)
    values[node.outputs[0]] = inner[body.outputs[0]]
    return copies


def _constant(value: ir.Value, values: dict[ir.Value, ir.Value]) -> ir.Node:
    import onnx_ir as ir

    assert value.const_value is not None, f"{value.name} is neither an input of the fusion nor a constant"
    copy = _copy_value(value, values)
    return ir.Node("", "Constant", [], [ir.AttrTensor("value", value.const_value)], outputs=[copy], version=13)


def _copy_value(value: ir.Value, values: dict[ir.Value, ir.Value]) -> ir.Value:
    import onnx_ir as ir

    values[value] = ir.Value(name=value.name, type=value.type, shape=value.shape)
    return values[value]


def replace(graph: ir.Graph, fusion: Fusion, node: ir.Node) -> None:
    """Put `node` in the place of the fusion's nodes, and remove the shared ones that nothing reads any more."""
    import onnx_ir as ir

    ir.convenience.replace_nodes_and_values(graph, fusion.nodes[-1], fusion.nodes, [node], [fusion.output], [node.outputs[0]])
    for shared in fusion.shared:
        if shared.graph is not None and not any(value.uses() or value.is_graph_output() for value in shared.outputs):
            shared.graph.remove(shared, safe=True)


def sole_reader(value: ir.Value) -> ir.Node | None:
    """The only node that reads `value`, if nothing else does (no graph output, no control-flow body)."""
    uses: Sequence[Any] = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    reader: ir.Node = uses[0].node
    producer = value.producer()
    return reader if producer is not None and reader.graph is producer.graph else None


def sole_reader_named(value: ir.Value, *operators: str) -> ir.Node | None:
    """`sole_reader`, if it is one of these standard operators."""
    reader = sole_reader(value)
    return reader if reader is not None and reader.op_type in operators and reader.domain in ("", "ai.onnx") else None


def other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The other operand of a node with two inputs."""
    first, second = node.inputs
    return second if first is value else first


def scalar(value: ir.Value | None) -> float | None:
    """The single element of a constant, or None."""
    if value is None or not is_constant(value) or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().reshape(()))


def constants_fit(nodes: Iterable[ir.Node], x: ir.Value) -> bool:
    """True if no constant of one element that `nodes` read has more dimensions than `x`, so that none adds a dimension to it."""
    rank = 0 if x.shape is None else len(x.shape)
    constants = [value for node in nodes for value in node.inputs if scalar(value) is not None]
    return all(value is not None and value.shape is not None and len(value.shape) <= rank for value in constants)


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """A float attribute of `node`, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.as_float())


def same_kind(first: ir.Value, second: ir.Value) -> bool:
    """True if both are known to have the same element type and the same shape (symbols count as equal to themselves)."""
    if first.shape is None or second.shape is None or first.dtype != second.dtype or len(first.shape) != len(second.shape):
        return False
    return all(str(a) == str(b) and str(a) != "None" for a, b in zip(first.shape, second.shape, strict=True))
