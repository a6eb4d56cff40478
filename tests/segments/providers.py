"""A provider of segments that runs each by `onnx.reference`, and does what a test tells it to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from onnx.reference import ReferenceEvaluator

import onnxgpu
from onnxgpu.host_provider import HostProvider
from onnxgpu.model_file.operation_proto import model_of
from onnxgpu.options import SessionOptions
from onnxgpu.provider import Array, Claim, Kernel, Operation, Refusal, Spec, Value
from onnxgpu.providers.loopback.opaque import OpaqueKernel
from onnxgpu.providers.loopback.provider import LoopbackProvider
from onnxgpu.segment_provider import EngineBuild, Exclusions, Segment, SegmentClaim, SegmentProvider
from onnxgpu.session import InferenceSession
from tests.models import model

NAME = "EvaluatorExecutionProvider"
DEVICE_NAME = "DeviceEvaluatorExecutionProvider"


class EvaluatorProvider(HostProvider, SegmentProvider):
    """Whole segments in `onnx.reference`.

    Class attributes:
        operators: those that it supports.
        excluded: those that it finds wanting only within a segment.
        refusal: what it says to every segment, if anything.
        offered: the segments that it was offered.
        late: its engines come when a test says so, and it wants a stand-by until then.
        waiting: the kernels of these.
    """

    name: ClassVar[str] = NAME
    listed: ClassVar[bool] = False
    option_types: ClassVar[Mapping[str, type]] = {"least_nodes": int}
    operators: ClassVar[Collection[str]] = ()
    excluded: ClassVar[Collection[str]] = ()
    refusal: ClassVar[str] = ""
    offered: ClassVar[list[Segment]] = []
    late: ClassVar[bool] = False
    waiting: ClassVar[list[LateKernel]] = []

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
        if self.refusal:
            return Refusal(self.refusal)
        return SegmentClaim(partial(self._late_kernel, segment), stand_by=True) if self.late else Claim(lambda: EngineKernel(segment))

    def _late_kernel(self, segment: Segment) -> LateKernel:
        self.waiting.append(LateKernel(segment))
        return self.waiting[-1]


class DeviceEvaluatorProvider(SegmentProvider, LoopbackProvider):
    """The same on a pretend device: late, with integers in host memory."""

    name: ClassVar[str] = DEVICE_NAME

    def supports(self, operation: Operation) -> Refusal | None:
        """See `EvaluatorProvider`."""
        return None if operation.operator in EvaluatorProvider.operators else Refusal(f"no {operation.operator} here")

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        """Every segment."""
        on_host = frozenset(i for i, value in enumerate(segment.inputs) if value.dtype == np.int64)

        def build() -> LateKernel:
            kernel = LateKernel(segment)
            kernel.engine = OpaqueKernel(kernel.engine if not on_host else EngineKernel(segment), on_host, frozenset())
            EvaluatorProvider.waiting.append(kernel)
            return kernel

        return SegmentClaim(build, host_inputs=on_host, stand_by=True)


class LateKernel:
    """Has an engine for the shapes that a test names."""

    def __init__(self, segment: Segment) -> None:
        self.engine: Any = EngineKernel(segment, elementwise=True)
        self.is_complete = False
        self.generation, self.ready, self.asked = 0, set[tuple[int, ...]](), list[tuple[int, ...]]()

    def finish(self, *shapes: tuple[int, ...]) -> None:
        """From now on there is an engine for first inputs of these shapes."""
        self.ready.update(shapes)
        self.generation += 1

    def builds(self) -> Sequence[EngineBuild]:
        """None that could be waited for."""
        return ()

    def serving(self, inputs: Sequence[Value]) -> Kernel | None:
        """See `ChangingKernel`."""
        self.asked.append(tuple(inputs[0].shape))
        return self.engine if self.asked[-1] in self.ready else None

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """See `Kernel`."""
        specs: Sequence[Spec] | None = self.engine.outputs(inputs)
        return specs

    def workspace(self, inputs: Sequence[Value]) -> int:
        """See `Kernel`."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Nothing stands by: the engine is waited for."""
        values: Sequence[Value] = self.engine.launch(inputs, outputs, workspace)
        return values


class EngineKernel:
    """A segment in `onnx.reference`; counts its launches.

    Args:
        segment: which.
        elementwise: its outputs are known to be of the kind of its first input.
    """

    def __init__(self, segment: Segment, *, elementwise: bool = False) -> None:
        self._count = len(segment.outputs) if elementwise else 0
        cut = model_of(segment)
        for tensor in cut.proto.graph.initializer:
            if tensor.name in cut.weights:
                tensor.ClearField("data_location")
                tensor.raw_data = cut.weights[tensor.name].tobytes()
        self._names = [value.name for value in segment.inputs]
        self._evaluator = ReferenceEvaluator(cut.proto)
        self.launches = 0

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        return [Spec(tuple(inputs[0].shape), inputs[0].dtype)] * self._count or None

    def workspace(self, inputs: Sequence[Value]) -> int:
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        self.launches += 1
        results = [np.asarray(x) for x in self._evaluator.run(None, dict(zip(self._names, inputs, strict=True)))]
        if outputs is None:
            return results
        for output, result in zip(outputs, results, strict=True):
            output[...] = result
        return outputs


def session(
    text: str, *, placement: str = "", level: int = 0, first: str = NAME, behind: Sequence[str] = (), **options: Any
) -> InferenceSession:
    """A session over `tests.models.model(text)` with the provider `first` before the others."""
    settings = SessionOptions()
    settings.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    settings.add_session_config_entry("onnxgpu.placement", placement)
    providers: list[str | tuple[str, dict[str, str]]] = [
        (first, {name: str(value) for name, value in options.items()}),
        *behind,
        "CPUExecutionProvider",
    ]
    return InferenceSession(model(text).SerializeToString(), settings, providers=providers)
