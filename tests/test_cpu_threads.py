"""The CPU provider's own threads: errors in a part, and use in a forked child."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

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
