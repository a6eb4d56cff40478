"""Streams, memory and graphs of the CUDA provider: what a run waits for, what it allocates, what it replays."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu as ort
from onnxgpu.errors import InvalidArgument, OutOfMemory
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda import device as cuda_device
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.values import Value, array_from_cuda_interface
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, DIGITS, images, model
from tests.threads import in_threads

DEEP = """g (float[n,40] x) => (float[n,40] y, float[n,40] z, int64[1] s) {
    a = Softmax (x) b = Softmax <axis = 0> (a) c = LpNormalization (b) y = Softmax (c) d = Neg (y) z = Softmax (d)
    e = Shape <end = 1> (z) s = Identity (e) }"""
GRAPHS = {"enable_cuda_graph": 1}
LOOP = """g (int64 n, bool go, float[4,8] x, float[4,8] step) => (float[4,8] y) {
    y = Loop (n, go, x) <body = b (int64 i, bool c, float[4,8] v) => (bool c2, float[4,8] v2) {
        c2 = Identity (c) h = Softmax (v) h2 = Softmax (h) h3 = Softmax (h2) h4 = Add (h3, step) v2 = Softmax (h4) }> }"""


def session(text: str, options: dict[str, Any] | None = None, placement: str = "") -> ort.InferenceSession:
    made = ort.SessionOptions()
    made.add_session_config_entry("onnxgpu.placement", placement)
    return ort.InferenceSession(model(text), made, providers=[(CUDA, options or {}), CPU])


def provider_of(made: ort.InferenceSession) -> CUDAProvider:
    found = next(step.provider for step in made.plan.steps if isinstance(step.provider, CUDAProvider))
    assert isinstance(found, CUDAProvider)
    return found


def deep(seed: int, rows: int = 5) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).standard_normal((rows, 40)).astype(np.float32)}


@pytest.fixture
def lazy(device: Any) -> Any:
    """Nothing runs before something waits for it."""
    device.configure(replace(PLAIN, lazy=True))
    return device


class TestStreams:
    @pytest.mark.parametrize("options", [{}, {"do_copy_in_default_stream": 1}], ids=["apart", "one stream"])
    def test_runs_are_right_when_streams_are_as_late_as_they_may_be(self, lazy: Any, options: dict[str, Any]) -> None:
        ours, reference = session(DEEP, options), ort.InferenceSession(model(DEEP), providers=[CPU])
        for seed in range(6):
            for found, expected in zip(ours.run(None, deep(seed)), reference.run(None, deep(seed)), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_outputs_are_waited_for_once(self, device: Any) -> None:
        ours = session(DEEP)
        for seed in range(4):
            ours.run(None, deep(seed))
        device.counters(clear=True)
        ours.run(None, deep(9))
        counted = device.counters()
        assert (counted["copies_to_host"], counted["synchronizations"], counted["allocations"]) == (2, 1, 0)

    def test_work_goes_to_a_stream_of_the_users(self, cp: Any, lazy: Any) -> None:
        """What the user launches on the stream before and after is in order with the run, without a wait on the host."""
        gc.collect()  # sessions of other tests wait for the device when they go
        stream = cp.cuda.Stream(non_blocking=True)
        ours = session("g (float[2,40] x) => (float[2,40] y) { y = Softmax (x) }", {"user_compute_stream": stream})
        assert ours.get_provider_options()[CUDA]["user_compute_stream"] == str(stream.ptr)
        with stream:
            x, y = cp.zeros((2, 40), np.float32), cp.zeros((2, 40), np.float32)
        binding = ours.io_binding()
        binding.bind_input("x", "cuda", 0, np.float32, (2, 40), x.data.ptr)
        binding.bind_output("y", "cuda", 0, np.float32, (2, 40), y.data.ptr)
        for shift in range(4):
            lazy.counters(clear=True)
            with stream:
                x += cp.arange(40, dtype=np.float32) * shift
            ours.run_with_iobinding(binding)
            with stream:
                doubled = y * 2
            assert lazy.counters()["synchronizations"] == 0
            powers = np.exp(np.arange(40) * sum(range(shift + 1)) - 39.0 * sum(range(shift + 1)))
            np.testing.assert_allclose(doubled.get(stream=stream)[1], 2 * powers / powers.sum(), rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("graphs", [None, 0, 1])
    def test_threads_share_a_session(self, lazy: Any, graphs: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
        """Graphs are captured beside the other threads' runs."""
        monkeypatch.setattr(cuda_device, "has_other_users", lambda: False)  # other tests import CuPy
        ours = session(DEEP, {} if graphs is None else {"enable_cuda_graph": graphs})
        lazy.counters(clear=True)
        expected = {seed: ort.InferenceSession(model(DEEP), providers=[CPU]).run(None, deep(seed)) for seed in range(4)}
        wrong: list[Any] = []

        def work(seed: int) -> None:
            for _ in range(6):
                found = ours.run(None, deep(seed))
                if not all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(found, expected[seed], strict=True)):
                    wrong.append(seed)

        in_threads(work, expected)
        assert not wrong
        assert (lazy.counters()["graph_launches"] > 0) == (graphs != 0)

    def test_temporary_memory_and_copies_are_part_of_a_graph(self, device: Any) -> None:
        """`And` has its result from CuPy; a product, a normalisation and a new shape want the transposed array dense."""
        text = """g (float[2,6,8] x, bool[2,6,8] c) => (float[2,48] y, float[2,8,6] z) {
            a = Abs (x) t = Transpose <perm = [0, 2, 1]> (a) f = Flatten (t) n = Not (c) b = And (n, c) o = Or (b, c)
            w = Where (o, a, x) u = Transpose <perm = [0, 2, 1]> (w) s = Softmax (u) e = Flatten (u) y = Add (f, e) z = Mul (s, t) }"""
        ours, reference = session(text, GRAPHS), ort.InferenceSession(model(text), providers=[CPU])
        for seed in range(6):
            rng = np.random.default_rng(seed)
            feeds = {"x": rng.standard_normal((2, 6, 8)).astype(np.float32), "c": rng.random((2, 6, 8)) < 0.5}
            device.counters(clear=True)
            for found, expected in zip(ours.run(None, feeds), reference.run(None, feeds), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        counted = device.counters()
        assert (counted["graph_launches"], counted["launches"], counted["allocations"]) == (1, 0, 0)

    def test_graphs_with_run_options_and_given_outputs(self, device: Any) -> None:
        text = "g (float[n,40] x) => (float[n,40] y) { a = Softmax (x) b = Softmax <axis = 0> (a) c = Neg (b) y = Exp (c) }"
        ours, reference = session(text, GRAPHS), ort.InferenceSession(model(text), providers=[CPU])
        y = np.empty((5, 40), np.float32)
        binding = ours.io_binding()
        binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
        for seed in range(5):
            expected = reference.run(None, deep(seed))[0]
            device.counters(clear=True)
            np.testing.assert_allclose(ours.run(None, deep(seed), ort.RunOptions())[0], expected, rtol=1e-5, atol=1e-6)
            binding.bind_cpu_input("x", deep(seed)["x"])
            ours.run_with_iobinding(binding)
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        assert device.counters()["graph_launches"] == 2

    @pytest.mark.parametrize("graphs", [0, 1])
    def test_inputs_that_stay_bound_are_counted_on(self, device: Any, cp: Any, graphs: int) -> None:
        """Their elements may change, and what is bound in their place counts from its next run on."""
        text = "g (float[5,40] x) => (float[5,40] y) { a = Softmax (x) b = Exp (a) c = Softmax (b) y = Neg (c) }"
        ours, reference = session(text, {"enable_cuda_graph": graphs}), ort.InferenceSession(model(text), providers=[CPU])
        binding = ours.io_binding()
        binding.bind_output("y", "cuda")
        for bound in range(3):
            x = cp.empty((5, 40), np.float32)
            binding.bind_input("x", "cuda", 0, np.float32, x.shape, x.data.ptr)
            for run in range(7):
                x.set(deep(10 * bound + run)["x"])
                device.counters(clear=True)
                ours.run_with_iobinding(binding)
                counted = device.counters()
                for found, expected in zip(binding.get_outputs(), reference.run(None, {"x": x.get()}), strict=True):
                    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
            assert (counted["graph_launches"], counted["launches"]) == ((1, 1) if graphs else (0, 4))

    @pytest.mark.parametrize("graphs", [0, 1])
    @pytest.mark.parametrize("fed", ["on the device", "from the host"])
    def test_outputs_that_stay_bound_are_counted_on(self, device: Any, cp: Any, fed: str, graphs: int) -> None:
        """The step that writes them is repeated too; an output on the host, and one in new memory, are as in every run."""
        text = "g (float[5,40] x) => (float[5,40] y, float[5,40] z, float[5,40] h) { a = Softmax (x) y = Exp (a) z = Neg (y) h = Abs (z) }"
        ours, reference = session(text, {"enable_cuda_graph": graphs}), ort.InferenceSession(model(text), providers=[CPU])
        binding, x, home = ours.io_binding(), cp.empty((5, 40), np.float32), np.empty((5, 40), np.float32)
        binding.bind_output("h", "cpu", 0, np.float32, home.shape, home.ctypes.data)
        host = np.empty((5, 40), np.float32)
        if fed == "on the device":
            binding.bind_input("x", "cuda", 0, np.float32, x.shape, x.data.ptr)
        else:
            binding.bind_cpu_input("x", host)
        for _ in range(2):
            y, z = (cp.zeros((5, 40), np.float32) for _ in range(2))
            binding.bind_output("y", "cuda", 0, np.float32, y.shape, y.data.ptr)
            binding.bind_output("z", "cuda", 0, np.float32, z.shape, z.data.ptr)
            for run in range(7):
                host[...] = deep(run)["x"][:1]
                x.set(host)
                device.counters(clear=True)
                ours.run_with_iobinding(binding)
                counted = device.counters()
                for found, expected in zip((y.get(), z.get(), home), reference.run(None, {"x": host}), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            assert (counted["graph_launches"], counted["launches"]) == ((1, 0) if graphs else (0, 4))

    def test_a_run_with_graphs_is_terminated(self, device: Any) -> None:
        ours, options = session(DEEP, GRAPHS), ort.RunOptions()
        for seed in range(4):
            ours.run(None, deep(seed), options)
        options.terminate = True
        with pytest.raises(Exception, match="terminate"):
            ours.run(None, deep(4), options)

    def test_no_capture_disturbs_other_users_of_the_device(self, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their threads would be refused waits for the whole device; a single thread, or who asked for it, gets graphs all the same."""
        monkeypatch.setitem(sys.modules, "pycuda.driver", object())
        stop = threading.Event()
        other = threading.Thread(target=stop.wait)
        other.start()
        try:
            for options, captures in (({}, False), (GRAPHS, True)):
                ours = session(DEEP, options)
                device.counters(clear=True)
                for seed in range(4):
                    ours.run(None, deep(seed))
                assert (device.counters()["graph_launches"] > 0) == captures
        finally:
            stop.set()
            other.join()

    def test_arrays_of_other_libraries_on_their_default_stream(self, cp: Any, lazy: Any) -> None:
        """Through DLPack and the CUDA array interface, there and back, without a wait of the caller's and without a copy."""
        ours = session(DEEP)
        reference = ort.InferenceSession(model(DEEP), providers=[CPU])
        for seed in range(4):
            x = cp.asarray(deep(seed)["x"])
            x *= 2
            for given in (x, Interface(x)):
                lazy.counters(clear=True)
                (y,) = left_on_device(ours, given)
                back = cp.from_dlpack(y)
                assert back.data.ptr == y.data_ptr()
                counted = lazy.counters()
                assert (counted["bytes_to_host"], counted["bytes_to_device"]) == (0, 0)
                np.testing.assert_allclose((back + 1).get(), reference.run(["y"], {"x": x.get()})[0] + 1, rtol=1e-5, atol=1e-6)


def left_on_device(ours: ort.InferenceSession, given: Any) -> list[ort.OrtValue]:
    """Output `y` for the input `x`, on the device."""
    binding = ours.io_binding()
    value = ort.OrtValue.from_dlpack(given) if hasattr(given, "__dlpack__") else ort.OrtValue(Value.of(*array_from_cuda_interface(given)))
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("y", "cuda")
    ours.run_with_iobinding(binding)
    return binding.get_outputs()


class Interface:
    """An array of another library that has no DLPack."""

    def __init__(self, array: Any) -> None:
        self.__cuda_array_interface__ = array.__cuda_array_interface__


class TestGraphs:
    def test_launches_are_replayed_from_the_third_run_on(self, device: Any) -> None:
        ours, reference = session(DEEP, GRAPHS), ort.InferenceSession(model(DEEP), providers=[CPU])
        graphs = []
        for seed in range(5):
            device.counters(clear=True)
            for found, expected in zip(ours.run(None, deep(seed)), reference.run(None, deep(seed)), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
            graphs.append(device.counters()["graph_launches"])
        assert graphs[:2] == [0, 0]
        assert graphs[2] == graphs[3] == graphs[4] > 0
        assert "repeat" in ours.programs[0].sources()[-1]

    def test_they_are_captured_unasked_where_no_other_thread_is(self) -> None:
        """In a process of its own: test runners have threads."""
        program = f"""
import numpy, onnxgpu
session = onnxgpu.InferenceSession({DIGITS!r}, providers=["CUDAExecutionProvider"])
from onnxgpu.providers.cuda.emulator import installed
for _ in range(4): session.run(None, {{"images": numpy.zeros((1, 1, 8, 8), numpy.float32)}})
print(installed().counters()["graph_launches"] > 0)
"""
        finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert finished.stdout == "True\n"

    def test_each_signature_has_its_own(self, device: Any) -> None:
        ours, reference = session(DEEP, GRAPHS), ort.InferenceSession(model(DEEP), providers=[CPU])
        for seed in range(12):
            feed = deep(seed, rows=3 + seed % 2)
            for found, expected in zip(ours.run(None, feed), reference.run(None, feed), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert device.counters()["graph_launches"] > 0

    def test_the_option_forbids_them(self, device: Any) -> None:
        ours = session(DEEP, {"enable_cuda_graph": 0})
        device.counters(clear=True)
        for seed in range(5):
            ours.run(None, deep(seed))
        assert device.counters()["graph_launches"] == 0

    def test_a_step_that_allocates_parts_them(self, device: Any) -> None:
        """The host input of the middle node is known only in the run."""
        text = """g (float[4,8] x, int64[1] k) => (float[a,b] y) {
            a = Softmax (x) b = Softmax (a) v, i = TopK (b, k) c = Softmax (v) d = Softmax (c) e = Softmax (d) y = Softmax (e) }"""
        ours, reference = session(text, GRAPHS), ort.InferenceSession(model(text), providers=[CPU])
        for run in range(6):
            feed = {"x": np.random.default_rng(run).random((4, 8), np.float32), "k": np.array([3], np.int64)}
            device.counters(clear=True)
            np.testing.assert_allclose(ours.run(None, feed)[0], reference.run(None, feed)[0], rtol=1e-5)
        assert device.counters()["graph_launches"] >= 1

    def test_what_is_bound_is_read_and_written_anew(self, cp: Any, lazy: Any) -> None:
        ours, reference = session(DEEP, GRAPHS), ort.InferenceSession(model(DEEP), providers=[CPU])
        binding = ours.io_binding()
        x = ort.OrtValue.ortvalue_from_numpy(deep(0)["x"], "cuda", 0)
        binding.bind_ortvalue_input("x", x)
        binding.bind_output("z", "cuda")
        for seed in range(5):
            x.update_inplace(deep(seed)["x"])
            ours.run_with_iobinding(binding)
            (z,) = binding.get_outputs()
            np.testing.assert_allclose(z.numpy(), reference.run(["z"], deep(seed))[0], rtol=1e-5, atol=1e-6)


class TestControlFlow:
    def test_a_loop_stays_on_the_device(self, lazy: Any) -> None:
        """What is carried is copied neither in nor out; the condition is the host's anyway."""
        ours, reference = session(LOOP, GRAPHS), ort.InferenceSession(model(LOOP), providers=[CPU])
        for run in range(4):
            rng = np.random.default_rng(run)
            feed = {"n": np.int64(5), "go": np.bool_(True), "x": rng.random((4, 8), np.float32), "step": rng.random((4, 8), np.float32)}
            lazy.counters(clear=True)
            np.testing.assert_allclose(ours.run(None, feed)[0], reference.run(None, feed)[0], rtol=1e-5)
            counted = lazy.counters()
            assert (counted["copies_to_host"], counted["copies_to_device"]) == (1, 2)
        assert counted["graph_launches"] > 0

    def test_values_of_the_host_that_a_body_copies_anew_in_each_iteration(self, lazy: Any) -> None:
        text = """g (int64 n, bool go, float[4,8] x) => (float[4,8] y) {
            y = Loop (n, go, x) <body = b (int64 i, bool c, float[4,8] v) => (bool c2, float[4,8] v2) {
                c2 = Identity (c) f = Cast <to = 1> (i) h = Add (v, f) v2 = Abs (h) }> }"""
        ours = session(text, GRAPHS, placement="op:Identity=CPUExecutionProvider; mode=listed")
        reference = ort.InferenceSession(model(text), providers=[CPU])
        for run in range(4):
            feed = {"n": np.int64(6), "go": np.bool_(True), "x": np.random.default_rng(run).random((4, 8), np.float32)}
            np.testing.assert_allclose(ours.run(None, feed)[0], reference.run(None, feed)[0], rtol=1e-5)


class TestMemory:
    def test_weights_lie_on_the_device_once(self, device: Any) -> None:
        def uploaded() -> tuple[ort.InferenceSession, int]:
            device.counters(clear=True)
            made = ort.InferenceSession(DIGITS, providers=[CUDA, CPU])
            return made, device.counters()["bytes_to_device"]

        gc.collect()
        first, all_bytes = uploaded()
        second, few_bytes = uploaded()
        assert few_bytes < all_bytes / 4
        held = [{x.data.ptr for x in made.plan.constants.values() if not isinstance(x, np.ndarray)} for made in (first, second)]
        assert held[0] & held[1]
        np.testing.assert_array_equal(first.run(None, images(2))[0], second.run(None, images(2))[0])
        del first, second
        gc.collect()
        assert uploaded()[1] == all_bytes

    def test_weights_that_differ_where_no_sample_is_taken(self) -> None:
        values, sessions = np.arange(2000, dtype=np.float32), []
        for number in range(2):
            values[501] = number
            made = model("g (float[1,2000] x, float[2000] w) => (float[1,2000] y) { y = Add (x, w) }")
            made.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
            del made.graph.input[1]
            sessions.append(ort.InferenceSession(made, providers=[CUDA, CPU]))
        found = [made.run(None, {"x": np.zeros((1, 2000), np.float32)})[0][0, 501] for made in sessions]
        assert found == [0, 1]

    def test_a_limit(self, device: Any) -> None:
        """Refused are arrays beyond it; the message has the plan's peak and what would fit."""
        ours = session(DEEP, {"gpu_mem_limit": 1 << 20})
        for seed in range(3):
            ours.run(None, deep(seed))
        statistics = provider_of(ours).memory_statistics()
        assert 0 < statistics.held <= 1 << 20 == statistics.limit
        with pytest.raises(OutOfMemory, match=r"does not suffice: there are .* gpu_mem_limit 1,048,576"):
            ours.run(None, deep(0, rows=10000))

    @pytest.mark.parametrize("graphs", [0, 1])
    def test_what_is_kept_for_other_shapes_gives_way(self, device: Any, graphs: int) -> None:
        """Each shape has memory of its own, as long as there is enough."""
        ours, reference = (
            session(DEEP, {"gpu_mem_limit": 1 << 20, "enable_cuda_graph": graphs}),
            ort.InferenceSession(model(DEEP), providers=[CPU]),
        )
        for rows in (1000, 1050, 1100, 1000, 1150):
            for seed in range(4):
                feeds = deep(seed, rows)
                for found, expected in zip(ours.run(None, feeds), reference.run(None, feeds), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        with pytest.raises(OutOfMemory, match="does not suffice"):
            ours.run(None, deep(0, rows=10000))

    def test_a_plan_that_does_not_fit(self, device: Any) -> None:
        ours = session(DEEP, {"gpu_mem_limit": 1 << 20})
        ours.run(None, deep(0, rows=1200))
        left = provider_of(ours).memory_statistics().available - (200 << 10)
        filler = provider_of(ours).allocate(Spec((left // 512 * 512,), np.dtype(np.uint8)))
        with pytest.raises(OutOfMemory, match=r"The plan for inputs x \[1200, 40\] needs .* on cuda:0.* about \d+ of 1200 .* would fit"):
            ours.run(None, deep(0, rows=1200))
        del filler
        assert ours.run(None, deep(0, rows=1200))[0].shape == (1200, 40)

    @pytest.mark.parametrize(
        "options", [{"arena_extend_strategy": "kFast"}, {"gpu_mem_limit": -1}], ids=lambda options: next(iter(options))
    )
    def test_options_that_are_none(self, device: Any, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            session(DEEP, options)

    def test_powers_of_two(self, device: Any) -> None:
        ours = session(DEEP, {"arena_extend_strategy": "kNextPowerOfTwo", "gpu_mem_limit": 1 << 24})
        for seed in range(3):
            ours.run(None, deep(seed))
        used = provider_of(ours).memory_statistics().used
        assert used and ours.run(None, deep(1))[0].shape == (5, 40)

    def test_memory_is_given_back_with_the_session(self, cp: Any, device: Any) -> None:
        gc.collect()
        cp.get_default_memory_pool().free_all_blocks()
        before = device.memory_used()
        ours = session(DEEP)
        for seed in range(3):
            ours.run(None, deep(seed, rows=2000))
        assert device.memory_used() > before
        del ours
        gc.collect()
        assert device.memory_used() <= before + (1 << 16)
