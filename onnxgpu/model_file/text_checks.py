"""Every name in a model is text: protobuf hands out bytes where a damaged file has no UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from onnxgpu.errors import InvalidProtobuf
from onnxgpu.model_file.names import all_graphs
from onnxgpu.model_file.source import PARSING_FAILED

if TYPE_CHECKING:
    import onnx


def check_text(model: onnx.ModelProto) -> None:
    """Check that all names in `model` are UTF-8.

    Raises:
        InvalidProtobuf: one is not; says what was found.
    """
    for text in _texts(model):
        if not isinstance(text, str):
            raise InvalidProtobuf(f"{PARSING_FAILED} A name in the model is not UTF-8 text but {text[:80]!r}; the file is damaged")


def _texts(model: onnx.ModelProto) -> Iterator[str]:
    yield from (model.producer_name, model.producer_version, model.domain, model.doc_string)
    for properties in model.metadata_props:
        yield from (properties.key, properties.value)
    for imported in (*model.opset_import, *(i for function in model.functions for i in function.opset_import)):
        yield imported.domain
    for function in model.functions:
        yield from (function.domain, function.name, function.overload, *function.input, *function.output, *function.attribute)
        yield from (attribute.name for attribute in function.attribute_proto)
        yield from _node_texts(function.node)
        for node in function.node:
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                    yield from _graph_texts(graph)
    yield from _graph_texts(model.graph)


def _graph_texts(graph: onnx.GraphProto) -> Iterator[str]:
    for inner in all_graphs(graph):
        yield from (inner.name, inner.doc_string)
        yield from _node_texts(inner.node)
        for tensor in (*inner.initializer, *(sparse.values for sparse in inner.sparse_initializer)):
            yield from _tensor_texts(tensor)
        for infos in (inner.input, inner.output, inner.value_info):
            for info in infos:
                yield info.name
                yield from _type_texts(info.type)
        for annotation in inner.quantization_annotation:
            yield annotation.tensor_name


def _node_texts(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield from (node.domain, node.op_type, node.name, node.overload, node.doc_string, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name, attribute.doc_string)
            for tensor in (attribute.t, *attribute.tensors) if attribute.HasField("t") or attribute.tensors else ():
                yield from _tensor_texts(tensor)


def _tensor_texts(tensor: onnx.TensorProto) -> Iterator[str]:
    yield from (tensor.name, tensor.doc_string)
    for entry in tensor.external_data:
        yield from (entry.key, entry.value)


def _type_texts(proto: onnx.TypeProto) -> Iterator[str]:
    yield proto.denotation
    if proto.HasField("tensor_type"):
        yield from (dimension.dim_param for dimension in proto.tensor_type.shape.dim)
