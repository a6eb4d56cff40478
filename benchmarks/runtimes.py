"""Open a model in onnxgpu, in onnxruntime, or in ONNX's reference evaluator, behind one small interface."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from benchmarks.inputs import InputDescription, described_inputs

REFERENCE = "onnx.reference"


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


def _described(value: Any) -> InputDescription:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    name = TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)
    return InputDescription(value.name, f"tensor({name})", shape)


def open_model(module: str, path: str, providers: Sequence[str], threads: int) -> OpenModel:
    """Load the model file `path` in `module`: `onnxgpu`, `onnxruntime`, or `onnx.reference`."""
    if module == REFERENCE:
        return ReferenceModel(path)
    return SessionModel(module, path, providers, threads)
