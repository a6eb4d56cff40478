"""Q/DQ nodes around products and convolutions, from a calibration: int8 as strongly typed networks want it.

Scales are symmetric: one for an activation, one for each output channel of a weight. Weights become int8 constants with a
DequantizeLinear behind them; biases and sums stay in float32. Source: TensorRT's documentation, "Explicit Quantization".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.model_file.operation_proto import CutModel, add_constant
from onnxgpu.providers.tensorrt.precision.calibration import STEPS
from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings
from onnxgpu.providers.tensorrt.precision.view import LEAST_IR_VERSION, View, attribute, label_of, view_of

if TYPE_CHECKING:
    import onnx

OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
LEAST_OPSET = 13
"""Earlier versions have no scale for each channel."""

_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Quantized:
    """What became of a segment.

    Attributes:
        model: with Q/DQ nodes.
        nodes: labels of the nodes that compute in int8.
        reasons: label → why a product or convolution does not.
    """

    model: CutModel
    nodes: frozenset[str]
    reasons: Mapping[str, str]


def quantized(model: CutModel, settings: PrecisionSettings) -> Quantized:
    """The model in int8: as it is if it has Q/DQ nodes, otherwise with those that the calibration's ranges say.

    Raises:
        InvalidArgument: there are neither, or no range is of a value of the segment, or the opset is too old.
    """
    view = view_of(model)
    wanted = [index for index, node in enumerate(view.nodes) if node.op_type in OPERATORS and view.is_float32(node.output[0])]
    if any(node.op_type in _QUANTIZING for node in view.nodes) or not wanted:
        return Quantized(model, frozenset(), {})
    where = f"segment '{view.graph.name}'"
    if settings.ranges is None:
        raise InvalidArgument(
            f"trt_int8_enable: {where} has no Q/DQ nodes, and there is no calibration. Quantize the model with Q/DQ nodes "
            "(onnxruntime.quantization, NVIDIA's Model Optimizer), or name a calibration table in trt_int8_calibration_table_name, "
            "or leave trt_int8_enable out: Q/DQ nodes elsewhere in the model need no option"
        )
    known = [name for name in settings.ranges if name in view.names]
    if not known:
        raise InvalidArgument(
            f"the calibration table has {len(settings.ranges)} ranges, '{next(iter(settings.ranges))}' for one, and none is of a value of "
            f"{where}: it is of another model, or of this one before its values were renamed. Calibrate this model"
        )
    if (version := view.versions.get("", 1)) < LEAST_OPSET:
        raise InvalidArgument(f"int8 by a calibration table wants opset {LEAST_OPSET} or later, and {where} has opset {version}")
    return _Writer(view, settings, settings.ranges).written(frozenset(wanted))


class _Writer:
    def __init__(self, view: View, settings: PrecisionSettings, ranges: Mapping[str, float]) -> None:
        import onnx

        self._view, self._settings, self._ranges = view, settings, ranges
        self._proto = onnx.ModelProto()
        self._proto.CopyFrom(view.model.proto)
        self._graph = self._proto.graph
        del self._graph.node[:]
        self._weights = dict(view.model.weights)
        self._taken = set(view.names)
        self._dequantized: dict[tuple[str, int | None], str] = {}
        self._reasons: dict[str, str] = {}
        self._done: list[str] = []

    def written(self, wanted: frozenset[int]) -> Quantized:
        for index, node in enumerate(self._view.nodes):
            axes = self._operands(index) if index in wanted else None
            if isinstance(axes, str):
                self._reasons[label_of(node)] = axes
            operands = axes if isinstance(axes, dict) else {}
            inputs = [self._int8(name, operands[i]) if i in operands else name for i, name in enumerate(node.input)]
            added = self._graph.node.add()
            added.CopyFrom(node)
            del added.input[:]
            added.input.extend(inputs)
            if operands:
                self._done.append(label_of(node))
        read = {name for node in self._graph.node for name in node.input} | self._view.captured | self._view.outputs | self._view.inputs
        for index in reversed(range(len(self._graph.initializer))):
            if (name := self._graph.initializer[index].name) not in read:
                del self._graph.initializer[index]
                self._weights.pop(name, None)
        self._proto.ir_version = max(self._proto.ir_version, LEAST_IR_VERSION)
        return Quantized(CutModel(self._proto, self._weights), frozenset(self._done), self._reasons)

    def _operands(self, index: int) -> dict[int, int | None] | str:
        """Position → axis of the channels (None: one scale) for both operands, or why the node stays as it is."""
        view, node = self._view, self._view.nodes[index]
        if node.op_type in self._settings.float32_operators:
            return "in the user's list of operators in float32"
        if any(name in self._settings.float32_nodes for name in (node.name, *node.output)):
            return "in the list of nodes in float32"
        axes: dict[int, int | None] = {}
        for position in (0, 1):
            name = node.input[position]
            array = view.constant(name)
            if array is not None:
                if not np.isfinite(array).all():
                    return f"constant '{name}' is not finite"
                axes[position] = _channels(node, position, array)
            elif not self._ranges.get(name):
                return f"the calibration has no range for '{name}', or the range 0"
            else:
                axes[position] = None
        return axes

    def _int8(self, name: str, axis: int | None) -> str:
        """The value that stands for `name` after int8."""
        from onnx import helper

        key = (name, axis)
        if key in self._dequantized:
            return self._dequantized[key]
        stem = name if axis is None else f"{name}_{axis}"
        result = self._dequantized[key] = self._new(f"{stem}_dequantized")
        scale, numbers = self._new(f"{stem}_scale"), self._new(f"{stem}_int8")
        array = self._view.constant(name)
        if array is None:
            zero = self._new(f"{stem}_zero")
            add_constant(self._graph, self._weights, scale, np.array(self._ranges[name] / STEPS, np.float32))
            add_constant(self._graph, self._weights, zero, np.array(0, np.int8))
            self._graph.node.append(helper.make_node("QuantizeLinear", [name, scale, zero], [numbers], name=f"{stem}_quantize"))
            self._graph.node.append(helper.make_node("DequantizeLinear", [numbers, scale, zero], [result], name=f"{stem}_dequantize"))
            return result
        scales, rounded = _rounded(array, axis)
        add_constant(self._graph, self._weights, scale, scales)
        add_constant(self._graph, self._weights, numbers, rounded)
        node = helper.make_node("DequantizeLinear", [numbers, scale], [result], name=f"{stem}_dequantize")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self._graph.node.append(node)
        return result

    def _new(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _channels(node: onnx.NodeProto, position: int, array: np.ndarray) -> int | None:
    """The axis of a constant operand's output channels; None if it has no such axis."""
    if node.op_type == "Conv":
        return 0 if position == 1 else None
    if node.op_type == "ConvTranspose":
        return 1 if position == 1 and attribute(node, "group", 1) == 1 else None
    if position == 0 or array.ndim != 2:
        return None
    return 0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 1


def _rounded(array: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Scales and int8 numbers of a constant; a channel of zeros has the scale 1."""
    others = None if axis is None else tuple(i for i in range(array.ndim) if i != axis)
    largest = np.max(np.abs(array), axis=others, keepdims=True, initial=0.0).astype(np.float32)
    scales = np.where(largest > 0, largest / np.float32(STEPS), np.float32(1)).astype(np.float32)
    scales = np.where(scales > 0, scales, np.float32(1))
    numbers = np.clip(np.rint(array / scales), -STEPS, STEPS).astype(np.int8)
    return (scales.reshape(()) if axis is None else scales.reshape(-1)), numbers
