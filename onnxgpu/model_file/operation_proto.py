"""An `Operation` as ONNX writes a node, and a `Segment` as it writes a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.dtypes import code_of, name_of
from onnxgpu.provider import Operation, ValueInfo
from onnxgpu.segment_provider import Segment

if TYPE_CHECKING:
    import onnx

LEAST_REFERENCED_BYTES = 1024
"""Smaller constants are in the model itself, where parsers read shapes and axes."""


_PACKED = frozenset({"uint4", "int4", "float4e2m1", "uint2", "int2", "float6e2m3", "float6e3m2"})


@dataclass(frozen=True, slots=True)
class CutModel:
    """A segment as a model of its own.

    Attributes:
        proto: the graph; large weights are declared as external data, without a place.
        weights: name → array, for each of these.
    """

    proto: onnx.ModelProto
    weights: Mapping[str, np.ndarray]


def attribute_proto(name: str, value: Any) -> onnx.AttributeProto:
    """An attribute as `Operation.attributes` holds it.

    Raises:
        TypeError, ValueError: it is a graph, or of a kind that onnx cannot write.
    """
    from onnx import AttributeProto, helper, numpy_helper

    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    if isinstance(value, tuple) and not value:
        return helper.make_attribute(name, [], attr_type=AttributeProto.INTS)
    return helper.make_attribute(name, list(value) if isinstance(value, tuple) else value)


def node_proto(operation: Operation) -> onnx.NodeProto:
    """The node, with the names of its values; see `attribute_proto` for errors."""
    from onnx import helper

    inputs, outputs = ([value.name if value else "" for value in values] for values in (operation.inputs, operation.outputs))
    node = helper.make_node(operation.operator, inputs, outputs, name=operation.name, domain=operation.domain)
    node.attribute.extend(attribute_proto(name, value) for name, value in operation.attributes.items())
    return node


def model_of(segment: Segment) -> CutModel:
    """`segment` as a model; values keep their names. See `attribute_proto` for errors."""
    from onnx import helper

    versions = {operation.domain: operation.version for operation in segment.operations}
    constants = {v.name: v for o in segment.operations for v in o.inputs if v is not None and v.constant is not None}
    graph = helper.make_graph(
        [node_proto(operation) for operation in segment.operations],
        segment.name,
        [_declared(value) for value in segment.inputs],
        [_declared(value) for value in segment.outputs],
    )
    weights: dict[str, np.ndarray] = {}
    for name, value in constants.items():
        assert value.constant is not None
        add_constant(graph, weights, name, value.constant())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*item) for item in versions.items()], producer_name="onnxgpu")
    return CutModel(model, weights)


def add_constant(graph: onnx.GraphProto, weights: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    """Give `graph` an initializer; a large one is declared there, and its elements put into `weights`."""
    if array.nbytes >= LEAST_REFERENCED_BYTES and _lies_as_onnx_stores(array.dtype):
        graph.initializer.append(_reference(name, array))
        weights[name] = np.ascontiguousarray(array)
    else:
        graph.initializer.append(_initializer(name, array))


def _lies_as_onnx_stores(dtype: np.dtype) -> bool:
    """True if the elements fill their bytes: strings and types of fewer than 8 bits do not."""
    return dtype.kind != "O" and name_of(dtype) not in _PACKED


def _declared(value: ValueInfo) -> onnx.ValueInfoProto:
    from onnx import ValueInfoProto, helper

    if value.dtype is None:
        return ValueInfoProto(name=value.name)
    return helper.make_tensor_value_info(value.name, code_of(value.dtype), value.shape)


def _initializer(name: str, array: np.ndarray) -> onnx.TensorProto:
    from onnx import TensorProto, numpy_helper

    if array.dtype == object:
        texts = [str(text).encode("utf-8", "surrogateescape") for text in array.flat]
        return TensorProto(name=name, data_type=TensorProto.STRING, dims=array.shape, string_data=texts)
    return numpy_helper.from_array(array, name)


def _reference(name: str, array: np.ndarray) -> onnx.TensorProto:
    from onnx import TensorProto

    return TensorProto(name=name, data_type=code_of(array.dtype), dims=array.shape, data_location=TensorProto.EXTERNAL)
