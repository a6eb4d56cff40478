"""A parsed model with what is known of its values: element types, shapes, and which are constant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxgpu.dtypes import dtype_of

Shape = tuple[int, ...]
"""With -1 for a dimension that is known when the engine runs."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What is known of a value: ONNX's element type (0: unknown), and its shape (None: unknown rank)."""

    code: int
    shape: Shape | None


class TypedGraph:
    """The main graph of a model.

    Args:
        model: with inferred types where ONNX could infer them.
        weights: the arrays of initializers that are declared without data.
    """

    def __init__(self, model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> None:
        self.model, self._weights = model, weights
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.output:
                self._add_constant(node)
        self.values: dict[str, Typed] = {tensor.name: Typed(tensor.data_type, tuple(tensor.dims)) for tensor in model.graph.initializer}
        for info in (*model.graph.value_info, *model.graph.output, *model.graph.input):
            self.values.setdefault(info.name, typed(info))

    def _add_constant(self, node: onnx.NodeProto) -> None:
        for attribute in node.attribute:
            if attribute.name == "value":
                self._tensors[node.output[0]] = attribute.t
            elif attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
                value = np.array(helper.get_attribute_value(attribute), np.int64 if "int" in attribute.name else np.float32)
                self._tensors[node.output[0]] = numpy_helper.from_array(value)

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """Those that are not initializers too."""
        constant = {tensor.name for tensor in self.model.graph.initializer}
        return [info for info in self.model.graph.input if info.name not in constant]

    def is_constant(self, name: str) -> bool:
        """True for initializers and the outputs of Constant nodes: what TensorRT's parser holds as weights."""
        return name in self._tensors

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant."""
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        if name in self._weights:
            return self._weights[name]
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)

    def nodes(self) -> Iterator[Node]:
        """In the order of the model."""
        for index, proto in enumerate(self.model.graph.node):
            yield Node(self, index, proto)


class Node:
    """A node as the parser's checks see it."""

    def __init__(self, graph: TypedGraph, index: int, proto: onnx.NodeProto) -> None:
        self.graph, self.index, self.proto = graph, index, proto
        self.operator = proto.op_type
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    @property
    def name(self) -> str:
        """Its own, or the name that the parser makes of its operator and number."""
        return self.proto.name or f"node_of_{self.proto.output[0] if self.proto.output else self.operator}"

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, texts as `str`."""
        if name not in self._attributes:
            return default
        value = helper.get_attribute_value(self._attributes[name])
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, Sequence) and value and isinstance(value[0], bytes):
            return [item.decode() for item in value]
        return value

    def has(self, index: int) -> bool:
        """True if the input with this index is given."""
        return index < len(self.proto.input) and bool(self.proto.input[index])

    def input_type(self, index: int) -> int:
        """ONNX's element type, 0 if it is not known."""
        return self._input(index).code

    def shape(self, index: int) -> Shape | None:
        """The shape of an input, None if its rank is not known."""
        return self._input(index).shape

    def is_constant(self, index: int) -> bool:
        """True for an input that is an initializer or comes of a Constant node."""
        return self.has(index) and self.graph.is_constant(self.proto.input[index])

    def constant(self, index: int) -> np.ndarray | None:
        """The value of a constant input."""
        return self.graph.constant(self.proto.input[index]) if self.has(index) else None

    def output_type(self, index: int) -> int:
        """ONNX's element type, 0 if it is not known."""
        return self.graph.values.get(self.proto.output[index], Typed(0, None)).code if index < len(self.proto.output) else 0

    def _input(self, index: int) -> Typed:
        return self.graph.values.get(self.proto.input[index], Typed(0, None)) if self.has(index) else Typed(0, None)


def typed(info: onnx.ValueInfoProto) -> Typed:
    """What a declaration says."""
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return Typed(0, None)
    if not tensor.HasField("shape"):
        return Typed(tensor.elem_type, None)
    return Typed(tensor.elem_type, tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim))


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types that ONNX infers; as it is where inference fails."""
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # a model that ONNX cannot infer is for the parser's checks
        return model


def element_bytes(tensor: onnx.TensorProto) -> int:
    """The bytes of a tensor as `raw_data` would hold it; types of fewer than 8 bits have two elements a byte."""
    count = int(np.prod(tensor.dims, dtype=np.int64))
    packed = tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1)
    return (count + 1) // 2 if packed else count * dtype_of(tensor.data_type).itemsize
