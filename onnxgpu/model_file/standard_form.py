"""One spelling for what ONNX lets be written in several ways, so that the stages behind see only that one.

Also takes away what onnx-ir 1.1 cannot read or drops without a word: map types and sparse tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidGraph, NotImplemented
from onnxgpu.model_file.names import all_graphs, node_name
from onnxgpu.model_file.text_checks import check_text
from onnxgpu.model_file.value_types import has_map, type_text

if TYPE_CHECKING:
    import onnx

DENSE_LIMIT = 1 << 28
"""Elements of the largest sparse tensor that is made dense."""

_ATTRIBUTE_FIELDS = (("f", 1), ("i", 2), ("s", 3), ("t", 4), ("g", 5), ("tp", 13), ("sparse_tensor", 11))
_ATTRIBUTE_LISTS = (("floats", 6), ("ints", 7), ("strings", 8), ("tensors", 9), ("graphs", 10))


def standardise(model: onnx.ModelProto) -> None:
    """Bring `model` into standard form, in place.

    Raises:
        InvalidGraph: a sparse tensor whose parts contradict each other, or two versions of one domain.
        NotImplemented: a sparse tensor with more than `DENSE_LIMIT` elements.
    """
    check_text(model)
    del model.training_info[:]
    _one_version_per_domain(model.opset_import)
    for function in model.functions:
        function.domain = _plain_domain(function.domain)
        _one_version_per_domain(function.opset_import)
        _standardise_nodes(function.node)
        for node in function.node:
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                    _standardise_graphs(graph)
    _standardise_graphs(model.graph)


def without_map_types(graph: onnx.GraphProto) -> None:
    """Take away the declared types that onnx-ir cannot hold; their values stay, untyped.

    What the types of maps say of the outputs of DictVectorizer is declared before they are gone.
    """
    for inner in all_graphs(graph):
        _declare_vectors(inner)
        for infos in (inner.input, inner.output, inner.value_info):
            for info in infos:
                text = type_text(info.type)
                if has_map(info.type) or "()" in text:
                    info.ClearField("type")
                elif not text and info.type.HasField("tensor_type"):
                    info.type.tensor_type.ClearField("elem_type")


def _declare_vectors(graph: onnx.GraphProto) -> None:
    declared = {info.name: info.type for infos in (graph.input, graph.output, graph.value_info) for info in infos}
    for node in graph.node:
        if (node.domain, node.op_type) == ("ai.onnx.ml", "DictVectorizer") and len(node.input) == len(node.output) == 1:
            kind = declared.get(node.input[0])
            if kind is not None and kind.map_type.value_type.tensor_type.elem_type and node.output[0] not in declared:
                graph.value_info.add(name=node.output[0]).type.tensor_type.elem_type = kind.map_type.value_type.tensor_type.elem_type


def _standardise_graphs(graph: onnx.GraphProto) -> None:
    for inner in all_graphs(graph):
        _standardise_nodes(inner.node)
        inner.initializer.extend(_dense(sparse, sparse.values.name) for sparse in inner.sparse_initializer)
        del inner.sparse_initializer[:]
        for infos in (inner.input, inner.output, inner.value_info):
            for info in infos:
                for dimension in info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ():
                    if dimension.dim_value < 0:
                        dimension.ClearField("dim_value")


def _standardise_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        node.domain = _plain_domain(node.domain)
        for attribute in node.attribute:
            if not attribute.type and not attribute.ref_attr_name:
                attribute.type = _attribute_type(attribute)
            if attribute.HasField("sparse_tensor"):
                _make_dense(node, attribute)


def _make_dense(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    import onnx

    if node.op_type != "Constant":
        raise NotImplemented(f"{node_name(node)}: attribute '{attribute.name}' is a sparse tensor, which only Constant may have")
    dense = _dense(attribute.sparse_tensor, node.output[0] if node.output else "")
    attribute.Clear()
    attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
    attribute.t.CopyFrom(dense)


def _attribute_type(attribute: onnx.AttributeProto) -> Any:
    """The type of an attribute that does not say it, as old files may."""
    for name, code in _ATTRIBUTE_FIELDS:
        if attribute.HasField(name):
            return code
    for name, code in _ATTRIBUTE_LISTS:
        if getattr(attribute, name):
            return code
    return attribute.type


def _plain_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _one_version_per_domain(imports: Iterable[onnx.OperatorSetIdProto]) -> None:
    versions: dict[str, int] = {}
    for entry in imports:
        entry.domain = _plain_domain(entry.domain)
        if versions.setdefault(entry.domain, entry.version) != entry.version:
            first = versions[entry.domain]
            raise InvalidGraph(f"domain '{entry.domain or 'ai.onnx'}' is imported as opset {first} and as opset {entry.version}")


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    import onnx

    where = f"sparse tensor '{name}'"
    shape = tuple(sparse.dims)
    count = math.prod(shape)
    if any(d < 0 for d in shape) or sparse.values.data_location or sparse.indices.data_location:
        raise InvalidGraph(f"{where}: shape {list(shape)} or external data cannot be used; store it as a dense tensor")
    if count > DENSE_LIMIT:
        raise NotImplemented(f"{where} has {count} elements as a dense tensor, more than the limit of {DENSE_LIMIT}")
    try:
        values = onnx.numpy_helper.to_array(sparse.values).ravel()
        indices = onnx.numpy_helper.to_array(sparse.indices)
    except Exception as error:
        raise InvalidGraph(f"{where}: its values or indices cannot be read: {error}") from error
    dense = np.zeros(count, dtype_of(sparse.values.data_type))
    dense[_flat_indices(where, indices, shape, values.size)] = values
    return onnx.numpy_helper.from_array(dense.reshape(shape), name)


def _flat_indices(where: str, indices: np.ndarray, shape: tuple[int, ...], values: int) -> np.ndarray:
    expected = (values,) if indices.ndim == 1 else (values, len(shape))
    if indices.shape != expected:
        raise InvalidGraph(f"{where}: {values} values need indices of shape {list(expected)}, found {list(indices.shape)}")
    bound = np.array(shape) if indices.ndim == 2 else math.prod(shape)
    if values and (np.any(indices < 0) or np.any(indices >= bound)):
        raise InvalidGraph(f"{where}: an index lies outside of shape {list(shape)}")
    return np.asarray(np.ravel_multi_index(tuple(indices.T), shape) if indices.ndim == 2 and values else indices.ravel())
