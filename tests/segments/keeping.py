"""A provider of segments whose engines can be kept in models: an engine is the segment as an ONNX model, which `onnx.reference` runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxgpu.model_file.operation_proto import CutModel, model_of
from onnxgpu.provider import Array, Refusal, Spec, Value
from onnxgpu.providers.segments.misfit import misfit
from onnxgpu.segment_provider import Engine, Exclusions, Segment, SegmentClaim
from tests.segments.providers import EvaluatorProvider

NAME = "KeepingExecutionProvider"


class KeepingProvider(EvaluatorProvider):
    """Whole segments in `onnx.reference`, with engines.

    Class attributes:
        version: of what it calls its library.
        stands_by: its segments want a stand-by.
        compiled: names of the segments that it compiled.
    """

    name: ClassVar[str] = NAME
    operators: ClassVar[Collection[str]] = ("MatMul", "Add", "Relu", "Neg", "Mul")
    version: ClassVar[str] = "1.0"
    stands_by: ClassVar[bool] = False
    compiled: ClassVar[list[str]] = []

    def claim_segment(self, segment: Segment) -> SegmentClaim | Exclusions | Refusal:
        """As `EvaluatorProvider` does."""
        answer = super().claim_segment(segment)
        if isinstance(answer, Exclusions):
            return answer
        self.compiled.append(segment.name)
        content = _whole(model_of(segment)).SerializeToString()
        claim = _claim(content, segment, lambda: Engine(content, self.version, "any", {"by": "test"}))
        return replace(claim, stand_by=self.stands_by)

    def misfit(self, version: str, hardware: str) -> str | None:
        """Only its own version will do."""
        return misfit(version, hardware, self.version, "any")

    def claim_engine(self, segment: Segment, engine: Engine) -> SegmentClaim | Refusal:
        """Yes."""
        return _claim(bytes(engine.content), segment, None)


def _whole(cut: CutModel) -> onnx.ModelProto:
    for tensor in cut.proto.graph.initializer:
        if tensor.name in cut.weights:
            tensor.ClearField("data_location")
            tensor.raw_data = cut.weights[tensor.name].tobytes()
    return cut.proto


def _claim(content: bytes, segment: Segment, engine: Any) -> SegmentClaim:
    return SegmentClaim(lambda: _Kernel(content, segment), engine=engine)


class _Kernel:
    generation, is_complete = 0, True

    def __init__(self, content: bytes, segment: Segment) -> None:
        self._inputs, self._outputs = ([value.name for value in values] for values in (segment.inputs, segment.outputs))
        self._evaluator = ReferenceEvaluator(onnx.load_from_string(content))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        return None

    def serving(self, inputs: Sequence[Value]) -> _Kernel:
        return self

    def workspace(self, inputs: Sequence[Value]) -> int:
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        return [np.asarray(x) for x in self._evaluator.run(self._outputs, dict(zip(self._inputs, inputs, strict=True)))]
