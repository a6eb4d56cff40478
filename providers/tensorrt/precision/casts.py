"""The segment once more, with its chosen nodes in the small type and a cast at each boundary.

What keeps its name keeps its type: a value of the small type is called like the float32 value that it stands for, with the type's
name behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.dtypes import code_of, dtype_named, name_of
from onnxgpu.model_file.operation_proto import CutModel, add_constant
from onnxgpu.providers.tensorrt.precision.choices import Choice, Kind
from onnxgpu.providers.tensorrt.precision.constants import Conversions
from onnxgpu.providers.tensorrt.precision.masks import least_mask, masking_inputs
from onnxgpu.providers.tensorrt.precision.operators import NOTHING
from onnxgpu.providers.tensorrt.precision.view import FLOAT, LEAST_IR_VERSION, View, attribute

if TYPE_CHECKING:
    import onnx


class Casts:
    """Writes the model, node by node.

    Args:
        view: of the segment.
        constants: in the small type.
        choices: one for each node.
        chosen: the indices of nodes that compute in the small type.

    Attributes:
        count: casts that were put in.
        used: the constants that became small.
    """

    def __init__(self, view: View, constants: Conversions, choices: Sequence[Choice], chosen: Collection[int]) -> None:
        import onnx

        self.count = 0
        self.used: list[str] = []
        self._view, self._constants, self._choices, self._chosen = view, constants, choices, chosen
        self._code = code_of(dtype_named(constants.small))
        self._full: set[str] = set(view.inputs)
        """Float32 values that there are already: inputs, and what nodes and casts gave."""
        self._small: dict[str, str] = {}
        """Float32 value → the value of the small type that stands for it."""
        self._same: dict[str, str] = {}
        """Values that are others already → these."""
        self._taken = set(view.names)
        self._graph = onnx.GraphProto(name=view.graph.name, doc_string=view.graph.doc_string)
        self._weights: dict[str, np.ndarray] = {}
        self._masking = masking_inputs(view)

    def model(self) -> CutModel:
        """The model, with the segment's inputs and outputs."""
        import onnx

        view = self._view
        for index in range(len(view.nodes)):
            self._add(index)
        for value in view.graph.output:
            if view.is_float32(value.name):
                self._in_full(value.name)
        self._add_constants()
        self._graph.input.extend(view.graph.input)
        self._graph.output.extend(view.graph.output)
        given = {name for node in self._graph.node for name in node.output}
        self._graph.value_info.extend(value for value in view.graph.value_info if value.name in given)
        proto = onnx.ModelProto()
        proto.CopyFrom(view.model.proto)
        proto.graph.CopyFrom(self._graph)
        proto.ir_version = max(proto.ir_version, LEAST_IR_VERSION)
        return CutModel(proto, self._weights)

    def _add(self, index: int) -> None:
        view, node = self._view, self._view.nodes[index]
        for name in sorted(view.captured.intersection(self._small) - self._full) if _has_body(node) else ():
            self._in_full(name)
        choice, changes = self._choices[index], NOTHING
        if choice.kind is Kind.UNTOUCHED:
            inputs = [self._as_it_is(name) for name in node.input]
        else:
            changes = choice.changes if index in self._chosen else NOTHING
            inputs = [self._read(name, position in changes.inputs) for position, name in enumerate(node.input)]
        if node.op_type == "Cast" and self._is_no_cast(node, inputs[0], bool(changes.outputs)):
            return
        outputs = [self._give(name, position in changes.outputs) for position, name in enumerate(node.output)]
        self._append(node, inputs, outputs, in_small=bool(changes.outputs))

    def _as_it_is(self, name: str) -> str:
        """The value in the type that it has already."""
        if self._view.is_float32(name) and name not in self._full:
            return self._small.get(name, name)
        return self._same.get(name, name)

    def _read(self, name: str, small: bool) -> str:
        if not self._view.is_float32(name):
            return self._same.get(name, name)
        return self._in_small(name) if small else self._in_full(name)

    def _give(self, name: str, small: bool) -> str:
        if small:
            self._small[name] = self._new_name(name)
            return self._small[name]
        if self._view.is_float32(name):
            self._full.add(name)
        return name

    def _append(self, node: onnx.NodeProto, inputs: Sequence[str], outputs: Sequence[str], *, in_small: bool = False) -> None:
        from onnx import helper, numpy_helper

        added = self._graph.node.add()
        added.CopyFrom(node)
        del added.input[:], added.output[:]
        added.input.extend(inputs)
        added.output.extend(outputs)
        if in_small and node.op_type == "Cast":
            next(held for held in added.attribute if held.name == "to").i = self._code
        if in_small and node.op_type == "ConstantOfShape":
            value = next((held for held in added.attribute if held.name == "value"), None)
            filled = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value.t)
            del added.attribute[:]
            tensor = numpy_helper.from_array(filled.astype(dtype_named(self._constants.small)))
            added.attribute.append(helper.make_attribute("value", tensor))

    def _is_no_cast(self, node: onnx.NodeProto, source: str, gives_small: bool) -> bool:
        """True if the node changes nothing any more, so that its result is `source` itself."""
        (output,) = node.output
        before = self._code if source == self._small.get(node.input[0]) else self._view.types[node.input[0]]
        after = self._code if gives_small else attribute(node, "to")
        if after != self._code or before != after or (not gives_small and output in self._view.outputs | self._view.captured):
            return False
        (self._small if gives_small else self._same)[output] = source
        return True

    def _in_small(self, name: str) -> str:
        """The value of the small type that stands for `name`, by a cast if there is none yet."""
        if name not in self._small:
            self._small[name] = self._new_name(name)
            if self._view.is_constant(name):
                self.used.append(name)
            else:
                self._cast(name, self._small[name], self._code)
        return self._small[name]

    def _in_full(self, name: str) -> str:
        if name in self._small and name not in self._full and not self._view.is_constant(name):
            self._full.add(name)
            self._cast(self._small[name], name, FLOAT)
        return name

    def _cast(self, source: str, target: str, code: int) -> None:
        """A cast; if the model casts to get the float32 value, then of what that reads."""
        from onnx import helper

        original = self._original(source if code != FLOAT else target)
        if code != FLOAT and source in self._masking:
            original = self._with_finite_mask(source)
        self._graph.node.append(helper.make_node("Cast", [original or source], [target], name=f"{target}_cast", to=code))
        self.count += 1

    def _with_finite_mask(self, name: str) -> str:
        """An input whose elements are not below the small type's mask."""
        from onnx import helper

        bound, result = self._new_name(f"{name}_least"), self._new_name(f"{name}_bounded")
        add_constant(self._graph, self._weights, bound, np.array(least_mask(self._constants.small), np.float32))
        self._graph.node.append(helper.make_node("Max", [name, bound], [result], name=result))
        return result

    def _original(self, name: str) -> str | None:
        """What the model casts to get the float32 value `name`; None if it comes from elsewhere."""
        producer = self._view.producers.get(name)
        if producer is None or self._view.nodes[producer].op_type != "Cast":
            return None
        source = self._view.nodes[producer].input[0]
        return None if self._view.is_float32(source) else self._same.get(source, source)

    def _new_name(self, name: str) -> str:
        candidate = f"{name}_{name_of(dtype_named(self._constants.small))}"
        while candidate in self._taken:
            candidate += "_"
        self._taken.add(candidate)
        return candidate

    def _add_constants(self) -> None:
        view = self._view
        read = {name for node in self._graph.node for name in node.input} | view.captured | view.outputs | view.inputs
        for tensor in view.graph.initializer:
            if tensor.name not in read:
                continue
            self._graph.initializer.add().CopyFrom(tensor)
            if tensor.name in view.model.weights:
                self._weights[tensor.name] = view.model.weights[tensor.name]
        for name in self.used:
            add_constant(self._graph, self._weights, self._small[name], self._constants.of(name).array)


def _has_body(node: onnx.NodeProto) -> bool:
    return any(held.HasField("g") or held.graphs for held in node.attribute)
