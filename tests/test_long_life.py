"""A session in a program that lives long: many threads, many runs, many sessions, forked children, other libraries beside it.

Each test has a short form that runs always, and the full one among the slow tests.
"""

from __future__ import annotations

import gc
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter_ns, sleep
from typing import Any

import numpy as np
import pytest

import onnxgpu
from benchmarks.resident_memory import resident
from onnxgpu.session import InferenceSession
from tests.models import model, session

CPU = ["CPUExecutionProvider"]
SHORT_AND_LONG = pytest.mark.parametrize("runs", [40, pytest.param(200, marks=pytest.mark.slow)])
X = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
TENSORS = """g (float[N,4] x) => (float[N,4] y, float[4,N] t, int64[2,K] i) {
  a = Relu(x)
  b = Add(a, x)
  c = Sigmoid(b)
  s = Softmax(c)
  y = Mul(s, a)
  t = Transpose<perm=[1,0]>(b)
  i = NonZero(a)
}"""
STRINGS = 'g (string[N] x) => (string[N] u, string[N] y) { u = StringNormalizer<case_change_action="UPPER">(x)\n y = Identity(x) }'
SEQUENCES = """g (float[3,4] x) => (seq(float[A,4]) s, float[3,4] y) {
  s = SplitToSequence<axis = 0>(x)
  y = ConcatFromSequence<axis = 0>(s)
}"""
LOOP = """g (int64 n, float[3,4] x) => (float[3,4] y, float[K,3,4] all) {
  go = Constant<value = bool {1}>()
  y, all = Loop (n, go, x) <body = b (int64 i, bool c, float[3,4] v) => (bool c2, float[3,4] v2, float[3,4] s) {
    c2 = Identity(c)
    v2 = Add(v, x)
    s = Neg(v2)
  }>
}"""
IF = """g (bool c, float[3,4] x) => (float[A,B] y) {
  y = If (c) <then_branch = t () => (float[3,4] p) { p = Relu(x) }, else_branch = e () => (float[4,3] q) { q = Transpose(x) }>
}"""
KINDS: Mapping[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "tensors": (TENSORS, lambda run: {"x": np.tile(X, (1 + run % 3, 1)) * (run % 5 - 2)}),
    "strings": (STRINGS, lambda run: {"x": np.array([f"text {run % 7}", "Straße"], object)}),
    "sequences": (SEQUENCES, lambda run: {"x": X + run % 3}),
    "loop": (LOOP, lambda run: {"n": np.array(run % 4), "x": X}),
    "if": (IF, lambda run: {"c": np.array(run % 2 == 0), "x": X}),
}


@SHORT_AND_LONG
def test_sixteen_threads_share_one_session(runs: int) -> None:
    """Each with signatures of its own, in an order of its own, and no wrong result."""
    s = session(TENSORS, CPU)
    generator = np.random.default_rng(0)
    feeds = [{"x": generator.standard_normal((1 + i % 6, 4)).astype(np.float32)} for i in range(24)]
    reference = session(TENSORS, CPU)
    wanted = [reference.run(None, feed) for feed in feeds]
    barrier = threading.Barrier(16)

    def work(thread: int) -> int:
        barrier.wait()
        wrong = 0
        for run in range(runs):
            number = (thread * 7 + run * (1 + thread % 5)) % len(feeds)
            outputs = s.run(None, feeds[number])
            wrong += not all(map(np.array_equal, outputs, wanted[number]))
            for output in outputs:
                output[...] = 0
        return wrong

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 0


def traced_growth(work: Callable[[int], object], warm: int, runs: int) -> float:
    """Bytes of traced memory that one call of `work` leaves behind, over `runs` calls after `warm` ones."""
    for run in range(warm):
        work(run)
    tracemalloc.start()
    try:
        for run in range(warm):
            work(run)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for run in range(runs):
            work(run)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / runs
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_runs_leave_nothing_behind(kind: str) -> None:
    text, feeds = KINDS[kind]
    s = session(text, CPU)
    assert traced_growth(lambda run: s.run(None, feeds(run)), 105, 210) < 20


def growth_of_ten_thousand_runs(kind: str) -> float:
    """The slope of resident memory over the second half of the runs, in bytes a run."""
    text, feeds = KINDS[kind]
    s = session(text, CPU)
    sizes = []
    for run in range(10_000):
        s.run(None, feeds(run))
        if run % 100 == 99:
            gc.collect()
            sizes.append(resident())
    late = np.array(sizes[len(sizes) // 2 :], np.float64)
    return float(np.polyfit(np.arange(late.size) * 100, late, 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_runs_in_flat_memory(kind: str) -> None:
    """In a process of its own: what other tests have left running takes and gives back memory, too."""
    program = f"from tests.test_long_life import growth_of_ten_thousand_runs; print(growth_of_ten_thousand_runs({kind!r}))"
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    assert float(outcome.stdout) < 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_that_is_dropped_is_gone(kind: str) -> None:
    """At once, without the garbage collector: its arenas can be large."""
    text, feeds = KINDS[kind]
    s = session(text, CPU)
    outputs = [s.run(None, feeds(run)) for run in range(8)]
    held: list[weakref.ref[Any]] = [weakref.ref(thing) for thing in (s, *s.programs)]
    contexts = [weakref.ref(c) for program in s.programs for known in program._signatures.values() for c in known.idle]
    gc.disable()
    try:
        del s
        assert [ref() for ref in (*held, *contexts)] == [None] * (len(held) + len(contexts))
    finally:
        gc.enable()
    assert len(outputs) == 8


@pytest.mark.parametrize("sessions", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_sessions_come_and_go(sessions: int) -> None:
    def once(number: int) -> None:
        text, feeds = list(KINDS.values())[number % len(KINDS)]
        s = session(text, CPU)
        for run in range(3):
            s.run(None, feeds(run))

    assert traced_growth(once, len(KINDS), sessions) < 4000


WITHOUT_PRODUCTS = TENSORS.replace("Softmax", "Sigmoid")
"""NumPy's BLAS has a lock that a forked child may find taken (see docs/deploying.md); a small Softmax is a product."""


def _answer(s: InferenceSession | None) -> bool:
    """In a child: a session handed down, or one of its own."""
    s = s or session(WITHOUT_PRODUCTS, CPU)
    expected = np.maximum(X, 0) + X
    return all(np.array_equal(s.run(None, {"x": X})[1], expected.T) for _ in range(4))


def _exit_code(s: InferenceSession | None) -> None:
    os._exit(0 if _answer(s) else 1)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("inherited", [True, False], ids=["its parent's session", "its own session"])
def test_a_forked_child_runs_sessions(inherited: bool) -> None:
    """While other threads of the parent are in the middle of runs."""
    s = session(WITHOUT_PRODUCTS, CPU)
    assert _answer(s)
    stop = threading.Event()

    def busy(part: int) -> None:
        while not stop.is_set():
            s.run(None, {"x": np.tile(X, (1 + part, 1))})

    threads = [threading.Thread(target=busy, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            child = multiprocessing.get_context("fork").Process(target=_exit_code, args=(s if inherited else None,))
            child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert _answer(s)


HEAVY = {
    "MatMul": ("g (float[A,B] x) => (float[A,C] y) { y = MatMul(x, x) }", (800, 800)),
    "Pow": ("g (float[A] x) => (float[A] y) { y = Pow(x, x) }", (8_000_000,)),
    "Exp": ("g (float[A] x) => (float[A] y) { y = Exp(x) }", (8_000_000,)),  # in blocks
    "Conv": (
        "g (float[1,C,H,W] x) => (float[1,D,H,W] y) <float[8,8,3,3] w = {"
        + ",".join(["0.1"] * 576)
        + "}> { y = Conv<pads=[1,1,1,1]>(x, w) }",
        (1, 8, 500, 500),
    ),
}


@pytest.mark.parametrize("operator", HEAVY)
def test_other_threads_run_python_while_a_kernel_computes(operator: str) -> None:
    """Between start and end of a kernel that takes no longer than usual, another thread notes the time throughout.

    A kernel that held the interpreter lock would show notes only before it begins, which makes it longer than usual.
    """
    text, shape = HEAVY[operator]
    options = onnxgpu.SessionOptions()
    options.intra_op_num_threads = 1
    s = InferenceSession(model(text).SerializeToString(), options, providers=CPU)
    feeds = {"x": np.full(shape, 0.5, np.float32)}

    def kernel_time() -> tuple[int, int]:
        windows: list[tuple[int, int]] = []
        s.run_observed(feeds, lambda step, inputs, outputs, start, end: windows.append((start, end)))
        return windows[-1]

    assert _times_noted_throughout(kernel_time) > 0, f"in no run of {operator} another thread got to run Python while it computed"


def test_the_interpreter_lock_is_noticed() -> None:
    """What the test above looks for does not happen while a C function holds the lock."""

    def hold() -> tuple[int, int]:
        start = perf_counter_ns()
        sum(range(1_000_000))
        return start, perf_counter_ns()

    assert _times_noted_throughout(hold) == 0


def _times_noted_throughout(run: Callable[[], tuple[int, int]]) -> int:
    """Of sixty runs, those that took no longer than usual beside a thread that notes the time, and in which it did so throughout.

    Args:
        run: gives when it began and ended.
    """
    runs = []
    with noting_the_time() as notes:
        for _ in range(60):
            notes.clear()
            start, end = run()
            runs.append((end - start, _eighths_with_notes(notes, start, end)))
    usual = median(taken for taken, _ in runs)
    return sum(taken < 1.5 * usual and eighths >= 6 for taken, eighths in runs)


@contextmanager
def noting_the_time() -> Iterator[list[int]]:
    """A thread that notes the time several times a millisecond, and takes the interpreter lock for no longer than that."""
    notes: list[int] = []
    done = threading.Event()

    def note() -> None:
        while not done.is_set():
            notes.append(perf_counter_ns())
            sleep(1e-4)

    thread = threading.Thread(target=note)
    thread.start()
    try:
        yield notes
    finally:
        done.set()
        thread.join()


def _eighths_with_notes(notes: list[int], start: int, end: int) -> int:
    return len({(moment - start) * 8 // (end - start) for moment in notes if start <= moment < end})


BESIDE = """
import sys, threading
import numpy as np
{imports}
import onnxgpu
from tests.models import model
source = model({text!r}).SerializeToString()
ours = onnxgpu.InferenceSession(source, providers=["CPUExecutionProvider"])
theirs = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
wrong = []
def work(seed):
    generator = np.random.default_rng(seed)
    for run in range(100):
        x = generator.standard_normal((1 + run % 4, 4)).astype(np.float32)
        for a, b in zip(ours.run(None, {{"x": x}}), theirs.run(None, {{"x": x}})):
            if not np.allclose(a, b, rtol=1e-5, atol=1e-6):
                wrong.append((seed, run))
        {torch}
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not wrong, wrong[:5]
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import onnxruntime", "import torch, onnxruntime", "import onnxruntime, torch"])
def test_beside_onnxruntime_and_torch(first: str) -> None:
    """In one process, used in turns by several threads."""
    for module in ("onnxruntime", *(["torch"] if "torch" in first else [])):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    torch = "assert abs(float((torch.tensor(x) @ torch.tensor(x).T).sum()) - float((x @ x.T).sum())) < 1e-2" if "torch" in first else "pass"
    program = BESIDE.format(imports=first, text=TENSORS, torch=torch)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    outcome = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr[-4000:]
