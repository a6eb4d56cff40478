"""The CPU provider's own threads: errors in a part, and use in a forked child."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from onnxgpu.providers.cpu import blas
from onnxgpu.providers.cpu.threads import share

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
