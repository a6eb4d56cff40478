"""Every rule on the order of calls is broken once: the answer is TensorRT's, a line is logged, and the violation is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import onnx
import pytest

from onnxgpu.providers.tensorrt.stand_in.order import RULES
from tests.emulated import PLAIN
from tests.tensorrt.engines import TWICE, Profile, Run, Trt, model_of, twice
from tests.tensorrt.test_behaviour_engines import RESHAPE, allocator_of

NEG = "g (float[4] x) => (float[4] y) { y = Neg (x) }"
DYNAMIC = "g (float[n,3] x) => (float[n,3] y) { t = Exp (x)\n y = Neg (t) }"
ROWS = Profile({"x": ((1, 3), (2, 3), (4, 3))})
MORE_ROWS = Profile({"x": ((5, 3), (8, 3), (9, 3))})
RESHAPED = Profile({"x": ((1, 6), (2, 6), (4, 6))}, {"s": ((1, 1), (3, 4), (24, 24))})
ONES = {"x": np.ones((2, 3), np.float32)}

Breaking = Callable[[Trt, Any], None]
_breaking: list[tuple[str, Breaking]] = []


def breaks(rule: str) -> Callable[[Breaking], Breaking]:
    """Register what breaks a rule, and nothing but it."""

    def register(function: Breaking) -> Breaking:
        _breaking.append((rule, function))
        return function

    return register


@contextmanager
def configured(device: Any, **settings: Any) -> Iterator[None]:
    device.configure(replace(PLAIN, **settings))
    yield
    device.configure(PLAIN)


def parser_of(trt: Trt) -> Any:
    network = trt.Builder(trt.logger).create_network()
    return trt.OnnxParser(network, trt.logger)


def neg(trt: Trt) -> Run:
    return Run(trt, trt.engine(model_of(NEG)), {"x": np.ones(4, np.float32)})


def rows(trt: Trt, *profiles: Profile) -> Run:
    return Run(trt, trt.engine(model_of(DYNAMIC), *(profiles or (ROWS,))), ONES)


# ---- parser


@breaks("one model a parser")
def parse_twice(trt: Trt, device: Any) -> None:
    parser = parser_of(trt)
    assert parser.parse(model_of(NEG).SerializeToString())
    assert not parser.parse(model_of(NEG).SerializeToString())


@breaks("one model a parser")
def parse_the_loaded_model_twice(trt: Trt, device: Any) -> None:
    parser = parser_of(trt)
    assert parser.load_model_proto(model_of(NEG).SerializeToString()) and parser.parse_model_proto()
    assert not parser.parse_model_proto()


@breaks("one loaded model")
def load_twice(trt: Trt, device: Any) -> None:
    parser = parser_of(trt)
    assert parser.load_model_proto(model_of(NEG).SerializeToString())
    assert not parser.load_model_proto(model_of(NEG).SerializeToString())


@breaks("model before initializers")
def initializers_of_no_model(trt: Trt, device: Any) -> None:
    assert not parser_of(trt).load_initializer("w", 1, 4)


@breaks("model before parsing")
def parse_no_model(trt: Trt, device: Any) -> None:
    assert not parser_of(trt).parse_model_proto()


@breaks("initializers before parsing")
def initializers_too_late(trt: Trt, device: Any) -> None:
    weights, parser = np.zeros(4, np.float32), parser_of(trt)
    model = model_of("g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }")
    assert parser.load_model_proto(model.SerializeToString()) and parser.parse_model_proto()
    assert not parser.load_initializer("w", weights.ctypes.data, weights.nbytes)


@breaks("weights outlive the build")
def weights_that_change(trt: Trt, device: Any) -> None:
    weights = np.zeros(4, np.float32)
    model = model_of("g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }")
    builder = trt.Builder(trt.logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, trt.logger)
    assert parser.load_model_proto(model.SerializeToString()) and parser.load_initializer("w", weights.ctypes.data, weights.nbytes)
    assert parser.parse_model_proto()
    weights += 1
    assert builder.build_serialized_network(network, builder.create_builder_config()) is None


@breaks("subgraphs after supports_model_v2")
def subgraphs_of_no_model(trt: Trt, device: Any) -> None:
    assert parser_of(trt).num_subgraphs == 0


# ---- builder


@breaks("profile before building")
def no_profile(trt: Trt, device: Any) -> None:
    assert trt.serialized(model_of(DYNAMIC)) is None


@breaks("profile names every dynamic input")
def half_a_profile(trt: Trt, device: Any) -> None:
    model = model_of("g (float[n] x, float[n] z) => (float[n] y) { y = Add (x, z) }")
    assert trt.serialized(model, Profile({"x": ((1,), (2,), (4,))})) is None


@breaks("profile gives every shape value")
def no_values(trt: Trt, device: Any) -> None:
    assert trt.serialized(model_of(RESHAPE), Profile(RESHAPED.shapes)) is None


@breaks("shape values for shape tensors alone")
def values_of_data(trt: Trt, device: Any) -> None:
    assert trt.serialized(model_of(DYNAMIC), Profile(ROWS.shapes, {"x": ((1,), (2,), (3,))})) is None


@breaks("profile is valid")
def an_invalid_profile(trt: Trt, device: Any) -> None:
    builder = trt.Builder(trt.logger)
    profile = builder.create_optimization_profile()
    with pytest.raises(RuntimeError):
        profile.set_shape("x", (3,), (2,), (1,))
    assert builder.create_builder_config().add_optimization_profile(profile) == -1


# ---- runtime and engine


@breaks("plugins before deserialisation")
def no_plugins(trt: Trt, device: Any) -> None:
    registry = trt.get_plugin_registry()
    with NamedTemporaryFile("w") as library:
        library.write(TWICE)
        library.flush()
        handle = registry.load_library(library.name)
    serialized = trt.serialized(twice())
    assert serialized is not None and trt.runtime.deserialize_cuda_engine(serialized) is not None
    registry.deregister_library(handle)
    assert trt.runtime.deserialize_cuda_engine(serialized) is None


@breaks("streaming asked of the builder")
def no_streaming(trt: Trt, device: Any) -> None:
    trt.engine(model_of(NEG)).weight_streaming_budget_v2 = 0


def streaming(trt: Trt) -> Any:
    weights = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    model = model_of("g (float[4] x) => (float[4] y) { y = Add (x, w) }")
    model.graph.initializer.append(weights)
    return trt.engine(model, configure=lambda config: config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING))


@breaks("budget before contexts")
def budget_too_late(trt: Trt, device: Any) -> None:
    engine = streaming(trt)
    context = engine.create_execution_context()
    engine.weight_streaming_budget_v2 = 4
    assert context is not None and engine.weight_streaming_budget_v2 == 16


# ---- context: profile and shapes


@breaks("profile exists")
def no_such_profile(trt: Trt, device: Any) -> None:
    run = rows(trt)
    with pytest.raises(RuntimeError, match="Error in set optimization profile async"):
        run.context.set_optimization_profile_async(1, run.stream.ptr)


@breaks("profile before shapes")
def profile_after_shapes(trt: Trt, device: Any) -> None:
    run = rows(trt, ROWS, MORE_ROWS)
    assert run.context.set_optimization_profile_async(1, run.stream.ptr)
    assert not run.launched()


@breaks("profile is there when the work begins")
def profile_on_another_stream(trt: Trt, device: Any) -> None:
    with configured(device, lazy=True):
        run = rows(trt, ROWS, MORE_ROWS)
        other = run.cupy.cuda.Stream(non_blocking=True)
        assert run.context.set_optimization_profile_async(1, other.ptr)
        many = Run(trt, run.engine, {"x": np.ones((6, 3), np.float32)}, run.context)
        assert many.launched()
        many.stream.synchronize()
        other.synchronize()


@breaks("a run before a capture")
def a_graph_of_the_first_run(trt: Trt, device: Any) -> None:
    run = rows(trt)
    run.results()
    assert run.context.set_input_shape("x", (1, 3))
    with run.stream:
        run.stream.begin_capture()
        assert not run.launched()
        with pytest.raises(run.cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            run.stream.end_capture()


@breaks("shape fits the network")
def another_shape(trt: Trt, device: Any) -> None:
    assert not rows(trt).context.set_input_shape("x", (2, 4))


@breaks("shape fits the network")
def another_rank(trt: Trt, device: Any) -> None:
    assert not rows(trt).context.set_input_shape("x", (2,))


@breaks("shape within the profile")
def too_many_rows(trt: Trt, device: Any) -> None:
    assert not rows(trt).context.set_input_shape("x", (5, 3))


@breaks("values within the profile")
def too_large_values(trt: Trt, device: Any) -> None:
    feeds = {"x": np.ones((2, 6), np.float32), "s": np.array([3, 4])}
    run = Run(trt, trt.engine(model_of(RESHAPE), RESHAPED), feeds)
    run.inputs["s"][:] = 0, 25
    assert not run.launched()


@breaks("shapes before execution")
def no_shapes(trt: Trt, device: Any) -> None:
    run = rows(trt)
    fresh = run.engine.create_execution_context()
    assert not fresh.execute_async_v3(run.stream.ptr)


# ---- context: addresses


@breaks("addresses before execution")
def no_input(trt: Trt, device: Any) -> None:
    run = neg(trt)
    run.context.set_tensor_address("x", 0)
    assert not run.launched()


@breaks("addresses before execution")
def no_output(trt: Trt, device: Any) -> None:
    run = neg(trt)
    run.context.set_tensor_address("y", 0)
    assert not run.launched()


@breaks("addresses are aligned")
def an_odd_address(trt: Trt, device: Any) -> None:
    run = neg(trt)
    assert not run.context.set_tensor_address("x", run.inputs["x"].data.ptr + 4)


@breaks("buffers are large enough")
def a_small_output(trt: Trt, device: Any) -> None:
    run = rows(trt)
    run.cupy.cuda.set_allocator(None)
    small = run.cupy.empty(1, np.float32)
    run.cupy.cuda.set_allocator(run.cupy.get_default_memory_pool().malloc)
    assert run.context.set_tensor_address("y", small.data.ptr)
    assert not run.launched()


@breaks("shape tensors on the host")
def shapes_on_the_device(trt: Trt, device: Any) -> None:
    import cupy

    context = trt.engine(model_of(RESHAPE), RESHAPED).create_execution_context()
    shape = cupy.zeros(2, np.int64)
    assert not context.set_tensor_address("s", shape.data.ptr)


@breaks("tensors on the device")
def data_on_the_host(trt: Trt, device: Any) -> None:
    room = np.zeros(1000, np.float32)
    assert not neg(trt).context.set_tensor_address("x", -(-room.ctypes.data // 256) * 256)


@breaks("allocator for unknown shapes")
def no_allocator(trt: Trt, device: Any) -> None:
    run = Run(trt, trt.engine(model_of("g (float[4] x) => (int64[1,n] y) { y = NonZero (x) }")), {"x": np.ones(4, np.float32)})
    room = run.cupy.empty(64, np.int64)
    run.context.set_tensor_address("y", room.data.ptr)
    assert not run.launched()


@breaks("outputs have memory of their own")
def in_place(trt: Trt, device: Any) -> None:
    run = neg(trt)
    run.context.set_tensor_address("y", run.inputs["x"].data.ptr)
    assert not run.launched()


# ---- context: memory and streams


def unmanaged(trt: Trt) -> Run:
    engine = trt.engine(model_of(DYNAMIC), ROWS)
    return Run(trt, engine, ONES, engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED))


@breaks("device memory before execution")
def no_memory(trt: Trt, device: Any) -> None:
    assert not unmanaged(trt).launched()


@breaks("device memory before execution")
def not_enough_memory(trt: Trt, device: Any) -> None:
    run = unmanaged(trt)
    memory = run.cupy.empty(512, np.uint8)
    run.context.set_device_memory(memory.data.ptr, run.engine.device_memory_size_v2 - 1)
    assert not run.launched()


@breaks("device memory is aligned")
def odd_memory(trt: Trt, device: Any) -> None:
    run = unmanaged(trt)
    memory = run.cupy.empty(512, np.uint8)
    run.context.set_device_memory(memory.data.ptr + 8, 256)


@breaks("device memory is the user's")
def memory_that_nobody_asked_for(trt: Trt, device: Any) -> None:
    run = rows(trt)
    memory = run.cupy.empty(512, np.uint8)
    run.context.set_device_memory(memory.data.ptr, 512)


@breaks("one stream at a time")
def two_streams(trt: Trt, device: Any) -> None:
    with configured(device, lazy=True):
        run = neg(trt)
        other = run.cupy.cuda.Stream(non_blocking=True)
        assert run.launched() and run.context.execute_async_v3(other.ptr)
        other.synchronize()
        run.stream.synchronize()


@breaks("auxiliary streams differ")
def the_same_stream_twice(trt: Trt, device: Any) -> None:
    def configure(config: Any) -> None:
        config.max_aux_streams = 2

    context = trt.engine(model_of(NEG), configure=configure).create_execution_context()
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    context.set_aux_streams([stream.ptr, stream.ptr])


@breaks("context outlives its work")
def a_context_that_is_gone(trt: Trt, device: Any) -> None:
    with configured(device, lazy=True):
        run = neg(trt)
        assert run.launched()
        del run.context
        with pytest.raises(Exception, match="the context was destroyed before the stream came to its work"):
            run.stream.synchronize()
        device.forget_error()


@breaks("streamed weights are not captured")
def a_graph_of_streamed_weights(trt: Trt, device: Any) -> None:
    engine = streaming(trt)
    engine.weight_streaming_budget_v2 = 0
    run = Run(trt, engine, {"x": np.ones(4, np.float32)})
    with run.stream:
        run.stream.begin_capture()
        assert not run.launched()
        run.stream.end_capture()


@breaks("capture has known shapes")
def a_graph_of_unknown_shapes(trt: Trt, device: Any) -> None:
    run = Run(trt, trt.engine(model_of("g (float[4] x) => (int64[1,n] y) { y = NonZero (x) }")), {"x": np.ones(4, np.float32)})
    run.context.set_output_allocator("y", allocator_of(trt, run.cupy))
    with run.stream:
        run.stream.begin_capture()
        assert not run.launched()
        with pytest.raises(run.cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            run.stream.end_capture()


# ---- refitting


WEIGHTED = model_of("g (float[2] x) => (float[2] y) { y = Add (x, w) }")
WEIGHTED.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "w"))


def flagged(trt: Trt, flag: str) -> Any:
    return trt.engine(WEIGHTED, configure=lambda config: config.set_flag(getattr(trt.BuilderFlag, flag)))


@breaks("refittable asked of the builder")
def not_refittable(trt: Trt, device: Any) -> None:
    assert trt.Refitter(trt.engine(WEIGHTED), trt.logger).get_all_weights() == []


@breaks("refittable asked of the builder")
def without_weights_that_stay(trt: Trt, device: Any) -> None:
    engine = trt.engine(WEIGHTED)
    config = engine.create_serialization_config()
    config.set_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    assert engine.serialize_with_config(config) is None


@breaks("weights before refitting")
def refit_without_weights(trt: Trt, device: Any) -> None:
    assert not trt.Refitter(flagged(trt, "STRIP_PLAN"), trt.logger).refit_cuda_engine()


@breaks("weights before execution")
def run_without_weights(trt: Trt, device: Any) -> None:
    assert not Run(trt, flagged(trt, "STRIP_PLAN"), {"x": np.ones(2, np.float32)}).launched()


@breaks("engine idle while refitted")
def refit_while_it_runs(trt: Trt, device: Any) -> None:
    with configured(device, lazy=True):
        run = Run(trt, flagged(trt, "REFIT"), {"x": np.ones(2, np.float32)})
        refitter = trt.Refitter(run.engine, trt.logger)
        assert refitter.set_named_weights("w", np.zeros(2, np.float32)) and run.launched()
        assert not refitter.refit_cuda_engine()
        run.stream.synchronize()


@pytest.mark.parametrize(("rule", "breaking"), _breaking, ids=[function.__name__ for _, function in _breaking])
def test_a_rule_is_broken(trt: Trt, emulated: Any, rule: str, breaking: Breaking) -> None:
    breaking(trt, emulated)
    assert trt.violations() == [rule]
    assert trt.errors()


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, _ in _breaking} == set(RULES)
    assert all(rule.source and rule.sentence for rule in RULES.values())
