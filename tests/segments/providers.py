"""A provider of segments that runs each by `onnx.reference`, and does what a test tells it to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from onnx.reference import ReferenceEvaluator

import onnxgpu
from onnxgpu.host_provider import HostProvider
from onnxgpu.model_file.operation_proto import model_of
from onnxgpu.options import SessionOptions
from onnxgpu.provider import Array, Claim, Operation, Refusal, Spec, Value
from onnxgpu.segment_provider import Exclusions, Segment, SegmentProvider
from onnxgpu.session import InferenceSession
from tests.models import model

NAME = "EvaluatorExecutionProvider"


class EvaluatorProvider(HostProvider, SegmentProvider):
    """Whole segments in `onnx.reference`.

    Class attributes:
        operators: those that it supports.
        excluded: those that it finds wanting only within a segment.
        refusal: what it says to every segment, if anything.
        offered: the segments that it was offered.
    """

    name: ClassVar[str] = NAME
    listed: ClassVar[bool] = False
    option_types: ClassVar[Mapping[str, type]] = {"least_nodes": int}
    operators: ClassVar[Collection[str]] = ()
    excluded: ClassVar[Collection[str]] = ()
    refusal: ClassVar[str] = ""
    offered: ClassVar[list[Segment]] = []

    @property
    def least_nodes(self) -> int:
        """See `SegmentProvider`."""
        return int(self.options.get("least_nodes", 1))

    def supports(self, operation: Operation) -> Refusal | None:
        """The operators of this class."""
        return None if operation.operator in self.operators else Refusal(f"no {operation.operator} here")

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """As the class says."""
        self.offered.append(segment)
        reasons = {i: f"{o.operator} is too much" for i, o in enumerate(segment.operations) if o.operator in self.excluded}
        if reasons:
            return Exclusions(reasons)
        return Refusal(self.refusal) if self.refusal else Claim(lambda: _Kernel(segment))


class _Kernel:
    def __init__(self, segment: Segment) -> None:
        cut = model_of(segment)
        for tensor in cut.proto.graph.initializer:
            if tensor.name in cut.weights:
                tensor.ClearField("data_location")
                tensor.raw_data = cut.weights[tensor.name].tobytes()
        self._names = [value.name for value in segment.inputs]
        self._evaluator = ReferenceEvaluator(cut.proto)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        return None

    def workspace(self, inputs: Sequence[Value]) -> int:
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        return [np.asarray(x) for x in self._evaluator.run(None, dict(zip(self._names, inputs, strict=True)))]


def session(text: str, *, placement: str = "", level: int = 0, behind: Sequence[str] = (), **options: Any) -> InferenceSession:
    """A session over `tests.models.model(text)` with the provider first."""
    settings = SessionOptions()
    settings.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    settings.add_session_config_entry("onnxgpu.placement", placement)
    providers: list[str | tuple[str, dict[str, str]]] = [
        (NAME, {name: str(value) for name, value in options.items()}),
        *behind,
        "CPUExecutionProvider",
    ]
    return InferenceSession(model(text).SerializeToString(), settings, providers=providers)
