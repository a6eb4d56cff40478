"""Every deliberate fault is found, with the line it is on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.cuda.kernels import FOLDER
from tests.emulated import PLAIN, sources
from tests.emulated.test_execution import function, random, rotation

pytestmark = [
    pytest.mark.usefixtures("exact_bounds"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # a faulted device frees nothing
]


@pytest.fixture(autouse=True)
def checked(device: Any) -> None:
    device.configure(replace(PLAIN, checked=True))


def run(cp: Any, kernel: Any, *launch: Any, **options: Any) -> str:
    """What the device reports of a launch."""

    def launched() -> None:
        kernel(*launch, **options)
        cp.cuda.Device().synchronize()

    with pytest.raises(cp.cuda.runtime.CUDARuntimeError) as error:
        launched()
    return str(error.value)


def row_sum(cp: Any, *options: str, shared: int = 256) -> str:
    x, y = random(cp, 3, 100), cp.empty(3, np.float32)
    return run(cp, function(cp, sources.ROW_SUM, "row_sum", *options), (3,), (64,), (x, y, np.int32(100)), shared_mem=shared)


def line_of(source: str, text: str) -> int:
    return next(number for number, line in enumerate(source.splitlines(), 1) if text in line)


def test_access_past_the_end(cp: Any) -> None:
    report = row_sum(cp, "-DFAULT_PAST_THE_END")
    assert "illegal read of 4 bytes by block (2,0,0)" in report
    assert "0 bytes past the end of an allocation of 1200 bytes" in report
    assert f":{line_of(sources.ROW_SUM, 'sum += x')}" in report


@pytest.mark.parametrize("fault", ["-DFAULT_NO_BARRIER", "-DFAULT_NO_FIRST_BARRIER"])
def test_missing_barriers(cp: Any, fault: str) -> None:
    report = row_sum(cp, fault)
    assert "shared memory" in report
    assert f":{line_of(sources.ROW_SUM, 'part[thread] += part')}: " in report


def test_missing_barrier_before_shared_memory_is_used_again(cp: Any) -> None:
    kernel = function(cp, sources.WARP_SUM, "mean_and_deviation", "-DFAULT_NO_BARRIER_BEFORE_REUSE")
    report = run(cp, kernel, (2,), (128,), (random(cp, 2, 500), cp.empty((2, 2), np.float32), np.int32(500)))
    assert "race (write after read) in shared memory" in report


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("-DFAULT_NO_GRID_BARRIER", "race"),
        ("-DFAULT_BLOCK_LEAVES", "1 of 3 blocks have left the kernel while the others wait at the grid's barrier"),
        ("-DFAULT_HALF_OF_A_BLOCK", "16 wait at a barrier; block (0,0,0) thread (1,0,0) waits at the grid's barrier"),
    ],
)
def test_barriers_of_the_grid(cp: Any, fault: str, expected: str) -> None:
    x, y, arrivals = cp.zeros(3 * 32 + 3, np.float32), cp.zeros(3 * 32, np.float32), cp.zeros(1, np.uint32)
    assert expected in run(cp, rotation(cp, fault), (3,), (32,), (x, y, arrivals, np.int32(4)))


def test_barrier_of_the_grid_in_a_launch_that_is_not_cooperative(cp: Any) -> None:
    kernel = function(cp, sources.ROTATION, "rotate", f"-I{FOLDER}")
    report = run(cp, kernel, (1,), (32,), (cp.zeros(33, np.float32), cp.zeros(32, np.float32), cp.zeros(1, np.uint32), np.int32(1)))
    assert "is in a launch that is not cooperative" in report


def test_more_blocks_than_can_run_at_once(cp: Any) -> None:
    kernel = rotation(cp).kernel
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="9 blocks cannot run at once"):
        cp.cuda.driver.launchCooperativeKernel(kernel.ptr, 9, 1, 1, 1024, 1, 1, 0, cp.cuda.get_current_stream().ptr, 0)


def test_too_little_dynamic_shared_memory(cp: Any) -> None:
    assert "illegal write" in row_sum(cp, shared=128)


def test_uninitialised_memory(cp: Any) -> None:
    report = run(
        cp,
        function(cp, sources.ROW_SUM, "row_sum"),
        (1,),
        (64,),
        (cp.empty(100, np.float32), cp.empty(1, np.float32), np.int32(100)),
        shared_mem=256,
    )
    assert "read of global memory that nobody wrote" in report


def test_addition_that_is_not_atomic(cp: Any) -> None:
    kernel = function(cp, sources.HISTOGRAM, "histogram", "-DFAULT_NOT_ATOMIC")
    report = run(cp, kernel, (1,), (64,), (cp.zeros(200, np.int32), np.int32(200), cp.zeros(8, np.int32), np.int32(8)), shared_mem=32)
    assert "race" in report


def test_copy_that_nobody_waited_for(cp: Any) -> None:
    kernel = function(cp, sources.PIPELINE, "staged", "-DFAULT_NO_WAIT")
    report = run(cp, kernel, (1,), (32,), (random(cp, 32, 4), cp.empty((32, 4), np.float32)))
    assert "asynchronous copies that it never waited for" in report or "shared memory that nobody wrote" in report


def test_race_between_blocks(cp: Any) -> None:
    report = run(cp, function(cp, sources.WRITES_AFTER, "reversed_in_place"), (2,), (32,), (random(cp, 64), np.int32(64)))
    assert "race" in report and "global memory" in report


def test_divergent_barrier(cp: Any) -> None:
    report = run(cp, function(cp, sources.DIVERGENT_BARRIER, "divergent"), (1,), (32,), (cp.empty(32, np.int32),))
    assert "have left the kernel while the others wait at the barrier" in report


def test_pointer_to_host_memory(cp: Any) -> None:
    x = np.zeros(100, np.float32)
    report = run(cp, function(cp, sources.ROW_SUM, "row_sum"), (1,), (64,), (x.ctypes.data, x.ctypes.data, np.int32(100)), shared_mem=256)
    assert "illegal read" in report


def test_a_faulted_device_refuses_everything_that_follows(cp: Any) -> None:
    row_sum(cp, "-DFAULT_PAST_THE_END")
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorIllegalAddress"):
        cp.zeros(3)
