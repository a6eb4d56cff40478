"""A segment as TensorRT is to build it: first int8, then the small float types."""

from __future__ import annotations

from dataclasses import replace

from onnxgpu.log import logger
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.tensorrt.precision.quantize import Quantized, quantized
from onnxgpu.providers.tensorrt.precision.reduce import reduced
from onnxgpu.providers.tensorrt.precision.report import PrecisionReport
from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings


def prepared(model: CutModel, settings: PrecisionSettings) -> tuple[CutModel, PrecisionReport]:
    """The model in the types that the settings ask for, with the same inputs and outputs; the model itself if they ask for none.

    Args:
        model: of a segment, in the types of the ONNX model; not changed.
        settings: see `PrecisionSettings`.

    Raises:
        InvalidArgument: int8 is asked for, and neither Q/DQ nodes nor a calibration of this model are there.
    """
    integer = quantized(model, settings) if settings.int8 else Quantized(model, frozenset(), {})
    result, report = reduced(integer.model, settings)
    for reason, count in report.missing.items():
        advice = "a later opset may have it, which onnx.version_converter can give the model"
        logger.warning("segment '%s' stays in float32 in part (nodes: %d): %s; %s", model.proto.graph.name, count, reason, advice)
    nodes = tuple(replace(node, computes_in="int8", reason="") if node.name in integer.nodes else node for node in report.nodes)
    return result, replace(report, nodes=nodes, quantized=tuple(sorted(integer.nodes)), not_quantized=dict(integer.reasons))
