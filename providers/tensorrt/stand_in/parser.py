"""OnnxParser: models and initializers in, a network or errors out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from onnxgpu.providers.tensorrt.stand_in.flags import Flags
from onnxgpu.providers.tensorrt.stand_in.model_import import Loaded, import_model, read_external, supported_subgraphs
from onnxgpu.providers.tensorrt.stand_in.network import Network, Tensor
from onnxgpu.providers.tensorrt.stand_in.operators import operators
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.parser_error import ParserError, ParserErrors
from onnxgpu.providers.tensorrt.stand_in.plugins import plugin_operators
from onnxgpu.providers.tensorrt.stand_in.registry import implements
from onnxgpu.providers.tensorrt.stand_in.typed_graph import element_bytes
from onnxgpu.providers.tensorrt.stand_in.weights import Reference


@implements("OnnxParser")
class Parser(ParserErrors, Flags):
    """Writes into one network, from one model.

    Args:
        network: to be filled.
        logger: where it reports.
    """

    def __init__(self, network: Network, logger: Any) -> None:
        super().__init__(logger)
        self._network = network
        self._subgraphs: list[tuple[list[int], bool]] | None = None
        self._loaded: Loaded | None = None
        self._is_parsed = False
        self._config: Any = None
        self.flags = 0
        network.keeps.append(self)

    def parse(self, model: Any, path: str | None = None) -> bool:
        """From bytes; `path` says where external data lies."""
        if self._network.num_layers:
            broken("one model a parser", self._reports, "OnnxParser::parse", "Parse was called with a non-empty network definition")
            return False
        loaded = self._read(bytes(memoryview(model)), path)
        return loaded is not None and self._import(loaded)

    def parse_from_file(self, model: str) -> bool:
        """From a file."""
        try:
            content = Path(model).read_bytes()
        except OSError:
            self._reports.log("ERROR", f"Failed to parse ONNX model from file: {model}!")
            return False
        done = self.parse(content, model)
        for error in self._errors:
            self._reports.log(
                "ERROR", f"ERROR: {error.file()}:{error.line()} In function {error.func()}:\n[{int(error.code())}] {error.desc()}"
            )
        return done

    def load_model_proto(self, model: Any, path: str | None = None) -> bool:
        """Hold a model until `parse_model_proto`."""
        if self._loaded is not None:
            broken("one loaded model", self._reports, "OnnxParser::loadModelProto", "a model is loaded already")
            return False
        self._loaded = self._read(bytes(memoryview(model)), path)
        return self._loaded is not None

    def load_initializer(self, name: str, data: int, size: int) -> bool:
        """Take the data of an initializer by address; it has to stay there until the engine is built."""
        call = "OnnxParser::loadInitializer"
        if self._loaded is None:
            broken("model before initializers", self._reports, call, f"initializer {name} before load_model_proto()")
            return False
        if self._is_parsed:
            broken("initializers before parsing", self._reports, call, f"initializer {name} after parse_model_proto()")
            return False
        tensor = self._loaded.initializer(name)
        if tensor is None:
            return self._failed("INVALID_VALUE", f"Initializer {name} was not found in the model")
        if size != element_bytes(tensor):
            return self._failed("INVALID_VALUE", f"Initializer {name} has {element_bytes(tensor)} bytes, {size} were provided")
        self._loaded.loaned[name] = Reference(data, size)
        return True

    def parse_model_proto(self) -> bool:
        """Convert the model that was loaded."""
        if self._loaded is None:
            broken("model before parsing", self._reports, "OnnxParser::parseModelProto", "no model was loaded")
            return False
        if self._is_parsed:
            broken("one model a parser", self._reports, "OnnxParser::parseModelProto", "the model was parsed already")
            return False
        self._is_parsed = True
        return self._import(self._loaded)

    def supports_model_v2(self, model: Any, path: str | None = None) -> bool:
        """Parse, and group the nodes by what is supported."""
        content = bytes(memoryview(model))
        self._subgraphs = []
        loaded = self._read(content, path)
        if loaded is None:
            return False
        before = len(self._errors)
        done = self._import(loaded)
        self._subgraphs = supported_subgraphs(loaded.proto, self._errors[before:])
        return done

    @property
    def num_subgraphs(self) -> int:
        """How many there are, after `supports_model_v2`."""
        return len(self._groups("OnnxParser::getNbSubgraphs"))

    def is_subgraph_supported(self, index: int) -> bool:
        """Whether one of them is supported."""
        groups = self._groups("OnnxParser::isSubgraphSupported")
        return self._is_index(index, groups) and groups[index][1]

    def get_subgraph_nodes(self, index: int) -> list[int]:
        """The indices of its nodes in the model."""
        groups = self._groups("OnnxParser::getSubgraphNodes")
        return list(groups[index][0]) if self._is_index(index, groups) else []

    def supports_operator(self, op_name: str) -> bool:
        """Whether there is an importer for an operator."""
        return op_name in operators()

    def get_layer_output_tensor(self, name: str, i: int) -> Tensor | None:
        """An output of the first layer with this name."""
        layer = next((layer for layer in self._network.layers if layer.name == name), None)
        return layer.get_output(i) if layer is not None else None

    def get_used_vc_plugin_libraries(self) -> list[str]:
        """None: plugins of the stand-in have no libraries."""
        return []

    def set_builder_config(self, builder_config: Any) -> bool:
        """For checks against DLA."""
        self._config = builder_config
        return True

    def _import(self, loaded: Loaded) -> bool:
        for entry in loaded.proto.opset_import:
            if entry.domain in ("", "ai.onnx") and entry.version < 7:
                text = (
                    "TensorRT supports ONNX graphs generated with at least opset 7. Models using older opsets are not guaranteed to work."
                )
                self._reports.log("WARNING", text)
        found = import_model(loaded, self._network, frozenset(plugin_operators()))
        if not found:
            tensors = [("input", each) for each in self._network.inputs] + [("output", each) for each in self._network.outputs]
            for kind, tensor in tensors:
                if tensor.dtype.name == "INT64":
                    self._reports.log("WARNING", f"Make sure {kind} {tensor.name} has Int64 binding.")
        for error in found:
            self._note(error)
        return not found

    def _read(self, content: bytes, path: str | None) -> Loaded | None:
        try:
            proto = onnx.ModelProto.FromString(content)
            external = read_external(proto, path)
        except DecodeError:
            self._failed("MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model")
            return None
        except (OSError, ValueError) as error:
            self._failed("INVALID_GRAPH", f"Failed to import initializer: {error}")
            return None
        if not proto.HasField("graph"):
            self._failed("MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model")
            return None
        return Loaded(proto, external)

    def _failed(self, code: str, text: str) -> bool:
        function = "deserializeOnnxModel" if code == "MODEL_DESERIALIZE_FAILED" else "loadInitializer"
        return self._note(ParserError(code, text, function=function))

    def _groups(self, call: str) -> list[tuple[list[int], bool]]:
        if self._subgraphs is None:
            broken("subgraphs after supports_model_v2", self._reports, call, "Have you called supports_model_v2?")
            return []
        return self._subgraphs

    def _is_index(self, index: int, groups: list[tuple[list[int], bool]]) -> bool:
        if 0 <= index < len(groups):
            return True
        text = f"Query index {index} exceeds subgraph support vector (size = {len(groups)}). Have you called supports_model_v2?"
        return self._failed("INVALID_VALUE", text)


@implements("get_nv_onnx_parser_version")
def get_nv_onnx_parser_version() -> int:
    """0.1.0, as two digits each."""
    return 100
