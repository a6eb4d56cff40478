"""Refitting: other weights for an engine that was built for it, one by one or from the model."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.element_types import data_type, type_name
from onnxgpu.providers.tensorrt.stand_in.engine import Engine
from onnxgpu.providers.tensorrt.stand_in.model_import import Loaded, read_external
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.parser_error import ParserError, ParserErrors
from onnxgpu.providers.tensorrt.stand_in.plan_file import raw_bytes
from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements
from onnxgpu.providers.tensorrt.stand_in.reports import Reporting, Reports
from onnxgpu.providers.tensorrt.stand_in.typed_graph import element_bytes
from onnxgpu.providers.tensorrt.stand_in.weights import Reference, Weights

CALL = "IRefitter::refitCudaEngine"


@implements("Refitter")
class Refitter(Reporting):
    """Changes weights of one engine.

    Args:
        engine: built with a flag that allows it.
        logger: where it reports.
    """

    def __init__(self, engine: Engine, logger: Any) -> None:
        self.engine, self.reports = engine, Reports(logger)
        self.max_threads, self.weights_validation = 0, True
        self._given: dict[str, tuple[Weights, Any]] = {}
        self._prototypes = {tensor.name: tensor for tensor in engine.plan.complete_model({}).graph.initializer}
        if not engine.refittable:
            broken("refittable asked of the builder", self.reports, "createInferRefitter", "the engine is not refittable", "INVALID_STATE")

    def get_all_weights(self) -> list[str]:
        """The names of what can be changed."""
        return list(self.engine.facts.refittable)

    def get_missing_weights(self) -> list[str]:
        """The names of what the engine has not, and was not given."""
        return sorted(self.engine.missing - self._given.keys())

    def get_all(self) -> tuple[list[str], list[Any]]:
        """Weights here have names of their own, and no roles in layers."""
        return self.get_all_weights(), [enum("WeightsRole").ANY] * len(self.engine.facts.refittable)

    def get_missing(self) -> tuple[list[str], list[Any]]:
        """As `get_missing_weights`."""
        missing = self.get_missing_weights()
        return missing, [enum("WeightsRole").ANY] * len(missing)

    def get_weights_prototype(self, weights_name: str) -> Weights:
        """Type and number of the elements; the size is -1 where nothing of that name can be changed."""
        if weights_name not in self.engine.facts.refittable:
            return Weights(data_type("FLOAT"), 0, -1)
        tensor = self._prototypes[weights_name]
        return Weights(data_type(type_name(tensor.data_type) or "FLOAT"), 0, prod(tensor.dims))

    def set_named_weights(self, name: str, weights: Weights, location: Any = None) -> bool:
        """Give weights; False, with an error in the log, where they do not fit."""
        prototype = self.get_weights_prototype(name)
        if prototype.size < 0:
            self.reports.error("IRefitter::setNamedWeights", f"{name} names no refittable weights")
            return False
        if (prototype.size, prototype.dtype) != (weights.size, weights.dtype):
            told = f"{name} has {prototype.size} elements of {prototype.dtype.name}, not {weights.size} of {weights.dtype.name}"
            self.reports.error("IRefitter::setNamedWeights", told)
            return False
        self._given[name] = weights, enum("TensorLocation").HOST if location is None else location
        return True

    def set_weights(self, layer_name: str, role: Any, weights: Weights) -> bool:
        """False: weights of models from ONNX have names."""
        self.reports.error(
            "IRefitter::setWeights", f"there is no layer {layer_name} with weights of role {role.name}; use set_named_weights"
        )
        return False

    def unset_named_weights(self, weights_name: str) -> bool:
        """Take weights back; False if none were given."""
        return self._given.pop(weights_name, None) is not None

    def get_named_weights(self, weights_name: str) -> Weights:
        """What was given; empty where nothing was."""
        if weights_name in self._given:
            return self._given[weights_name][0]
        self.reports.error("IRefitter::getNamedWeights", f"{weights_name} was never set")
        return Weights()

    def get_weights_location(self, weights_name: str) -> Any:
        """Where what was given lies."""
        if weights_name in self._given:
            return self._given[weights_name][1]
        self.reports.error("IRefitter::getWeightsLocation", f"{weights_name} was never set")
        return enum("TensorLocation").HOST

    def refit_cuda_engine(self) -> bool:
        """Put what was given into the engine."""
        if not self._is_complete():
            return False
        if self.engine.pending:
            told = f"{self.engine.pending} executions of the engine are enqueued and not done"
            broken("engine idle while refitted", self.reports, CALL, told, "INVALID_STATE")
            return False
        self._put()
        return True

    def refit_cuda_engine_async(self, stream_handle: int) -> bool:
        """The same when the stream comes to it; weights on the host are read now."""
        if not self._is_complete():
            return False
        contents = {name: self._content(name) for name, (_, location) in self._given.items() if location.name == "HOST"}
        problem = gpu.enqueue(stream_handle, lambda: self._put(contents))
        if problem is not None:
            self.reports.error("IRefitter::refitCudaEngineAsync", problem, "FAILED_EXECUTION")
        self.engine.missing -= self._given.keys()
        return problem is None

    def release_refit_resources(self) -> bool:
        """Nothing is kept."""
        return True

    def _is_complete(self) -> bool:
        if missing := self.get_missing_weights():
            broken("weights before refitting", self.reports, CALL, f"missing weights: {', '.join(missing[:3])} ({len(missing)})")
            return False
        return True

    def _content(self, name: str) -> bytes:
        weights, _ = self._given[name]
        return gpu.read(weights.address, weights.nbytes)

    def _put(self, contents: Mapping[str, bytes] | None = None) -> None:
        known = contents or {}
        for name in self._given:
            self.engine.weights[name] = known[name] if name in known else self._content(name)
        self.engine.missing -= self._given.keys()
        self.engine.refitted()


@implements("OnnxParserRefitter")
class ParserRefitter(ParserErrors):
    """Refits an engine with the weights of the model that it was built from.

    Args:
        refitter: of the engine.
        logger: where it reports.
    """

    def __init__(self, refitter: Refitter, logger: Any) -> None:
        super().__init__(logger)
        self._refitter = refitter
        self._loaded: Loaded | None = None

    def refit_from_bytes(self, model: Any, path: str | None = None) -> bool:
        """From a model in memory; `path` says where its external data lies."""
        loaded = self._read(bytes(memoryview(model)), path)
        return loaded is not None and self._refit(loaded)

    def refit_from_file(self, model: str) -> bool:
        """From a model in a file."""
        try:
            content = Path(model).read_bytes()
        except OSError:
            return self._failed("MODEL_DESERIALIZE_FAILED", f"Failed to parse ONNX model from file: {model}!")
        return self.refit_from_bytes(content, model)

    def load_model_proto(self, model: Any, path: str | None = None) -> bool:
        """Hold a model until `refit_model_proto`."""
        if self._loaded is not None:
            broken("one loaded model", self._reports, "OnnxParserRefitter::loadModelProto", "a model is loaded already")
            return False
        self._loaded = self._read(bytes(memoryview(model)), path)
        return self._loaded is not None

    def load_initializer(self, name: str, data: int, size: int) -> bool:
        """Take the data of an initializer by address."""
        if self._loaded is None:
            told = f"initializer {name} before load_model_proto()"
            broken("model before initializers", self._reports, "OnnxParserRefitter::loadInitializer", told)
            return False
        tensor = self._loaded.initializer(name)
        if tensor is None or size != element_bytes(tensor):
            return self._failed("INVALID_VALUE", f"Initializer {name} was not found in the model, or has another size than {size}")
        self._loaded.loaned[name] = Reference(data, size)
        return True

    def refit_model_proto(self) -> bool:
        """From the model that was loaded."""
        if self._loaded is None:
            broken("model before parsing", self._reports, "OnnxParserRefitter::refitModelProto", "no model was loaded")
            return False
        return self._refit(self._loaded)

    def _read(self, content: bytes, path: str | None) -> Loaded | None:
        try:
            proto = onnx.ModelProto.FromString(content)
            return Loaded(proto, read_external(proto, path))
        except (DecodeError, OSError, ValueError) as error:
            self._failed("MODEL_DESERIALIZE_FAILED", f"Failed to parse ONNX model: {error}")
            return None

    def _refit(self, loaded: Loaded) -> bool:
        """Hand every weight that the engine wants to the refitter; the engine changes when that is told to."""
        for name in self._refitter.get_all_weights():
            tensor = loaded.initializer(name)
            if tensor is None:
                return self._failed("REFIT_FAILED", f"the model has no initializer {name}")
            content = self._content(loaded, tensor)
            if content is None:
                return self._failed("REFIT_FAILED", f"the data of initializer {name} is not there")
            weights = Weights.of_bytes(data_type(type_name(tensor.data_type) or "FLOAT"), prod(tensor.dims), content)
            if not self._refitter.set_named_weights(name, weights):
                return self._failed("REFIT_FAILED", f"initializer {name} is not what the engine was built with")
        return True

    @staticmethod
    def _content(loaded: Loaded, tensor: onnx.TensorProto) -> bytes | None:
        if tensor.name in loaded.loaned:
            return loaded.loaned[tensor.name].content()
        if tensor.name in loaded.external:
            content: bytes = onnx.numpy_helper.from_array(loaded.external[tensor.name]).raw_data
            return content
        return None if tensor.data_location == onnx.TensorProto.EXTERNAL else raw_bytes(tensor)

    def _failed(self, code: str, text: str) -> bool:
        return self._note(ParserError(code, text, function="refit"))
