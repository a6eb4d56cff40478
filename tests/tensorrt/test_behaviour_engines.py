"""The stand-in's engines give what the CPU gives: parsed, built, serialised, deserialised and run on the emulated device."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnxgpu.demo import FOLDER
from tests.emulated import PLAIN
from tests.tensorrt.engines import Profile, Run, Trt, expected, model_of

DIGITS = Profile({"images": ((1, 1, 8, 8), (4, 1, 8, 8), (64, 1, 8, 8))})


def digits() -> tuple[onnx.ModelProto, np.ndarray]:
    with np.load(FOLDER / "digits.npz") as data:
        images = data["images"][:7].astype(np.float32)[:, None]
    return onnx.load(FOLDER / "digits.onnx"), images


@pytest.mark.parametrize("lazy", [False, True])
def test_digits(trt: Trt, emulated: Any, lazy: bool) -> None:
    emulated.configure(replace(PLAIN, lazy=lazy))
    model, images = digits()
    engine = trt.engine(model, DIGITS)
    assert [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)] == ["images", "scores"]
    assert tuple(engine.get_tensor_shape("images")) == (-1, 1, 8, 8)
    (scores,) = Run(trt, engine, {"images": images}).results()
    np.testing.assert_allclose(scores, expected(model, {"images": images})[0], rtol=1e-4, atol=1e-4)


def test_nothing_is_computed_before_the_stream_comes_to_it(trt: Trt, emulated: Any) -> None:
    emulated.configure(replace(PLAIN, lazy=True))
    model = model_of("g (float[4] x) => (float[4] y) { y = Neg (x) }")
    run = Run(trt, trt.engine(model), {"x": np.arange(4, dtype=np.float32)})
    run.inputs["x"].fill(5)
    run.outputs["y"].fill(np.nan)
    run.cupy.cuda.Device().synchronize()
    other = run.cupy.cuda.Stream(non_blocking=True)
    assert run.launched()
    with other:
        early = run.outputs["y"].copy()
    other.synchronize()
    run.stream.synchronize()
    assert np.isnan(early.get()).all()
    assert (run.outputs["y"].get() == -5).all()


RESHAPE = "g (float[n,6] x, int64[2] s) => (float[a,b] y, float[n,6] z) { t = Neg (x)\n y = Reshape (t, s)\n z = Abs (x) }"


def test_two_profiles(trt: Trt) -> None:
    model = model_of("g (float[n,3] x) => (float[n,3] y, int64[2] s) { y = Exp (x)\n s = Shape (y) }")
    small, large = (Profile({"x": ((least, 3), (most, 3), (most, 3))}) for least, most in ((1, 4), (5, 9)))
    engine = trt.engine(model, small, large)
    assert engine.num_optimization_profiles == 2
    assert [tuple(shape) for shape in engine.get_tensor_profile_shape("x", 1)] == [(5, 3), (9, 3), (9, 3)]
    assert engine.get_device_memory_size_for_profile_v2(1) >= engine.get_device_memory_size_for_profile_v2(0)
    feeds = {"x": np.linspace(0, 1, 18, dtype=np.float32).reshape(6, 3)}
    context = engine.create_execution_context()
    assert context.set_optimization_profile_async(1, Run(trt, engine, {"x": feeds["x"][:2]}, context).stream.ptr)
    assert context.active_optimization_profile == 1
    y, s = Run(trt, engine, feeds, context).results()
    np.testing.assert_allclose(y, np.exp(feeds["x"]), rtol=1e-5)
    assert s.tolist() == [6, 3]


def test_shapes_by_values(trt: Trt) -> None:
    model = model_of(RESHAPE)
    profile = Profile({"x": ((1, 6), (2, 6), (4, 6))}, {"s": ((1, 1), (3, 4), (24, 24))})
    engine = trt.engine(model, profile)
    assert engine.get_tensor_location("s") == trt.TensorLocation.HOST and engine.is_shape_inference_io("s")
    assert engine.get_tensor_profile_values(0, "s") == [[1, 1], [3, 4], [24, 24]]
    feeds = {"x": np.arange(12, dtype=np.float32).reshape(2, 6), "s": np.array([3, 4])}
    run = Run(trt, engine, feeds)
    assert tuple(run.context.get_tensor_shape("y")) == (3, 4) and tuple(run.context.get_tensor_strides("y")) == (4, 1)
    for got, want in zip(run.results(), expected(model, feeds), strict=True):
        np.testing.assert_array_equal(got, want)
    run.inputs["s"][:] = 6, 2
    assert tuple(run.context.get_tensor_shape("y")) == (6, 2)


def test_shapes_that_do_not_go_together(trt: Trt) -> None:
    model = model_of("g (float[n] x, float[m] y) => (float[k] z) { z = Add (x, y) }")
    profile = Profile(dict.fromkeys("xy", ((1,), (4,), (8,))))
    context = trt.engine(model, profile).create_execution_context()
    assert context.infer_shapes() == ["x", "y"]
    assert context.set_input_shape("x", (2,)) and context.set_input_shape("y", (3,))
    with pytest.raises(RuntimeError, match="infer_shapes error code: -1"):
        context.infer_shapes()
    assert "Incompatible dimensions" in trt.errors()[0]


def allocator_of(trt: Trt, cupy: Any, *, with_stream: bool = True, gives: bool = True) -> Any:
    module: Any = trt.module

    class Allocator(module.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.memory: dict[str, Any] = {}
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.asked: list[tuple[Any, ...]] = []

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shapes[tensor_name] = tuple(shape)

    def give(self: Any, name: str, memory: int, size: int, alignment: int, *stream: int) -> int:
        self.asked.append((name, memory, size, alignment, *stream))
        self.memory[name] = cupy.empty(size, np.uint8)
        return int(self.memory[name].data.ptr) if gives else 0

    setattr(Allocator, "reallocate_output_async" if with_stream else "reallocate_output", give)
    return Allocator()


@pytest.mark.parametrize("with_stream", [True, False])
def test_outputs_of_unknown_shape(trt: Trt, with_stream: bool) -> None:
    model = model_of("g (float[2,3] x) => (int64[2,n] i, float[2,3] y) { i = NonZero (x)\n y = Neg (x) }")
    engine = trt.engine(model)
    x = np.array([[0, 1, 0], [2, 0, 3]], np.float32)
    run = Run(trt, engine, {"x": x})
    assert tuple(run.context.get_tensor_shape("i")) == (2, -1)
    assert run.context.get_max_output_size("i") >= 2 * 6 * 8
    allocator = allocator_of(trt, run.cupy, with_stream=with_stream)
    assert run.context.set_output_allocator("i", allocator)
    (y,) = run.results()
    assert (y == -x).all() and allocator.shapes == {"i": (2, 3)}
    assert allocator.memory["i"].get().view(np.int64).reshape(2, 3).tolist() == [[0, 1, 1], [1, 0, 2]]
    assert allocator.asked == [("i", 0, 48, 256, *([run.stream.ptr] if with_stream else []))]


def test_no_elements_at_all(trt: Trt) -> None:
    model = model_of("g (float[n,3] x) => (int64[2,k] i) { i = NonZero (x) }")
    run = Run(trt, trt.engine(model, Profile({"x": ((0, 3), (1, 3), (2, 3))})), {"x": np.zeros((2, 3), np.float32)})
    allocator = allocator_of(trt, run.cupy)
    run.context.set_output_allocator("i", allocator)
    run.results()
    assert allocator.shapes == {"i": (2, 0)} and allocator.asked[0][2] == 1  # always positive, even for an empty tensor


def test_an_allocator_that_gives_nothing(trt: Trt) -> None:
    run = Run(trt, trt.engine(model_of("g (float[3] x) => (int64[1,k] i) { i = NonZero (x) }")), {"x": np.ones(3, np.float32)})
    run.context.set_output_allocator("i", allocator_of(trt, run.cupy, gives=False))
    assert not run.launched()
    assert "gave no memory for i" in trt.errors()[0]


def test_a_graph_is_captured_and_launched_again(trt: Trt) -> None:
    model = model_of("g (float[4] x) => (float[4] y) { t = Exp (x)\n y = Neg (t) }")
    run = Run(trt, trt.engine(model), {"x": np.zeros(4, np.float32)})
    run.results()
    with run.stream:
        run.stream.begin_capture()
        assert run.launched()
        graph = run.stream.end_capture()
        for value in (1.0, 2.0):
            run.inputs["x"].fill(value)
            graph.launch(run.stream)
            run.stream.synchronize()
            np.testing.assert_allclose(run.outputs["y"].get(), np.full(4, -np.exp(value)), rtol=1e-5)


def test_memory_of_the_user_is_written_over(trt: Trt) -> None:
    model = model_of("g (float[64] x) => (float[64] y) { t = Exp (x)\n y = Neg (t) }")
    engine = trt.engine(model)
    context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    run = Run(trt, engine, {"x": np.zeros(64, np.float32)}, context)
    memory = run.cupy.zeros(engine.device_memory_size_v2, np.uint8)
    run.cupy.cuda.Device().synchronize()
    assert memory.size == 256
    context.set_device_memory(memory.data.ptr, memory.size)
    (y,) = run.results()
    assert (y == -1).all() and (memory.get() == 0xAB).all()


def test_memory_of_an_allocator(trt: Trt) -> None:
    import cupy

    module: Any = trt.module

    class Allocator(module.IGpuAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IGpuAllocator.__init__(self)
            self.held: dict[int, Any] = {}

        def allocate(self, size: int, alignment: int, flags: int) -> int:
            memory = cupy.cuda.alloc(size)
            self.held[memory.ptr] = memory
            return int(memory.ptr)

        def deallocate(self, memory: int) -> bool:
            del self.held[memory]
            return True

    allocator = trt.runtime.gpu_allocator = Allocator()
    engine = trt.engine(model_of("g (float[64] x) => (float[64] y) { t = Exp (x)\n y = Neg (t) }"))
    run = Run(trt, engine, {"x": np.zeros(64, np.float32)})
    run.results()
    assert len(allocator.held) == 1
    del run
    assert not allocator.held


def test_auxiliary_streams_are_joined(trt: Trt, emulated: Any) -> None:
    emulated.configure(replace(PLAIN, lazy=True))

    def configure(config: Any) -> None:
        config.max_aux_streams = 2

    engine = trt.engine(model_of("g (float[4] x) => (float[4] y) { y = Neg (x) }"), configure=configure)
    assert engine.num_aux_streams == 2
    run = Run(trt, engine, {"x": np.ones(4, np.float32)})
    streams = [run.cupy.cuda.Stream(non_blocking=True) for _ in range(3)]
    run.context.set_aux_streams([stream.ptr for stream in streams])
    run.results()
    run.outputs["y"].fill(0)
    run.cupy.cuda.Device().synchronize()
    with run.stream:
        run.stream.begin_capture()
        assert run.launched()
        graph = run.stream.end_capture()
    graph.launch(run.stream)
    run.stream.synchronize()
    assert (run.outputs["y"].get() == -1).all()


def test_the_event_after_the_inputs(trt: Trt, emulated: Any) -> None:
    emulated.configure(replace(PLAIN, lazy=True))
    run = Run(trt, trt.engine(model_of("g (float[4] x) => (float[4] y) { y = Neg (x) }")), {"x": np.ones(4, np.float32)})
    event = run.cupy.cuda.Event(disable_timing=True)
    assert run.context.set_input_consumed_event(event.ptr) and run.context.get_input_consumed_event() == event.ptr
    assert run.launched() and not event.done
    event.synchronize()
    run.inputs["x"].fill(7)
    run.stream.synchronize()
    assert (run.outputs["y"].get() == -1).all()


def test_threads_with_contexts_of_their_own(trt: Trt, emulated: Any) -> None:
    emulated.configure(replace(PLAIN, lazy=True))
    engine = trt.engine(model_of("g (float[4] x) => (float[4] y) { t = Exp (x)\n y = Neg (t) }"))
    wrong: list[Any] = []

    def work(value: float) -> None:
        run = Run(trt, engine, {"x": np.full(4, value, np.float32)})
        for _ in range(20):
            (y,) = run.results()
            if not np.allclose(y, -np.exp(value), rtol=1e-5):
                wrong.append(y)

    threads = [Thread(target=work, args=(value,)) for value in (0.5, 1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads) and not wrong


def test_bindings_in_order(trt: Trt) -> None:
    engine = trt.engine(model_of("g (float[4] x) => (float[4] y) { y = Neg (x) }"))
    run = Run(trt, engine, {"x": np.ones(4, np.float32)})
    context = engine.create_execution_context()
    assert context.execute_v2([run.inputs["x"].data.ptr, run.outputs["y"].data.ptr])
    assert (run.outputs["y"].get() == -1).all()


def test_times_of_layers(trt: Trt) -> None:
    module: Any = trt.module

    class Profiler(module.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.layers: list[str] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.layers.append(layer_name)

    run = Run(trt, trt.engine(model_of("g (float[4] x) => (float[4] y) { t = Exp (x)\n y = Neg (t) }")), {"x": np.ones(4, np.float32)})
    profiler = run.context.profiler = Profiler()
    run.results()
    assert len(profiler.layers) == run.engine.num_layers == 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_shapes_are_taken_exactly_within_the_profile(trt: Trt, data: st.DataObject) -> None:
    engine = _shaped(trt)
    context = engine.create_execution_context()
    sizes = data.draw(st.lists(st.integers(-1, 7), min_size=1, max_size=4))
    fits = len(sizes) == 3 and sizes[1] == 2 and 1 <= sizes[0] <= 5 and 0 <= sizes[2] <= 4
    assert context.set_input_shape("x", sizes) == fits
    assert bool(trt.violations()) == (not fits)
    if fits:
        a, _, c = sizes
        assert [tuple(context.get_tensor_shape(name)) for name in trt.names(engine, "OUTPUT")] == [(c, 2, 2 * a), (a, 2 * c), (3,)]


_engines: dict[str, Any] = {}


def _shaped(trt: Trt) -> Any:
    """One engine for all examples of a version."""
    if trt.version not in _engines:
        model = model_of(
            """g (float[a,2,c] x) => (float[p,q,r] y, float[s,t] z, int64[3] w) <int64[2] flat = {0, -1}> {
                both = Concat <axis = 0> (x, x)
                y = Transpose <perm = [2, 1, 0]> (both)
                z = Reshape (x, flat)
                w = Shape (x)
            }"""
        )
        _engines[trt.version] = trt.serialized(model, Profile({"x": ((1, 2, 0), (2, 2, 2), (5, 2, 4))}))
    return trt.runtime.deserialize_cuda_engine(_engines[trt.version])
