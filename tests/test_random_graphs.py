"""Random graphs against onnxruntime: run after run, on the host, on the pretend device, split between them, in threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnxgpu
from tests.random_graphs import RandomGraph, random_graph

CPU, LOOPBACK = "CPUExecutionProvider", "LoopbackExecutionProvider"
BATCHES = (2, 2, 2, 3, 2, 1, 3, 0, 2)
TOLERANCE = 2e-4
Feeds = Mapping[str, np.ndarray]
Run = Callable[[Sequence[str] | None, Feeds], list[Any]]


def session(graph: RandomGraph, providers: Sequence[object], level: int, placement: str = "") -> Run:
    options = onnxgpu.SessionOptions()
    options.graph_optimization_level = onnxgpu.GraphOptimizationLevel(level)
    options.add_session_config_entry("onnxgpu.placement", placement)
    return onnxgpu.InferenceSession(graph.model.SerializeToString(), options, providers=providers).run  # type: ignore[arg-type]


def two_devices(graph: RandomGraph, seed: int) -> Run:
    """Split between two pretend devices and the host; what goes from one device to the other goes directly for every second seed."""
    devices = [(LOOPBACK, {"device_id": i, "fraction": part, "seed": seed + i, "peers": seed % 2}) for i, part in enumerate((0.4, 0.6))]
    return session(graph, [*devices, CPU], 0, "mode=listed" if seed % 4 < 2 else "")


def with_bindings(graph: RandomGraph, seed: int) -> Run:
    """Inputs and outputs bound to two pretend devices or the host, some outputs to memory of an earlier run."""
    options = onnxgpu.SessionOptions()
    options.add_session_config_entry("onnxgpu.placement", "mode=listed")
    made = onnxgpu.InferenceSession(graph.model.SerializeToString(), options, providers=[(LOOPBACK, {"fraction": 0.7, "seed": seed}), CPU])
    everything = [output.name for output in made.get_outputs()]
    places = [("cpu", 0), ("loopback", 0), ("loopback", 1)]

    def run(names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        binding = made.io_binding()
        generator = np.random.default_rng([seed, *(value.size for value in feeds.values())])
        for name, array in feeds.items():
            place, index = ("cpu", 0) if array.dtype == object else places[generator.integers(3)]
            binding.bind_ortvalue_input(name, onnxgpu.OrtValue.ortvalue_from_numpy(array, place, index))
        for name in names or everything:
            binding.bind_output(name, *places[generator.integers(3)])
        made.run_with_iobinding(binding)
        first = binding.copy_outputs_to_cpu()
        for name, value in zip(names or everything, binding.get_outputs(), strict=True):
            if value.is_tensor() and value.data_type() != "tensor(string)" and generator.random() < 0.7:
                binding.bind_ortvalue_output(name, value)
        made.run_with_iobinding(binding)
        again = binding.copy_outputs_to_cpu()
        assert_close(again, first, "the second run of a binding")
        return again

    return run


MODES: dict[str, Callable[[RandomGraph, int], Run]] = {
    "host": lambda graph, seed: session(graph, [CPU], 99),
    "host, not rewritten": lambda graph, seed: session(graph, [CPU], 0),
    "device": lambda graph, seed: session(graph, [LOOPBACK, CPU], 99),
    "split as listed": lambda graph, seed: session(graph, [(LOOPBACK, {"fraction": 0.5, "seed": seed}), CPU], 0, "mode=listed"),
    "split and balanced": lambda graph, seed: session(graph, [(LOOPBACK, {"fraction": 0.7, "seed": seed}), CPU], 1),
    "two devices": two_devices,
    "bound": with_bindings,
}


@pytest.mark.parametrize("seed", range(90))
def test_random_graph(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 2000, 50))
def test_many_random_graphs(start: int) -> None:
    for seed in range(start, start + 50):
        try:
            check(seed)
        except pytest.skip.Exception:
            continue


def check(seed: int) -> None:
    """Every mode gives what onnxruntime gives, in every run, and neither side's arrays are the other's."""
    graph = random_graph(seed)
    generator = np.random.default_rng(seed)
    feeds = [graph.feeds(generator, batch) for batch in BATCHES]
    names, expected = onnxruntime_outputs(graph, feeds)
    for mode, make in MODES.items():
        run = make(graph, seed)
        check_runs(run, feeds, expected, f"seed {seed}, {mode}")
        check_subset(run, feeds[0], names, expected[0], f"seed {seed}, {mode}, some outputs")
        if seed % 5 == 0:
            check_threads(run, feeds, expected, f"seed {seed}, {mode}, four threads")


def onnxruntime_outputs(graph: RandomGraph, feeds: Sequence[Feeds]) -> tuple[list[str], list[list[Any]]]:
    """onnxruntime reads arrays of strings that are not in C order wrongly, so it gets copies."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        oracle = onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=[CPU])
        results = [oracle.run(None, {name: value.copy() for name, value in feed.items()}) for feed in feeds]
    except Exception as problem:
        pytest.skip(f"not a valid graph: {problem}")
    return [output.name for output in oracle.get_outputs()], results


def check_runs(run: Run, feeds: Sequence[Feeds], expected: Sequence[Sequence[Any]], where: str) -> None:
    """Results, then what happens when the caller writes into them, in every second run."""
    kept: list[tuple[list[Any], Sequence[Any]]] = []
    for number, (feed, wanted) in enumerate(zip(feeds, expected, strict=True)):
        before = {name: value.copy() for name, value in feed.items()}
        found = run(None, feed)
        for results, values in [*kept, (found, wanted)]:
            assert_close(results, values, f"{where}, run {number}")
        kept = [(found, wanted)]
        if number % 2:
            for position, result in enumerate(found):
                result[...] = "written" if result.dtype == object else 1
                assert_close(found[position + 1 :], wanted[position + 1 :], f"{where}, run {number}: outputs share memory")
            kept = []
        for name, value in feed.items():
            np.testing.assert_array_equal(value, before[name], f"{where}, run {number}: input {name} changed")


def check_subset(run: Run, feed: Feeds, names: Sequence[str], wanted: Sequence[Any], where: str) -> None:
    chosen = names[::-1][: max(1, len(names) - 1)]
    for _ in range(3):
        assert_close(run(chosen, feed), [wanted[names.index(name)] for name in chosen], where)


def check_threads(run: Run, feeds: Sequence[Feeds], expected: Sequence[Sequence[Any]], where: str) -> None:
    def work(start: int) -> None:
        for number in (*range(start, len(feeds)), *range(start)):
            assert_close(run(None, feeds[number]), expected[number], where)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (0, 2, 4, 6)))


def assert_close(found: Sequence[Any], wanted: Sequence[Any], where: str) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{where}: {a.dtype}{a.shape} against {b.dtype}{b.shape}"
        if a.dtype == object:
            assert a.tolist() == b.tolist(), where
        else:
            np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), TOLERANCE, TOLERANCE, err_msg=where)
