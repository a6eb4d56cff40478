"""Two GPUs in one session: splits by hints and by chance, copies between the devices, and faults in these."""

from __future__ import annotations

import gc
import random
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxgpu as ort
from onnxgpu.errors import InvalidArgument, OutOfMemory
from onnxgpu.explain import explanation, explanation_text
from onnxgpu.provider import Spec
from onnxgpu.providers.cuda.cupy_device import CupyDevice
from onnxgpu.providers.cuda.emulator import install
from onnxgpu.providers.cuda.provider import CUDAProvider
from onnxgpu.providers.cuda.streams import Streams
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, DIGITS, images, model
from tests.random_graphs import random_graph
from tests.threads import in_threads

SECOND = f"{CUDA}:1"
MODES = {
    "eager": PLAIN,
    "lazy": replace(PLAIN, lazy=True),
    "checked": replace(PLAIN, checked=True, schedule=7),
    "lazy, through the host": replace(PLAIN, lazy=True, peers=False),
}
LAYERS = """g (float[n,40] x) => (float[n,40] y, float[n,40] z) {
    [a] a = Softmax (x) [b] b = Softmax <axis = 0> (a) [c] c = LpNormalization (b) [d] d = Add (c, a) [t] t = Transpose (d)
    [e] e = Softmax (t) [u] u = Transpose (e) [y] y = Mul (u, a) [z] z = Softmax (d) }"""
LOOP = """g (int64 n, bool go, float[4,8] x, float[4,8] step) => (float[4,8] y) {
    [loop] y = Loop (n, go, x) <body = b (int64 i, bool c, float[4,8] v) => (bool c2, float[4,8] v2) {
        [i] c2 = Identity (c) [h] h = Softmax (v) [k] k = Softmax <axis = 0> (h) [m] m = Add (k, step) [v] v2 = Softmax (m) }> }"""

WEIGHTED_LOOP = """g (int64 n, bool go, float[4,8] x, float[4,8] step) => (float[4,8] y)
    <float[8] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[8] u = {1, 1, 1, 1, 2, 2, 2, 2}> {
    [r] r = Mul (x, w) [loop] y = Loop (n, go, r) <body = b (int64 i, bool c, float[4,8] v) => (bool c2, float[4,8] v2) {
        c2 = Identity (c) [k] k = Softmax (v) [v] v2 = Mul (k, u) }> }"""


@pytest.fixture(params=MODES.values(), ids=list(MODES))
def mode(request: pytest.FixtureRequest, device: Any) -> Any:
    device.configure(request.param)
    return device


def two(
    proto: Any, placement: str = "", first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, level: int = 99
) -> ort.InferenceSession:
    """A session over both devices."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel(level)
    options.add_session_config_entry("onnxgpu.placement", f"{placement}; mode=listed")
    return ort.InferenceSession(proto, options, providers=[(CUDA, first or {}), (CUDA, {"device_id": 1, **(second or {})}), CPU])


def layers(seed: int, rows: int = 5) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).standard_normal((rows, 40)).astype(np.float32)}


def loop(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"n": np.int64(4), "go": np.bool_(True), "x": rng.random((4, 8), np.float32), "step": rng.random((4, 8), np.float32)}


def assert_runs(ours: ort.InferenceSession, proto: Any, feeds: Callable[[int], dict[str, Any]], runs: int = 5) -> None:
    """Run after run, the results are those of the CPU."""
    reference = ort.InferenceSession(proto, providers=[CPU])
    for seed in range(runs):
        for found, expected in zip(ours.run(None, feeds(seed)), reference.run(None, feeds(seed)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


class TestSplits:
    @pytest.mark.parametrize("graphs", [0, 1])
    def test_by_layer(self, mode: Any, graphs: int) -> None:
        proto, options = model(LAYERS), {"enable_cuda_graph": graphs}
        ours = two(proto, f"name:[bce]={SECOND}!", options, options)
        assert {str(a.provider.place) for a in ours.placement if a.operation.name in "bce"} == {"cuda:1"}
        assert_runs(ours, proto, layers)
        mode.counters(clear=True)
        assert_runs(ours, proto, layers, 1)
        counted, crossing = mode.counters(), sum("transfer '" in s.label and "host" not in s.label for s in ours.plan.transfers)
        assert (counted["copies_between_devices"], crossing) == ((4, 4) if mode.settings.peers else (0, 0))
        assert counted["graph_launches"] == 2 * graphs

    def test_a_network_by_its_layers(self, mode: Any) -> None:
        names = sorted({a.operation.name for a in ort.InferenceSession(DIGITS, providers=[CUDA, CPU]).placement})
        second = "; ".join(f"name:{name}={SECOND}" for name in names[len(names) // 2 :])
        ours = two(DIGITS, second)
        assert {str(step.provider.place) for step in ours.plan.steps} == {"cuda:0", "cuda:1"}
        assert_runs(ours, DIGITS, lambda seed: images(3, seed), 4)

    @pytest.mark.parametrize("elsewhere", ["hk", "m", "loop"])
    def test_a_loop_and_its_body(self, mode: Any, elsewhere: str) -> None:
        names = [elsewhere] if elsewhere == "loop" else elsewhere
        ours = two(model(LOOP), "; ".join(f"name:{name}={SECOND}!" for name in names))
        assert_runs(ours, model(LOOP), loop)

    def test_by_the_bytes_of_weights(self, mode: Any) -> None:
        """Half of a network's lie on each, and what it takes for a loop's body goes with the loop."""
        ours = two(DIGITS, f"split={CUDA},{SECOND}")
        held = dict.fromkeys((0, 1), 0)
        for slot, array in ours.plan.constants.items():
            if ours.plan.slots[slot].place.kind == "cuda":
                held[ours.plan.slots[slot].place.index] += array.nbytes
        assert min(held.values()) > 0
        assert_runs(ours, DIGITS, lambda seed: images(3, seed), 4)
        looped = two(model(WEIGHTED_LOOP), f"split={CUDA},{SECOND}")
        assert {a.operation.name: a.provider.place.index for a in looped.placement if a.operation.name} == {
            "r": 0,
            "k": 1,
            "v": 1,
            "loop": 1,
        }
        assert_runs(looped, model(WEIGHTED_LOOP), loop)

    def test_what_no_hint_names_goes_to_the_first(self, device: Any) -> None:
        ours = two(model(LAYERS))
        assert {a.provider.label for a in ours.placement} == {CUDA}
        assert {a.provider.label for a in two(model(LAYERS), f"op:*={SECOND}").placement} == {SECOND}

    def test_they_are_told_apart(self, device: Any, tmp_path: Any) -> None:
        ours = two(model(LAYERS), f"name:b={SECOND}")
        assert ours.get_providers() == [CUDA, SECOND, CPU]
        assert "a@cuda:1 = transfer(a@cuda:0) on CUDAExecutionProvider:1" in str(ours.plan)
        assert "b@cuda:1 = Softmax(a@cuda:1) on CUDAExecutionProvider:1" in str(ours.plan)
        told = explanation(ours)
        assert told["counts"][SECOND] == 1
        assert {"value": "a", "from": "cuda:0", "to": "cuda:1"}.items() <= told["transfers"][1].items()
        assert re.search(r"CUDA:1 +│ pinned by a hint", explanation_text(told, width=160))
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
        options.add_session_config_entry("onnxgpu.placement", f"name:b={SECOND}")
        profiled = ort.InferenceSession(model(LAYERS), options, providers=[CUDA, SECOND, CPU])
        profiled.run(None, layers(0))
        text = Path(profiled.end_profiling()).read_text()
        assert re.search(rf'"provider": ?"{SECOND}"', text)
        assert "a: cuda:0 to cuda:1" in text

    @pytest.mark.parametrize("graphs", [0, 1])
    def test_threads_share_a_session(self, mode: Any, graphs: int) -> None:
        proto, options = model(LAYERS), {"enable_cuda_graph": graphs}
        ours, reference = two(proto, f"name:[bce]={SECOND}", options, options), ort.InferenceSession(proto, providers=[CPU])
        expected = {seed: reference.run(None, layers(seed)) for seed in range(4)}
        wrong: list[int] = []

        def work(seed: int) -> None:
            for _ in range(6):
                found = ours.run(None, layers(seed))
                if not all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(found, expected[seed], strict=True)):
                    wrong.append(seed)

        in_threads(work, expected)
        assert not wrong

    def test_there_is_no_third_one(self, device: Any) -> None:
        with pytest.raises(InvalidArgument, match="option 'device_id' is 2; this machine has 2 CUDA devices"):
            ort.InferenceSession(model(LAYERS), providers=[CUDA, f"{CUDA}:2", CPU])

    @settings(max_examples=25, deadline=None, database=None)
    @given(
        places=st.lists(st.sampled_from([CUDA, SECOND, CPU]), min_size=9, max_size=9),
        lazy=st.booleans(),
        peers=st.booleans(),
        graphs=st.booleans(),
    )
    def test_no_split_changes_a_result(self, places: list[str], lazy: bool, peers: bool, graphs: bool) -> None:
        """Each node anywhere."""
        device, proto, options = install(), model(LAYERS), {"enable_cuda_graph": graphs}
        device.configure(replace(PLAIN, lazy=lazy, peers=peers))
        try:
            hints = "; ".join(f"name:{name}={place}!" for name, place in zip("abcdtuyze", places, strict=True))
            assert_runs(two(proto, hints, options, options, level=0), proto, layers, 4)
        finally:
            device.configure(PLAIN)

    @pytest.mark.parametrize("seed", range(12))
    def test_random_graphs_with_operators_anywhere(self, device: Any, seed: int) -> None:
        """Views, shapes that depend on values, and bodies that read what lies elsewhere."""
        device.configure(replace(PLAIN, lazy=True, peers=bool(seed % 3)))
        graph, chance = random_graph(seed), random.Random(seed)
        operators = sorted({node.op_type for node in all_nodes(graph.model.graph)})
        hints = "; ".join(f"op:{operator}={chance.choice([CUDA, SECOND, SECOND, CPU])}" for operator in operators)
        ours, reference = two(graph.model, hints, level=0), ort.InferenceSession(graph.model, providers=[CPU])
        generator = np.random.default_rng(seed)
        for batch in (2, 2, 3, 2, 2):
            feeds = graph.feeds(generator, batch)
            for found, expected in zip(ours.run(None, feeds), reference.run(None, feeds), strict=True):
                np.testing.assert_array_equal(found.shape, expected.shape)
                if found.dtype != object:
                    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from all_nodes(attribute.g)


class TestMemory:
    def test_weights_lie_where_they_are_read(self, device: Any) -> None:
        ours = two(DIGITS, f"op:Gemm={SECOND}; op:MatMul={SECOND}")
        slots, constants = ours.plan.slots, ours.plan.constants
        placed = {slots[slot].place.index: array.device.id for slot, array in constants.items() if slots[slot].place.kind == "cuda"}
        assert placed == {0: 0, 1: 1}

    def test_each_has_its_limit(self, device: Any) -> None:
        """What an operator takes for itself counts too: the norms of `c` are CuPy's."""
        proto = model(LAYERS)
        ours = two(proto, f"name:[bcz]={SECOND}", {"gpu_mem_limit": 1 << 22}, {"gpu_mem_limit": 1 << 20})
        assert_runs(ours, proto, layers, 3)
        memories = {step.provider.place.index: step.provider for step in ours.plan.steps if isinstance(step.provider, CUDAProvider)}
        for index, limit in ((0, 1 << 22), (1, 1 << 20)):
            statistics = memories[index].memory_statistics()
            assert 0 < statistics.held <= statistics.limit == limit
        with pytest.raises(OutOfMemory, match=r"on cuda:1.* gpu_mem_limit 1,048,576"):
            ours.run(None, layers(0, rows=5000))

    def test_temporary_memory_is_that_of_the_device(self, cp: Any, device: Any) -> None:
        devices = [CupyDevice(index, {}) for index in (0, 1)]
        with ExitStack() as stack:
            for each in devices:
                stack.enter_context(each.launching())
            before = [each.memory_statistics().used for each in devices]
            with cp.cuda.Device(0):
                held = cp.empty(1000, np.uint8)
            after = [each.memory_statistics().used for each in devices]
            assert (after[0] - before[0], after[1] - before[1]) == (1024, 0)
            arrays = [each.allocate(Spec((8,), np.dtype(np.float32))) for each in devices]
            with cp.cuda.Device(0):
                arrays.append(devices[1].allocate(Spec((8,), np.dtype(np.float32))))
        assert [array.device.id for array in arrays] == [0, 1, 1]
        del held

    def test_memory_is_given_back_with_the_session(self, cp: Any, device: Any) -> None:
        gc.collect()
        before = [device.memory_used(index) for index in (0, 1)]
        ours = two(model(LAYERS), f"name:[bce]={SECOND}")
        for seed in range(3):
            ours.run(None, layers(seed, rows=2000))
        assert all(device.memory_used(index) > used for index, used in enumerate(before))
        del ours
        gc.collect()
        assert all(device.memory_used(index) <= used + (1 << 16) for index, used in enumerate(before))


class TestBindings:
    @pytest.mark.parametrize("providers", [[CUDA, CPU], [CUDA, SECOND, CPU]], ids=["a session on one", "a session on both"])
    def test_inputs_and_outputs_on_either(self, mode: Any, providers: list[str]) -> None:
        options = ort.SessionOptions()
        if SECOND in providers:
            options.add_session_config_entry("onnxgpu.placement", f"name:[bc]={SECOND}")
        ours = ort.InferenceSession(model(LAYERS), options, providers=providers)
        reference = ort.InferenceSession(model(LAYERS), providers=[CPU])
        for source, y, z in ((0, 0, 1), (1, 1, 0), (1, 1, 1)):
            binding = ours.io_binding()
            x = ort.OrtValue.ortvalue_from_numpy(layers(0)["x"], "cuda", source)
            binding.bind_ortvalue_input("x", x)
            binding.bind_output("y", "cuda", y)
            binding.bind_output("z", "cuda", z)
            for seed in range(6):
                x.update_inplace(layers(seed)["x"])
                mode.counters(clear=True)
                ours.run_with_iobinding(binding)
                counted = mode.counters()
                found = binding.get_outputs()
                assert [value._get_c_value().memory.place.index for value in found] == [y, z]
                for value, expected in zip(found, reference.run(["y", "z"], layers(seed)), strict=True):
                    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-4, atol=1e-5)
            if mode.settings.peers:
                assert (counted["copies_to_host"], counted["copies_to_device"]) == (0, 0)

    def test_a_value_goes_from_one_to_the_other(self, mode: Any) -> None:
        values = [ort.OrtValue.ortvalue_from_numpy(layers(index)["x"], "cuda", index) for index in (0, 1)]
        mode.counters(clear=True)
        values[1].update_inplace(values[0])
        counted = mode.counters()
        assert (counted["copies_between_devices"], counted["copies_to_host"]) == ((1, 0) if mode.settings.peers else (0, 1))
        np.testing.assert_array_equal(values[1].numpy(), layers(0)["x"])

    def test_an_array_of_another_library_says_where_it_lies(self, cp: Any, device: Any) -> None:
        """The CUDA array interface does not, but CUDA knows of the address."""

        class Interface:
            def __init__(self, array: Any) -> None:
                self.__cuda_array_interface__ = array.__cuda_array_interface__
                self.array = array

        with cp.cuda.Device(1):
            x = cp.asarray(layers(3)["x"])
            ours, expected = two(model(LAYERS), f"op:*={SECOND}"), ort.InferenceSession(model(LAYERS), providers=[CPU]).run(None, layers(3))
        device.counters(clear=True)
        for given_input in (x, Interface(x)):
            for found, wanted in zip(ours.run(None, {"x": given_input}), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        assert device.counters()["bytes_to_device"] == 0


CROSSING = """g (float[6,40] x) => (float[6,40] y, float[6,40] z) {
    [a] a = Exp (x) [b] b = Neg (a) [p] p = Abs (b) [q] q = Sqrt (p) [z] z = Neg (q)
    [c] c = Exp (b) [d] d = Neg (c) [y] y = Exp (d) }"""
"""`b` goes to the second device; on the first, what comes after it may lie in its memory."""


def crossings_are_right() -> bool:
    """Several runs of a model that goes to the second device, also with outputs left there, and of one that comes back."""
    for text, hint in ((CROSSING, f"name:[pqz]={SECOND}"), (LAYERS, f"name:[bce]={SECOND}")):
        proto = model(text)
        ours, reference = two(proto, hint, level=0), ort.InferenceSession(proto, providers=[CPU])
        for seed in range(5):
            expected = reference.run(None, layers(seed, 6))
            binding = ours.io_binding()
            binding.bind_cpu_input("x", layers(seed, 6)["x"])
            for name in ("y", "z"):
                binding.bind_output(name, "cuda", 1)
            ours.run_with_iobinding(binding)
            for found in (ours.run(None, layers(seed, 6)), [value.numpy() for value in binding.get_outputs()]):
                if not all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(found, expected, strict=True)):
                    return False
    return True


def the_copy_does_not_wait_for_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Streams, "copies_wait", lambda self, event: None)


def the_source_is_written_over_before_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Streams, "kernels_wait", lambda self, event: None)


def kernels_on_the_target_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Streams, "kernels_follow", lambda self: self.copying.record(self.event()))


def the_devices_are_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CupyDevice, "copy_across", lambda self, target, source, other: self.copy_into(target, source))


FAULTS = (
    the_copy_does_not_wait_for_the_source,
    the_source_is_written_over_before_it_is_copied,
    kernels_on_the_target_do_not_wait,
    the_devices_are_taken_for_one,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_between_the_devices_is_noticed(device: Any, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None]) -> None:
    device.configure(replace(PLAIN, lazy=True))
    assert crossings_are_right()
    fault(monkeypatch)
    try:
        noticed = not crossings_are_right()
    except Exception as error:
        noticed = "emulated device" in str(error)
    assert noticed
