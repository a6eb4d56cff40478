"""The CPU provider's own threads: errors in a part, and use in a forked child."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxgpu import InferenceSession
from onnxgpu.providers.cpu import blas
from onnxgpu.providers.cpu.array_module import NUMPY
from onnxgpu.providers.cpu.openblas import thread_functions
from onnxgpu.providers.cpu.threads import share
from tests.models import model

LONG = 1.0
"""Seconds that the work claims to take, so that it is always shared."""


def test_every_part_is_done_once() -> None:
    seen = np.zeros(1000, np.int64)

    def part(start: int, stop: int) -> None:
        seen[start:stop] += 1

    for _ in range(50):
        share(part, 1000, seconds=LONG)
    assert (seen == 50).all()


def test_an_error_in_a_part_reaches_the_caller_when_all_parts_have_ended() -> None:
    ended = np.zeros(8, bool)

    def part(start: int, stop: int) -> None:
        ended[start:stop] = True
        if start == 0:
            raise ValueError("in a part")

    with pytest.raises(ValueError, match="in a part"):
        share(part, 8, seconds=LONG)
    assert ended.all()


def _product_in_child(answer: Connection) -> None:
    a = np.arange(512 * 512, dtype=np.float32).reshape(512, 512) / 1e5
    out = np.empty_like(a)
    blas.matmul(a, a, out)
    answer.send(bool(np.allclose(out, a @ a, rtol=1e-4)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_makes_threads_of_its_own() -> None:
    share(lambda start, stop: None, 8, seconds=LONG)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_product_in_child, args=(theirs,))
    child.start()
    assert ours.poll(60)
    assert ours.recv()
    child.join()


RECURRENT = """g (float[3,1,200] x, float[1,512,200] w, float[1,512,128] r) => (float[3,1,1,128] y) {
  y, h, c = LSTM <hidden_size = 128> (x, w, r)
}"""


@pytest.mark.skipif(not blas.can_limit_threads(), reason="this BLAS takes no thread count from onnxgpu")
def test_products_within_operators_do_without_the_threads_of_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, multiply, functions = [], np.matmul, thread_functions()
    assert functions is not None
    before = functions[0]()

    def watched(*arguments: Any, **options: Any) -> Any:
        counts.append(functions[0]())
        return multiply(*arguments, **options)

    session = InferenceSession(model(RECURRENT), providers=["CPUExecutionProvider"])
    feeds = {"x": np.ones((3, 1, 200), np.float32), "w": np.ones((1, 512, 200), np.float32), "r": np.ones((1, 512, 128), np.float32)}
    monkeypatch.setattr(np, "matmul", watched)
    functions[1](2)
    try:
        session.run(None, feeds)
    finally:
        functions[1](before)
    assert len(counts) == 4 and set(counts) == {1}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((64, 200), (200, 90)),
        ((640, 200), (200, 190)),
        ((3, 640, 200), (200, 190)),
        ((2, 1, 640, 200), (3, 200, 90)),
        ((200,), (200, 90)),
        ((90, 200), (200,)),
        ((0, 9), (9, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex64"])
def test_products_are_those_of_numpy(first: tuple[int, ...], second: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, shape).astype(dtype) for shape in (first, second))
    expected = np.matmul(a, b)
    for left in (a, a[..., ::-1][..., ::-1]):
        result = NUMPY.matmul(left, b)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
    out = np.empty_like(expected)
    assert NUMPY.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_products_of_shapes_that_do_not_fit_are_refused_as_by_numpy() -> None:
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        NUMPY.matmul(np.ones((64, 200), np.float32), np.ones((201, 90), np.float32))


PRODUCTS = """g (float[500,500] x, float[1,16,64,64] i, float[16,16,3,3] k) => (float[500,500] y, float[500,500] e, float[1,16,62,62] c) {
  y = MatMul (x, x)
  e = Einsum <equation = "ij,kj->ik"> (y, x)
  c = Conv (i, k)
}"""
ONE_THREAD = """
import os, sys
import numpy as np
import onnxgpu
from tests.models import model

def ticks():
    "Processor time of all threads but this one."
    total = 0
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            fields = open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total

options = onnxgpu.SessionOptions()
options.intra_op_num_threads = 1
session = onnxgpu.InferenceSession(model(sys.argv[1]), options, providers=["CPUExecutionProvider"])
ones = {"x": (500, 500), "i": (1, 16, 64, 64), "k": (16, 16, 3, 3)}
before = ticks()
for _ in range(10):
    session.run(None, {name: np.ones(shape, np.float32) for name, shape in ones.items()})
print(ticks() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the time of each thread is read from Linux's /proc")
@pytest.mark.skipif(not blas.can_limit_threads(), reason="this BLAS takes no thread count from onnxgpu")
def test_with_one_thread_no_other_thread_does_anything() -> None:
    """Neither our workers nor the BLAS's threads use any processor time, whatever the kernels call."""
    outcome = subprocess.run([sys.executable, "-c", ONE_THREAD, PRODUCTS], capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.split() == ["0"]
