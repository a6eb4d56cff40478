"""A model of a segment as the rewrites of its precision see it: by the names of values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.model_file.operation_proto import CutModel

if TYPE_CHECKING:
    import onnx

FLOAT = 1
"""`TensorProto.FLOAT`."""

LEAST_IR_VERSION = 4
"""From this version on an initializer need not be an input."""

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class View:
    """A model, with what is known of its values.

    Attributes:
        model: nodes in an order in which they can run.
        types: name → ONNX element type, for values whose type is known, constants and values of the graph around bodies included.
        shapes: name → sizes (None: not known), for values whose rank is known.
    """

    model: CutModel
    types: Mapping[str, int]
    shapes: Mapping[str, Shape]

    @property
    def graph(self) -> onnx.GraphProto:
        """The model's graph."""
        return self.model.proto.graph

    @cached_property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        """The graph's nodes."""
        return tuple(self.graph.node)

    @cached_property
    def versions(self) -> Mapping[str, int]:
        """Domain → opset version; ai.onnx is ""."""
        return {_domain(entry.domain): entry.version for entry in self.model.proto.opset_import}

    @cached_property
    def producers(self) -> Mapping[str, int]:
        """Value → the index of the node that gives it."""
        return {name: index for index, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def readers(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """Value → (index of a node, position among its inputs), for each reader in the graph itself."""
        found: dict[str, list[tuple[int, int]]] = {}
        for index, node in enumerate(self.nodes):
            for position, name in enumerate(node.input):
                if name:
                    found.setdefault(name, []).append((index, position))
        return {name: tuple(places) for name, places in found.items()}

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The graph's inputs; an initializer of the same name is only their default."""
        return frozenset(value.name for value in self.graph.input)

    @cached_property
    def outputs(self) -> frozenset[str]:
        """The graph's outputs."""
        return frozenset(value.name for value in self.graph.output)

    @cached_property
    def captured(self) -> frozenset[str]:
        """The values that bodies of control flow read from around them, and whatever else is named in bodies."""
        return frozenset(name for node in self.nodes for body in bodies_of(node) for name in _names_in(body))

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name of a value."""
        own = {name for node in self.nodes for name in (*node.input, *node.output)}
        return frozenset(own | self.inputs | self.outputs | self.captured | {tensor.name for tensor in self.graph.initializer})

    @cached_property
    def _initializers(self) -> Mapping[str, onnx.TensorProto]:
        return {tensor.name: tensor for tensor in self.graph.initializer if tensor.name not in self.inputs}

    def is_constant(self, name: str) -> bool:
        """True if `name` is an initializer that no run can override."""
        return name in self._initializers

    def constant(self, name: str) -> np.ndarray | None:
        """The elements of a constant; None if the value is not constant."""
        from onnx import numpy_helper

        tensor = self._initializers.get(name)
        if tensor is None:
            return None
        array = self.model.weights.get(name)
        return numpy_helper.to_array(tensor) if array is None else array

    def is_float32(self, name: str) -> bool:
        """True if the value is a tensor of float32 elements."""
        return self.types.get(name) == FLOAT

    def followers(self, index: int) -> Iterator[tuple[int, int, str]]:
        """The readers of the node's outputs: index, position among its inputs, and the value."""
        for name in self.nodes[index].output:
            for reader, position in self.readers.get(name, ()):
                yield reader, position, name


def view_of(model: CutModel) -> View:
    """See `View`; types and shapes are inferred by ONNX's own rules, and unknown after operators that ONNX does not define."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model.proto, data_prop=True).graph
    types: dict[str, int] = {}
    shapes: dict[str, Shape] = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        tensor = value.type.tensor_type
        if value.type.HasField("tensor_type") and tensor.elem_type:
            types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                shapes[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    for constant in inferred.initializer:
        types.setdefault(constant.name, constant.data_type)
        shapes.setdefault(constant.name, tuple(constant.dims))
    return View(model, types, shapes)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of the node's attribute `name`."""
    from onnx import helper

    for held in node.attribute:
        if held.name == name:
            return helper.get_attribute_value(held)
    return default


def label_of(node: onnx.NodeProto) -> str:
    """The node's name; that of its first output if it has none."""
    return str(node.name or next(iter(node.output), ""))


def bodies_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The node's bodies of control flow."""
    for held in node.attribute:
        if held.HasField("g"):
            yield held.g
        yield from held.graphs


def _names_in(body: onnx.GraphProto) -> Iterable[str]:
    yield from (value.name for value in (*body.input, *body.output))
    yield from (tensor.name for tensor in body.initializer)
    for node in body.node:
        yield from (name for name in (*node.input, *node.output) if name)
        for inner in bodies_of(node):
            yield from _names_in(inner)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
