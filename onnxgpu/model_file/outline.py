"""A graph without its weights, as a ModelProto that ONNX's inference can read.

Every value has a name of its own here, so that the answer is read back without regard to names in the model. What the
inference need not or cannot know becomes a typed graph input: weights, and outputs of operators that ONNX does not
define.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxgpu.model_file.stand_ins import Draft, stand_in

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_MOST_INTEGERS = 1024
_MOST_FLOATS = 64
"""Elements of the largest constant that is kept: integers are shapes and axes, floats the scales of a Resize."""

_MOST_LISTED = 64
"""Entries of an attribute of ai.onnx.ml that are kept: trees list millions of nodes, and inference looks at which lists there are."""

_OPSET_WITH_ALL = 18

_NEEDS_A_TYPE = {("ai.onnx.ml", "DictVectorizer"), ("ai.onnx.ml", "CastMap"), ("", "RegexFullMatch")}
"""Operators for which ONNX's inference (1.23) ends the process when their input has no type, as every map here."""


class Outline:
    """The outline of `model`; `proto` builds it.

    Attributes:
        values: the value of the model that a name in the outline stands for.
        nodes: the node of the model that a node name in the outline stands for.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self.values: dict[str, ir.Value] = {}
        self.nodes: dict[str, ir.Node] = {}
        self._names: dict[ir.Value, str] = {}
        self._custom: list[ir.Value] = []
        self._free: list[onnx.ValueInfoProto] = []

    def proto(self, with_declared_shapes: bool) -> onnx.ModelProto:
        """The outline; without declared shapes only those of the graph's inputs and of unknown operators are in it."""
        import onnx

        self.values.clear()
        self.nodes.clear()
        self._names.clear()
        self._custom.clear()
        self._free.clear()
        self._declare = with_declared_shapes
        proto = onnx.ModelProto(ir_version=onnx.IR_VERSION)
        self._fill(proto.graph, self._model.graph)
        proto.graph.input.extend(self._free)
        imports = dict(self._model.opset_imports)
        imports.setdefault("", _OPSET_WITH_ALL)
        for domain, version in imports.items():
            proto.opset_import.add(domain=domain, version=version)
        return proto

    def untyped_outputs(self) -> int:
        """How many outputs of custom operators still have no dtype or no shape."""
        return sum(value.dtype is None or value.shape is None for value in self._custom)

    def _name(self, value: ir.Value) -> str:
        name = self._names.get(value)
        if name is None:
            name = self._names[value] = f"v{len(self._names)}"
            self.values[name] = value
        return name

    def _fill(self, proto: onnx.GraphProto, graph: ir.Graph) -> None:
        proto.name = "g"
        for value in graph.inputs:
            if value.name not in graph.initializers or graph is not self._model.graph:
                _describe(proto.input.add(name=self._name(value)), value, True)
        for value in graph.initializers.values():
            self._constant(proto, value, value.const_value)
        for node in graph:
            self._add_node(proto, node)
        for value in graph.outputs:
            _describe(proto.output.add(name=self._name(value)), value, self._declare)

    def _constant(self, proto: onnx.GraphProto, value: ir.Value, tensor: ir.TensorProtocol | None) -> None:
        import onnx

        name = self._name(value)
        if tensor is None or not _decides_shapes(tensor):
            info = onnx.ValueInfoProto(name=name)
            if tensor is not None:
                value.type = value.type or _tensor_type(tensor)
                value.shape = value.shape if value.shape is not None else _shape_of(tensor)
            _describe(info, value, True)
            self._free.append(info)
        else:
            kept = proto.initializer.add(name=name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
            kept.raw_data = tensor.tobytes()

    def _add_node(self, proto: onnx.GraphProto, node: ir.Node) -> None:
        tensor = node.attributes.get("value") if node.op_type == "Constant" and not node.domain else None
        if tensor is not None and not _decides_shapes(tensor.as_tensor()):
            self._constant(proto, node.outputs[0], tensor.as_tensor())
            return
        inputs = ["" if value is None else self._name(value) for value in node.inputs]
        outputs = [self._name(value) if value.name else "" for value in node.outputs]
        if (node.domain, node.op_type) in _NEEDS_A_TYPE or _is_custom(node, self._model.opset_imports):
            self._add_stand_in(proto, node, stand_in(node, inputs, outputs), outputs)
            return
        made = proto.node.add(op_type=node.op_type, domain=node.domain, input=inputs, output=outputs, name=f"n{len(self.nodes)}")
        self.nodes[made.name] = node
        for attribute in node.attributes.values():
            self._add_attribute(made, attribute)
        if self._declare:
            for value in node.outputs:
                if value.name and value.type is not None and not value.is_graph_output():
                    _describe(proto.value_info.add(name=self._name(value)), value, True)

    def _add_attribute(self, made: onnx.NodeProto, attribute: ir.Attr) -> None:
        import onnx_ir as ir

        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            graphs = [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else attribute.as_graphs()
            proto = made.attribute.add(name=attribute.name, type=int(attribute.type))
            for graph in graphs:
                self._fill(proto.g if attribute.type == ir.AttributeType.GRAPH else proto.graphs.add(), graph)
        elif made.domain == "ai.onnx.ml" and attribute.type in (ir.AttributeType.FLOATS, ir.AttributeType.INTS, ir.AttributeType.STRINGS):
            kept = ir.Attr(attribute.name, attribute.type, attribute.value[:_MOST_LISTED])
            ir.serde.serialize_attribute_into(made.attribute.add(), kept)
        elif attribute.type != ir.AttributeType.UNDEFINED:
            ir.serde.serialize_attribute_into(made.attribute.add(), attribute)

    def _add_stand_in(self, proto: onnx.GraphProto, node: ir.Node, draft: Draft | None, outputs: Sequence[str]) -> None:
        import onnx

        given: set[str] = set()
        if draft is not None:
            proto.node.extend(draft.nodes)
            given = {name for made in draft.nodes for name in made.output}
            self._free += [onnx.helper.make_tensor_value_info(*free) for free in draft.free]
        for name, value in zip(outputs, node.outputs, strict=True):
            if name:
                self._custom.append(value)
            if name and name not in given:
                info = onnx.ValueInfoProto(name=name)
                _describe(info, value, True)
                self._free.append(info)


def _is_custom(node: ir.Node, imports: dict[str, int]) -> bool:
    import onnx

    return not onnx.defs.has(node.op_type, imports.get(node.domain, _OPSET_WITH_ALL), node.domain)


def _decides_shapes(tensor: ir.TensorProtocol) -> bool:
    kind = int(tensor.dtype)
    most = _MOST_FLOATS if kind in (1, 10, 11, 16) else _MOST_INTEGERS
    return kind != 8 and int(tensor.size) <= most


def _tensor_type(tensor: ir.TensorProtocol) -> ir.TensorType:
    import onnx_ir as ir

    return ir.TensorType(ir.DataType(tensor.dtype))


def _shape_of(tensor: ir.TensorProtocol) -> ir.Shape:
    import onnx_ir as ir

    return ir.Shape(tensor.shape.numpy())


def _describe(info: onnx.ValueInfoProto, value: ir.Value, with_shape: bool) -> None:
    """Write the type of `value` into `info`, and its shape if wanted."""
    import onnx_ir as ir

    if value.type is None:
        return
    if not isinstance(value.type, ir.TensorType):
        ir.serde.serialize_type_into(info.type, value.type)
        return
    tensor = info.type.tensor_type
    tensor.elem_type = int(value.type.dtype)
    if with_shape and value.shape is not None:
        tensor.shape.SetInParent()
        for size in value.shape:
            dimension = tensor.shape.dim.add()
            if isinstance(size, int):
                dimension.dim_value = size
            elif size.value:
                dimension.dim_param = size.value
