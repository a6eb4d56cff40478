"""Which operations TensorRT takes: a quick look at each, and the parser's own word on a whole segment."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.provider import Operation, Subgraph
from onnxgpu.providers.tensorrt.library import tensorrt
from onnxgpu.providers.tensorrt.messages import listening, made, trt_logger
from onnxgpu.providers.tensorrt.network import (
    MOST_EMBEDDED_BYTES,
    OF_NO_NODE,
    Network,
    ParserRefusal,
    embedded,
    empty_network,
    errors_of,
    total_bytes,
)
from onnxgpu.providers.tensorrt.settings import PLUGIN_DOMAIN

TYPES = frozenset(
    {"float", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "bool", "float8e4m3fn", "int4", "float4e2m1", "float8e8m0"}
)
"""ONNX's names of the element types that TensorRT has."""

HALF_BYTES = frozenset({"int4", "uint4", "float4e2m1"})
"""Of the types, those of which TensorRT has two elements in a byte, and arrays here one."""

_NOT_SAID = "TensorRT's parser does not take it, and gives no reason"


def refusal(operation: Operation, excluded: frozenset[str]) -> str | None:
    """Why no segment of TensorRT's may hold `operation`, as far as it can be told from the operation alone; None if it may.

    Args:
        operation: a node.
        excluded: operators that the user wants elsewhere.
    """
    if operation.operator in excluded:
        return f"trt_op_types_to_exclude names {operation.operator}"
    if any(isinstance(value, Subgraph) for value in operation.attributes.values()):
        return "control flow stays with the session, and its bodies have segments of their own"
    if operation.domain not in ("", PLUGIN_DOMAIN):
        return f"TensorRT's parser has no operators of {operation.domain}"
    for value in (*operation.inputs, *operation.outputs):
        if value is None:
            continue
        if not value.is_tensor or value.dtype is None:
            return f"'{value.name}' is no tensor, or its element type is not known"
        if name_of(value.dtype) not in TYPES:
            return f"TensorRT has no tensors of {name_of(value.dtype)}"
    if operation.domain == "" and not _is_known(tensorrt(), operation.operator):
        return f"TensorRT's parser does not know {operation.operator}"
    return None


def unsupported(model: CutModel) -> dict[int, str]:
    """The nodes of `model` that the parser does not take: position → its words.

    Where it does not take the whole, it parts the rest into subgraphs of which it says no more than that they may be tried: these have
    to be asked about again, each by itself. They leave out the node of its last error alone; those of the others are refused too.
    """
    if total_bytes(model) > MOST_EMBEDDED_BYTES:
        return _found_by_parsing(model)
    trt = tensorrt()
    with listening(quiet=True):
        network = empty_network(_builder(trt))
        parser = trt.OnnxParser(network, trt_logger())
        if parser.supports_model_v2(embedded(model)):
            return {}
        reasons = errors_of(parser)
        open_nodes = {int(node) for index in range(parser.num_subgraphs) for node in parser.get_subgraph_nodes(index)}
    every = range(len(model.proto.graph.node))
    refused = sorted({node for node in every if node not in open_nodes} | {node for node in reasons if node in every}) or every
    return {node: reasons.get(node, reasons.get(OF_NO_NODE, _NOT_SAID)) for node in refused}


def _found_by_parsing(model: CutModel) -> dict[int, str]:
    """As `unsupported`, of a model that is too large to be asked about in one piece."""
    with listening(quiet=True) as told:
        try:
            Network(model, told)
        except ParserRefusal as error:
            nodes = {node: reason for node, reason in error.reasons.items() if node >= 0}
            return nodes or dict.fromkeys(range(len(model.proto.graph.node)), error.message)
    return {}


@cache
def _builder(module: Any) -> Any:
    """The builder that networks of questions belong to."""
    return made(module.Builder)


@cache
def _is_known(module: Any, operator: str) -> bool:
    with listening(quiet=True):
        network = empty_network(_builder(module))
        return bool(module.OnnxParser(network, trt_logger()).supports_operator(operator))
