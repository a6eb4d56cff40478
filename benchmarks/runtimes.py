"""Open a model in onnxgpu, in onnxruntime, in OpenVINO, or in ONNX's reference evaluator, behind one small interface."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from benchmarks.inputs import InputDescription, described_inputs

REFERENCE = "onnx.reference"
OPENVINO = "openvino"


class OpenModel(Protocol):
    """A loaded model."""

    inputs: Sequence[InputDescription]
    providers: Sequence[str]

    def run(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """All outputs."""


class SessionModel:
    """A model in a module with onnxruntime's API.

    Args:
        module: name of the module.
        path: the model file.
        providers: names of providers; none: the module's own default.
        threads: bound for the threads of one operator.
    """

    def __init__(self, module: str, path: str, providers: Sequence[str], threads: int) -> None:
        runtime = importlib.import_module(module)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        chosen = list(providers) or runtime.get_available_providers()
        self._session = runtime.InferenceSession(path, options, providers=chosen)
        self.inputs: Sequence[InputDescription] = described_inputs(self._session)
        self.providers: Sequence[str] = list(self._session.get_providers())

    def run(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """All outputs."""
        outputs: list[Any] = self._session.run(None, feeds)
        return outputs


class ReferenceModel:
    """A model in `onnx.reference.ReferenceEvaluator`."""

    def __init__(self, path: str) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        model = onnx.load(path)
        constants = {initializer.name for initializer in model.graph.initializer}
        self.inputs: Sequence[InputDescription] = [_described(value) for value in model.graph.input if value.name not in constants]
        self.providers: Sequence[str] = [REFERENCE]
        self._evaluator = ReferenceEvaluator(model)

    def run(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """All outputs."""
        return list(self._evaluator.run(None, feeds))


class OpenVINOModel:
    """A model in OpenVINO itself, computed in float32; results are the caller's own, as a session's are.

    Args:
        path: the model file.
        settings: properties of OpenVINO, `NAME=value`, laid over its defaults.
        threads: bound for its threads.
    """

    def __init__(self, path: str, settings: Sequence[str], threads: int) -> None:
        import openvino

        core = openvino.Core()
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        properties |= dict(text.split("=", 1) for text in settings)
        compiled = core.compile_model(core.read_model(path), "CPU", properties)
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self._outputs = len(compiled.outputs)
        self.inputs: Sequence[InputDescription] = [_port_described(port) for port in compiled.inputs]
        self.providers: Sequence[str] = [OPENVINO]

    def run(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """All outputs."""
        for description in self.inputs:
            self._request.set_tensor(description.name, self._tensor(feeds[description.name], shared_memory=True))
        self._request.infer()
        return [self._request.get_output_tensor(index).data.copy() for index in range(self._outputs)]


def _port_described(port: Any) -> InputDescription:
    name = {"float32": "float", "float64": "double"}.get(str(port.element_type.to_dtype()), str(port.element_type.to_dtype()))
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return InputDescription(port.any_name, f"tensor({name})", shape)


def _described(value: Any) -> InputDescription:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    name = TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)
    return InputDescription(value.name, f"tensor({name})", shape)


def open_model(module: str, path: str, providers: Sequence[str], threads: int) -> OpenModel:
    """Load the model file `path` in `module`: `onnxgpu`, `onnxruntime`, `openvino` with settings for providers, or `onnx.reference`."""
    if module == OPENVINO:
        return OpenVINOModel(path, providers, threads)
    if module == REFERENCE:
        return ReferenceModel(path)
    return SessionModel(module, path, providers, threads)
