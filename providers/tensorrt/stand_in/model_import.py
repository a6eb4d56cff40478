"""From an ONNX model to a network: what TensorRT's parser takes, what it refuses in which words, and which inputs decide shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from onnxgpu.providers.tensorrt.stand_in.element_types import type_name
from onnxgpu.providers.tensorrt.stand_in.network import Layer, Network, Tensor
from onnxgpu.providers.tensorrt.stand_in.operators import operators, type_refusal
from onnxgpu.providers.tensorrt.stand_in.parser_error import ParserError
from onnxgpu.providers.tensorrt.stand_in.restrictions import refusals
from onnxgpu.providers.tensorrt.stand_in.shape_tensors import shape_inputs
from onnxgpu.providers.tensorrt.stand_in.typed_graph import Node, Typed, TypedGraph, element_bytes, inferred, typed
from onnxgpu.providers.tensorrt.stand_in.weights import Reference

_STANDARD = ("", "ai.onnx")


@dataclass
class Loaded:
    """A model that a parser holds.

    Attributes:
        proto: the model.
        external: data of initializers that lies in files, read.
        loaned: initializers that the caller gave by address.
    """

    proto: onnx.ModelProto
    external: dict[str, np.ndarray] = field(default_factory=dict)
    loaned: dict[str, Reference] = field(default_factory=dict)

    def initializer(self, name: str) -> onnx.TensorProto | None:
        """The initializer with this name."""
        return next((tensor for tensor in self.proto.graph.initializer if tensor.name == name), None)


def read_external(proto: onnx.ModelProto, path: str | None) -> dict[str, np.ndarray]:
    """The data of initializers in files beside the model.

    Raises:
        OSError: a file is not there.
        ValueError: it is too short.
    """
    found: dict[str, np.ndarray] = {}
    folder = Path(path).parent if path else Path()
    for tensor in proto.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location != onnx.TensorProto.EXTERNAL or not entries.get("location"):
            continue
        with (folder / entries["location"]).open("rb") as file:
            file.seek(int(entries.get("offset", 0)))
            content = file.read(int(entries.get("length", element_bytes(tensor))))
        if len(content) != element_bytes(tensor):
            raise ValueError(f"{os.fspath(folder / entries['location'])} holds {len(content)} bytes for {tensor.name}")
        found[tensor.name] = array_of(tensor, content)
    return found


def array_of(tensor: onnx.TensorProto, content: bytes) -> np.ndarray:
    """The elements of an initializer from the bytes that `raw_data` would hold."""
    filled = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=content)
    return onnx.numpy_helper.to_array(filled)


def import_model(loaded: Loaded, network: Network, plugins: frozenset[str]) -> list[ParserError]:
    """Fill `network`, which stays as it is where the model is refused; returns what is wrong.

    As TensorRT's parser does, the checks that need no types go through all nodes, the others end with the first error.
    """
    graph = TypedGraph(inferred(_with_outputs_apart(loaded.proto)), loaded.external)
    errors = [*_input_errors(graph), *_initializer_errors(graph, loaded)]
    made = {name for node in graph.model.graph.node for name in node.output}
    for node in graph.nodes():
        static = [_node_error(node, text) for text in _static_refusals(node, plugins)]
        errors += static
        if not errors and (refusal := _dynamic_refusal(node, plugins, made)) is not None:
            errors.append(refusal)
    if not errors:
        errors += _output_errors(graph)
    if not errors:
        _fill(network, graph, loaded)
    return errors


def _with_outputs_apart(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model, where an output that is an input comes from an Identity node; as the parser does, the input is renamed then."""
    twice = {info.name for info in proto.graph.input} & {info.name for info in proto.graph.output}
    if not twice:
        return proto
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for info in made.graph.input:
        if info.name in twice:
            made.graph.node.add(op_type="Identity", input=[f"__{info.name}"], output=[info.name])
            info.name = f"__{info.name}"
    for node in made.graph.node:
        for index, name in enumerate(node.input):
            if name in twice:
                node.input[index] = f"__{name}"
    return made


def _input_errors(graph: TypedGraph) -> Iterator[ParserError]:
    deciding = shape_inputs(graph)
    for info in graph.inputs:
        if not info.type.HasField("tensor_type") or type_name(info.type.tensor_type.elem_type) is None:
            text = "Failed to convert ONNX date type to TensorRT data type."
            yield ParserError("UNSUPPORTED_NODE", text, where=info.name, function="importInput")
        elif not info.type.tensor_type.HasField("shape"):
            text = "Failed to convert ONNX dimensions to TensorRT dimensions."
            yield ParserError("UNSUPPORTED_GRAPH", text, where=info.name, function="importInput")
        elif info.name in deciding and type_name(info.type.tensor_type.elem_type) not in ("INT32", "INT64"):
            text = f"Network input {info.name} decides shapes and must be of type INT32 or INT64."
            yield ParserError("UNSUPPORTED_GRAPH", text, where=info.name, function="importInput")


def _initializer_errors(graph: TypedGraph, loaded: Loaded) -> Iterator[ParserError]:
    read = {name for node in graph.model.graph.node for name in node.input}
    for tensor in graph.model.graph.initializer:
        missing = tensor.data_location == onnx.TensorProto.EXTERNAL and tensor.name not in loaded.external
        unknown = type_name(tensor.data_type) is None and tensor.name in read and tensor.data_type != onnx.TensorProto.DOUBLE
        if (missing and tensor.name not in loaded.loaned) or unknown:
            yield ParserError("INVALID_GRAPH", f"Failed to import initializer: {tensor.name}", function="parseGraph")


def _static_refusals(node: Node, plugins: frozenset[str]) -> Iterator[str]:
    if node.operator in operators() and node.proto.domain in _STANDARD:
        yield from refusals(node)
    elif not _is_function(node) and node.operator not in plugins:
        yield "Plugin not found, are the plugin name, version, and namespace correct?"


def _dynamic_refusal(node: Node, plugins: frozenset[str], made: set[str]) -> ParserError | None:
    for name in node.proto.input:
        if name and name not in node.graph.values and name not in made:
            return _node_error(node, "Node input was not registered.", "INVALID_GRAPH")
    if node.operator in plugins or _is_function(node):
        return None
    if (refusal := type_refusal(node)) is not None:
        return _node_error(node, refusal, "UNSUPPORTED_NODE_DATATYPE")
    outputs = {info.name for info in node.graph.model.graph.output}
    for index, name in enumerate(node.proto.output):
        code = node.output_type(index)
        kind = type_name(code) if code else None
        if code and kind is None:
            return _node_error(node, f"Unsupported ONNX data type: {onnx.TensorProto.DataType.Name(code)} ({code})")
        if kind == "UINT8" and name not in outputs:
            return _node_error(node, "TensorRT does not support UINT8 types for intermediate tensors!")
    return None


def _is_function(node: Node) -> bool:
    return any(function.name == node.operator and function.domain == node.proto.domain for function in node.graph.model.functions)


def _output_errors(graph: TypedGraph) -> Iterator[ParserError]:
    for info in graph.model.graph.output:
        if info.name not in graph.values and not any(info.name in node.output for node in graph.model.graph.node):
            yield ParserError("INVALID_GRAPH", "The output tensor was not registered.", function="importModel")
        elif type_name(_declared(graph, info).code) is None:
            text = "Failed to convert ONNX date type to TensorRT data type."
            yield ParserError("UNSUPPORTED_NODE", text, function="importModel")


def _declared(graph: TypedGraph, info: onnx.ValueInfoProto) -> Typed:
    """What is known of an output; its declaration may be empty."""
    found = typed(info)
    return found if found.code else graph.values.get(info.name, found)


def _node_error(node: Node, text: str, code: str = "UNSUPPORTED_NODE") -> ParserError:
    return ParserError(code, text, node.index, node.name, node.operator, where="onnxOpImporters.cpp", function=f"import{node.operator}")


def _fill(network: Network, graph: TypedGraph, loaded: Loaded) -> None:
    deciding = shape_inputs(graph)
    tensors: dict[str, Tensor] = {}

    def tensor(name: str, found: Typed, *, is_input: bool = False) -> Tensor:
        kind = type_name(found.code) or "FLOAT"
        made = Tensor(name, kind, found.shape if found.shape is not None else (), is_network_input=is_input, is_shape=name in deciding)
        tensors[name] = made
        return made

    for info in graph.inputs:
        made = tensor(info.name, typed(info), is_input=True)
        for index, dimension in enumerate(info.type.tensor_type.shape.dim):
            if dimension.dim_param:
                made.set_dimension_name(index, dimension.dim_param)
        network.inputs.append(made)
    for node in graph.nodes():
        inputs = tuple(tensors.get(name) for name in node.proto.input)
        outputs = tuple(tensor(name, graph.values.get(name, Typed(0, None))) for name in node.proto.output if name)
        network.layers.append(Layer(node.name, node.operator, inputs, outputs))
    for info in graph.model.graph.output:
        network.mark_output(tensors.get(info.name) or tensor(info.name, _declared(graph, info)))
    network.tensors = tensors
    network.model, network.weights, network.loaned = graph.model, dict(loaded.external), dict(loaded.loaned)


def unsupported_nodes(errors: Sequence[ParserError]) -> tuple[int, str]:
    """The node that the last error speaks of (-1: none), and the network input that one does (empty: none)."""
    node, name = -1, ""
    for error in errors:
        if error.node() != -1:
            node = error.node()
        elif error.function == "importInput":
            name = error.file()
    return node, name


def supported_subgraphs(proto: onnx.ModelProto, errors: Sequence[ParserError]) -> list[tuple[list[int], bool]]:
    """The nodes in runs without those that failed, as `supports_model_v2` groups them.

    A run is cut at the last node with an error and at readers of a network input that was refused. Runs are marked as supported
    where there is but one with everything in it; of the others the parser has not said more than that nothing is known against them.
    """
    failed, refused = unsupported_nodes(errors)
    runs: list[tuple[list[int], bool]] = []
    fresh = True
    for index, node in enumerate(proto.graph.node):
        if index == failed or (refused and refused in node.input):
            fresh = True
            continue
        if fresh:
            runs.append(([], False))
            fresh = False
        runs[-1][0].append(index)
    return [(indices, True) for indices, _ in runs] if not errors else runs
