"""How nodes, operators and types are named in messages: as onnxruntime names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxgpu.errors import OnnxGpuError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx


def operator_name(node: onnx.NodeProto) -> str:
    """`Relu`, `com.microsoft.Gelu`."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def node_name(node: onnx.NodeProto) -> str:
    """The operator with the node's name, or with its first output where it has no name."""
    if node.name:
        return f"{operator_name(node)} node '{node.name}'"
    return f"{operator_name(node)} node that gives '{next((o for o in node.output if o), '')}'"


def in_node(graph: onnx.GraphProto, node: onnx.NodeProto) -> str:
    """onnxruntime's line: `In Node, ("name", Op, "domain", -1) : ("x": tensor(float),) -> ("y": tensor(float),) , Error `."""
    types = _declared_types(graph)
    values = f"{_values(node.input, types)} -> {_values(node.output, types)}"
    return f'This is an invalid model. In Node, ("{node.name}", {node.op_type}, "{node.domain}", -1) : {values} , Error '


def _values(names: Iterable[str], types: dict[str, str]) -> str:
    texts = [f'"{name}": {types[name]},' if types.get(name) else f'"{name}",' for name in names]
    return f"({''.join(texts)})"


def _declared_types(graph: onnx.GraphProto) -> dict[str, str]:
    from onnxgpu.model_file.value_types import tensor_value_type, type_text

    types: dict[str, str] = {}
    try:
        types |= {t.name: tensor_value_type(t).type for t in graph.initializer}
        for infos in (graph.value_info, graph.output, graph.input):
            types |= {info.name: type_text(info.type) for info in infos}
    except OnnxGpuError:
        pass
    return types


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in the attributes of `node`, not those inside them."""
    for attribute in node.attribute:
        if attribute.type == 5 or attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and every graph inside it, outer before inner."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)
