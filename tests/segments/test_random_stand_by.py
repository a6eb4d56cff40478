"""Random graphs of which random parts are segments, on the host or a pretend device, whose engines come at random times."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu import discovery
from onnxgpu.host_provider import HostProvider
from onnxgpu.model_file.operation_proto import model_of
from onnxgpu.provider import Array, Claim, Kernel, Operation, Refusal, Spec, Subgraph, Value
from onnxgpu.providers.loopback.opaque import OpaqueKernel
from onnxgpu.providers.loopback.provider import LoopbackProvider
from onnxgpu.segment_provider import EngineBuild, Exclusions, Segment, SegmentClaim, SegmentProvider
from onnxgpu.session import InferenceSession
from tests.random_graphs import random_graph
from tests.test_random_graphs import BATCHES, check_runs, check_subset, check_threads, onnxruntime_outputs

CPU, LOOPBACK = "CPUExecutionProvider", "LoopbackExecutionProvider"
LATEST = 3
"""Engines come before one of the first so many runs."""


class _Clock:
    """How many runs there were."""

    now = 0
    served = 0


class _Engine:
    """A segment in a session of its own."""

    def __init__(self, segment: Segment) -> None:
        model = model_of(segment)
        for tensor in model.proto.graph.initializer:
            if tensor.name in model.weights:
                tensor.ClearField("data_location")
                tensor.raw_data = model.weights[tensor.name].tobytes()
        options = onnxgpu.SessionOptions()
        options.graph_optimization_level = onnxgpu.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._run = InferenceSession(model.proto.SerializeToString(), options, providers=[CPU]).run
        self._names = [value.name for value in segment.inputs]
        shapes = [(value.shape, value.dtype) for value in segment.outputs]
        known = all(shape is not None and all(isinstance(size, int) for size in shape) for shape, _ in shapes)
        self._specs = [Spec(shape, dtype) for shape, dtype in shapes] if known else None  # type: ignore[arg-type]

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        return self._specs

    def workspace(self, inputs: Sequence[Value]) -> int:
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        _Clock.served += 1
        results = self._run(None, dict(zip(self._names, inputs, strict=True)))
        if outputs is None:
            return results
        for output, result in zip(outputs, results, strict=True):
            output[...] = result
        return outputs


class _Narrow:
    """An engine for some shapes, and for some values of what lies on the host, alone."""

    def __init__(self, engine: Kernel, kind: Callable[[Sequence[Value]], object], inputs: Sequence[Value]) -> None:
        self._engine, self._kind, self._wanted = engine, kind, kind(inputs)
        self.outputs, self.workspace = engine.outputs, engine.workspace

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        assert self._kind(inputs) == self._wanted
        return self._engine.launch(inputs, outputs, workspace)


class _Changing:
    """Serves shapes, and values on the host, from a random time on."""

    is_complete = False

    def __init__(self, engine: Kernel, seed: int, on_host: frozenset[int]) -> None:
        self._engine, self._seed, self._on_host = engine, seed, on_host

    def _kind(self, inputs: Sequence[Value]) -> tuple[object, ...]:
        shapes = tuple(tuple(value.shape) for value in inputs)
        return shapes, tuple(value.tobytes() for index, value in enumerate(inputs) if index in self._on_host)

    @property
    def generation(self) -> int:
        return min(_Clock.now, LATEST)

    def builds(self) -> Sequence[EngineBuild]:
        return ()

    def serving(self, inputs: Sequence[Value]) -> Kernel | None:
        is_there = random.Random(f"{self._seed} {self._kind(inputs)}").randint(0, LATEST) <= min(_Clock.now, LATEST)
        return _Narrow(self._engine, self._kind, inputs) if is_there else None

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        raise AssertionError("there is always a stand-by")

    def workspace(self, inputs: Sequence[Value]) -> int:
        raise AssertionError("there is always a stand-by")

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        raise AssertionError("there is always a stand-by")


class _Late(SegmentProvider):
    option_types: ClassVar[Mapping[str, type]] = {"seed": int, "device_id": int}
    listed: ClassVar[bool] = False

    def supports(self, operation: Operation) -> Refusal | None:
        values = [value for value in (*operation.inputs, *operation.outputs) if value is not None]
        if any(isinstance(value, Subgraph) for value in operation.attributes.values()):
            return Refusal("control flow")
        if any(not value.is_tensor or value.dtype is None or value.dtype == np.dtype(object) for value in values):
            return Refusal("types")
        seed = int(self.options["seed"])
        return None if random.Random(f"{seed} {operation}").random() < 0.7 else Refusal("left to others")

    def claim_segment(self, segment: Segment) -> Claim | Exclusions | Refusal:
        on_host = frozenset(i for i, value in enumerate(segment.inputs) if value.dtype == np.int64)
        return SegmentClaim(partial(self._kernel, segment, on_host), host_inputs=on_host, stand_by=True)

    def _kernel(self, segment: Segment, on_host: frozenset[int]) -> Kernel:
        return _Changing(_Engine(segment), int(self.options["seed"]), on_host)


class LateOnHost(HostProvider, _Late):
    """On the host."""

    name: ClassVar[str] = "LateExecutionProvider"


class LateOnDevice(_Late, LoopbackProvider):
    """On the pretend device, with integers on the host."""

    name: ClassVar[str] = "LateDeviceExecutionProvider"
    option_types: ClassVar[Mapping[str, type]] = {**LoopbackProvider.option_types, **_Late.option_types}

    def _kernel(self, segment: Segment, on_host: frozenset[int]) -> Kernel:
        return _Changing(OpaqueKernel(_Engine(segment), on_host, frozenset()), int(self.options["seed"]), on_host)


@pytest.fixture(autouse=True, scope="module")
def registered() -> Any:
    classes: dict[str, type[_Late]] = {"late_on_host": LateOnHost, "late_on_device": LateOnDevice}
    for folder, provider in classes.items():
        discovery.register(folder, provider)
    yield
    for folder in classes:
        discovery.unregister(folder)


def made(model: onnx.ModelProto, seed: int, providers: Sequence[str], level: int) -> InferenceSession:
    options = onnxgpu.SessionOptions()
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    named = [(name, {"seed": seed}) if name.startswith("Late") else name for name in providers]
    return InferenceSession(model.SerializeToString(), options, providers=named)


CHOICES = ([LateOnHost.name, CPU], [LateOnHost.name, LOOPBACK, CPU], [LateOnDevice.name, LOOPBACK, CPU], [LateOnDevice.name, CPU])


def check(seed: int) -> None:
    graph = random_graph(seed)
    generator = np.random.default_rng(seed)
    feeds = [graph.feeds(generator, batch) for batch in BATCHES]
    names, expected = onnxruntime_outputs(graph, feeds)
    for providers in CHOICES:
        _Clock.now = 0
        session = made(graph.model, seed, providers, 99 if seed % 2 else 0)

        def run(wanted: Sequence[str] | None, given: Mapping[str, np.ndarray], session: InferenceSession = session) -> list[Any]:
            _Clock.now += 1
            return session.run(wanted, given)

        where = f"seed {seed}, {', '.join(providers)}"
        check_runs(run, feeds, expected, where)
        check_subset(run, feeds[0], names, expected[0], f"{where}, some outputs")
        _Clock.now = 0
        if seed % 5 == 0:
            check_threads(run, feeds, expected, f"{where}, four threads")


@pytest.mark.parametrize("seed", range(5000, 5030))
def test_a_random_graph(seed: int) -> None:
    check(seed)


def test_engines_served() -> None:
    assert _Clock.served > 0


@pytest.mark.slow
@pytest.mark.parametrize("start", range(6000, 6200, 50))
def test_many_random_graphs(start: int) -> None:
    for seed in range(start, start + 50):
        try:
            check(seed)
        except pytest.skip.Exception:
            continue
