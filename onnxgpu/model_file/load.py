"""From bytes or a path to a checked model, one stage after the other."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from onnxgpu.deferred import import_onnx_ir
from onnxgpu.errors import Fail, InvalidArgument, InvalidGraph
from onnxgpu.log import logger
from onnxgpu.metadata import ModelMetadata
from onnxgpu.model_file.context_nodes import engines_as_tensors
from onnxgpu.model_file.external_data import ExternalFiles
from onnxgpu.model_file.functions import inline_functions
from onnxgpu.model_file.gradients import expand_gradients
from onnxgpu.model_file.graph_checks import arrange
from onnxgpu.model_file.loaded import LoadedModel, ValueType
from onnxgpu.model_file.operator_checks import check_operators, import_known_domains
from onnxgpu.model_file.source import Source, not_a_model, opened, recognised
from onnxgpu.model_file.standard_form import standardise, without_map_types
from onnxgpu.model_file.supplied import FilesInMemory, supply
from onnxgpu.model_file.tensors import check_tensors, hold
from onnxgpu.model_file.types import infer_types
from onnxgpu.model_file.value_types import tensor_value_type, value_type, value_type_of
from onnxgpu.model_file.wire import WireError, without_payloads
from onnxgpu.supplied import SuppliedData

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


KNOWN_DOMAINS = frozenset({"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Domains of custom operators that are let through to the providers."""


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    known_domains: Collection[str] = KNOWN_DOMAINS,
    known_operators: Collection[tuple[str, str]] = frozenset(),
    supplied: SuppliedData | None = None,
    data_folder: str = "",
) -> LoadedModel:
    """Load and check a model.

    Args:
        source: a path, the bytes of a model, or a `ModelProto` (which is left as it is). Only a model with a path may
            have external data in files, unless `data_folder` says where they are.
        known_domains: domains whose operators are let through unchecked, besides ONNX's own.
        known_operators: (domain, operator) pairs that are let through unchecked.
        supplied: tensor data from memory, in place of the model's.
        data_folder: where external data files lie; "": in the model's folder.

    Raises:
        NoSuchFile: the model, or external data that it names, is not there.
        InvalidProtobuf: the bytes are not an ONNX protobuf.
        InvalidArgument: there is no graph, or external data lies where it must not.
        InvalidGraph: the graph breaks a rule of ONNX; names the node or value.
        NotImplemented: an opset or element type newer than this version knows.
        Fail: an operator of a domain that nobody registered, a model that has no opset or IR version, or `supplied` does not
            fit it.
        TypeError: `source` is none of the accepted types.
    """
    import_onnx_ir()
    with opened(source) as opened_source:
        payload_location = f"payload-{secrets.token_hex(16)}"
        proto = _parse(opened_source, payload_location)
        _check_header(proto)
        standardise(proto)
        inline_functions(proto)
        import_known_domains(proto, known_domains)
        check_operators(proto, known_domains, known_operators)
        expand_gradients(proto)
        arrange(proto.graph)
        engines_as_tensors(proto)
        in_memory = FilesInMemory(supplied.files if supplied else {})
        if supplied:
            supply(proto.graph, supplied, payload_location, in_memory)
        files = ExternalFiles(Path(data_folder).absolute() if data_folder else opened_source.folder, in_memory)
        check_tensors(proto.graph, payload_location, files)
        inputs, outputs, overridable = _value_types(proto.graph)
        without_map_types(proto.graph)
        model = _to_ir(proto)
        hold(model, opened_source, payload_location, files)
    _make_names_unique(model)
    return LoadedModel(
        model,
        inputs,
        _with_inferred_types(outputs, model),
        overridable,
        opened_source.path,
        _metadata(proto),
        {entry.domain: entry.version for entry in proto.opset_import},
    )


def _parse(source: Source, payload_location: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    if recognised(source.data):
        raise not_a_model(source, "")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(without_payloads(source.data, payload_location))
    except (WireError, DecodeError) as error:
        raise not_a_model(source, str(error)) from error
    source.release_pages()
    if not proto.HasField("graph"):
        raise InvalidArgument("No graph was found in the protobuf.")
    return proto


def _check_header(proto: onnx.ModelProto) -> None:
    import onnx

    if not proto.HasField("ir_version"):
        raise Fail("Missing model IR version: the model's field ir_version is not set")
    if proto.ir_version > onnx.IR_VERSION:
        logger.warning(
            "IR version %d is newer than %d: parts of the model that are new in it are ignored", proto.ir_version, onnx.IR_VERSION
        )
    if not proto.opset_import:
        if proto.ir_version >= 3:
            raise Fail(
                "Missing opset in the model. All ModelProtos MUST have at least one entry that specifies which version "
                "of the ONNX OperatorSet is being imported; add opset_import, or export the model again"
            )
        proto.opset_import.add(domain="", version=1)


def _value_types(graph: onnx.GraphProto) -> tuple[tuple[ValueType, ...], tuple[ValueType, ...], tuple[ValueType, ...]]:
    """Types of the inputs, of the outputs, and of the inputs that have a default."""
    defaults = {tensor.name: tensor for tensor in graph.initializer}
    inputs = tuple(value_type(info) for info in graph.input if info.name not in defaults)
    overridable = tuple(
        value_type(info) if value_type(info).type else tensor_value_type(defaults[info.name])
        for info in graph.input
        if info.name in defaults
    )
    return inputs, tuple(value_type(info) for info in graph.output), overridable


def _to_ir(proto: onnx.ModelProto) -> ir.Model:
    import onnx_ir as ir

    try:
        return ir.from_proto(proto)
    except Exception as error:
        causes: list[Exception] = [error]
        while isinstance(causes[-1].__cause__, Exception):
            causes.append(causes[-1].__cause__)
        raise InvalidGraph(f"the graph cannot be read: {causes[-1]} (in {str(error)[:300]})") from error


def _make_names_unique(model: ir.Model) -> None:
    """Give values of subgraphs that have the name of another value a name of their own."""
    taken: set[str] = set()
    for graph in model.graphs():
        values = [*graph.inputs, *(v for v in graph.initializers.values() if v not in graph.inputs)]
        for value in (*values, *(output for node in graph for output in node.outputs if output.name)):
            name, number = value.name or "value", 1
            while name in taken:
                number += 1
                name = f"{value.name}_{number}"
            taken.add(name)
            if name != value.name:
                value.name = name


def _with_inferred_types(outputs: tuple[ValueType, ...], model: ir.Model) -> tuple[ValueType, ...]:
    """Outputs that declare no type get the inferred one."""
    if all(output.type for output in outputs):
        return outputs
    infer_types(model)
    return tuple(output if output.type else value_type_of(value) for output, value in zip(outputs, model.graph.outputs, strict=True))


def _metadata(proto: onnx.ModelProto) -> ModelMetadata:
    return ModelMetadata(
        {entry.key: entry.value for entry in proto.metadata_props},
        proto.doc_string,
        proto.domain,
        proto.graph.doc_string,
        proto.graph.name,
        proto.producer_name,
        proto.model_version,
    )
