"""Networks: what the parser fills and the builder reads. Layers cannot be added one by one: the provider has the parser do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxgpu.providers.tensorrt.stand_in.element_types import data_type
from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements, major
from onnxgpu.providers.tensorrt.stand_in.reports import Reports

if TYPE_CHECKING:
    import onnx

    from onnxgpu.providers.tensorrt.stand_in.builder import Builder
    from onnxgpu.providers.tensorrt.stand_in.weights import Reference


@implements("ITensor")
class Tensor:
    """A value of a network.

    Args:
        name: as in the model.
        type_name: of its `DataType`.
        shape: with -1 for what is known when the engine runs.
        is_network_input: True for an input of the network.
        is_shape: whether it is a shape tensor: its values decide shapes.
    """

    broadcast_across_batch = False
    is_network_output = False
    is_execution_tensor = True

    def __init__(
        self, name: str, type_name: str, shape: tuple[int, ...], *, is_network_input: bool = False, is_shape: bool = False
    ) -> None:
        self.name, self.shape = name, shape
        self.dtype = data_type(type_name)
        self.is_network_input, self.is_shape_tensor = is_network_input, is_shape
        self.location = enum("TensorLocation").HOST if is_shape else enum("TensorLocation").DEVICE
        self.allowed_formats = (1 << len(enum("TensorFormat").__members__)) - 1
        self._dimension_names: dict[int, str] = {}

    @property
    def is_shape(self) -> bool:
        """As `is_shape_tensor`."""
        return self.is_shape_tensor

    def set_dimension_name(self, index: int, name: str | None) -> None:
        """Name a dimension of an input; those of equal name are equal when the engine runs."""
        if name is None:
            self._dimension_names.pop(index, None)
        else:
            self._dimension_names[index] = name

    def get_dimension_name(self, index: int) -> str | None:
        """The name, or None."""
        return self._dimension_names.get(index)


@implements("ILayer")
class Layer:
    """What a node of the model became."""

    def __init__(self, name: str, operator: str, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...]) -> None:
        self.name, self.operator = name, operator
        self._inputs, self._outputs = inputs, outputs
        self.metadata = f"[ONNX Layer: {name}]"

    @property
    def num_inputs(self) -> int:
        """How many inputs it has, constant ones included."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """How many outputs it has."""
        return len(self._outputs)

    def get_input(self, index: int) -> Tensor | None:
        """An input; None if there is none."""
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    def get_output(self, index: int) -> Tensor | None:
        """An output; None if there is none."""
        return self._outputs[index] if 0 <= index < len(self._outputs) else None


@implements("INetworkDefinition")
class Network:
    """A network, empty until a parser fills it.

    Attributes:
        model: what was parsed, large weights without data; None: nothing yet.
        weights: initializers that the model is without, read when the engine is built.
        loaned: data that the caller gave by its address.
    """

    has_implicit_batch_dimension = False

    def __init__(self, builder: Builder, flags: int, reports: Reports) -> None:
        self.builder, self._reports = builder, reports
        self.flags = flags
        self.name = "Unnamed Network 0"
        self.error_recorder: Any = None
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self.tensors: dict[str, Tensor] = {}
        self.model: onnx.ModelProto | None = None
        self.weights: Mapping[str, np.ndarray] = {}
        self.loaned: Mapping[str, Reference] = {}
        self.refittable_marks: set[str] = set()
        self.debug_marks: set[str] = set()
        self.keeps: list[object] = []
        """What the bindings keep alive with a network: its parser."""

    def get_flag(self, flag: Any) -> bool:
        """Whether it was created with `flag`; networks of 11 are always strongly typed."""
        if flag.name == "STRONGLY_TYPED" and major() >= 11:
            return True
        return bool(self.flags >> int(flag) & 1)

    @property
    def num_inputs(self) -> int:
        """How many inputs it has."""
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        """How many outputs it has."""
        return len(self.outputs)

    @property
    def num_layers(self) -> int:
        """How many layers it has."""
        return len(self.layers)

    def get_input(self, index: int) -> Tensor | None:
        """An input; None if the index is out of range."""
        return self.inputs[index] if 0 <= index < len(self.inputs) else None

    def get_output(self, index: int) -> Tensor | None:
        """An output; None if the index is out of range."""
        return self.outputs[index] if 0 <= index < len(self.outputs) else None

    def get_layer(self, index: int) -> Layer | None:
        """A layer; None if the index is out of range."""
        return self.layers[index] if 0 <= index < len(self.layers) else None

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def mark_output(self, tensor: Tensor) -> None:
        """Make a tensor an output."""
        if tensor.is_network_output:
            self._reports.error("INetworkDefinition::markOutput", f"tensor {tensor.name} is marked as an output already")
            return
        tensor.is_network_output = True
        self.outputs.append(tensor)

    def unmark_output(self, tensor: Tensor) -> None:
        """Make it none again."""
        if tensor in self.outputs:
            tensor.is_network_output = False
            self.outputs.remove(tensor)

    def mark_debug(self, tensor: Tensor) -> bool:
        """Let a listener see the values of a tensor."""
        self.debug_marks.add(tensor.name)
        return True

    def unmark_debug(self, tensor: Tensor) -> bool:
        """Undo `mark_debug`."""
        self.debug_marks.discard(tensor.name)
        return True

    def is_debug_tensor(self, tensor: Tensor) -> bool:
        """Whether it is marked."""
        return tensor.name in self.debug_marks

    def mark_weights_refittable(self, name: str) -> bool:
        """For engines of which only some weights can be refitted."""
        if not self._has_weights(name):
            self._reports.error("INetworkDefinition::markWeightsRefittable", f"no weights have the name {name}")
            return False
        self.refittable_marks.add(name)
        return True

    def unmark_weights_refittable(self, name: str) -> bool:
        """Undo `mark_weights_refittable`."""
        if name not in self.refittable_marks:
            return False
        self.refittable_marks.remove(name)
        return True

    def are_weights_marked_refittable(self, name: str) -> bool:
        """Whether they are."""
        return name in self.refittable_marks

    def _has_weights(self, name: str) -> bool:
        return self.model is not None and any(tensor.name == name for tensor in self.model.graph.initializer)
