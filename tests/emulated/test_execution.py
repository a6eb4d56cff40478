"""Kernels give what CUDA would, whatever the order of blocks and threads, instrumented or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.cuda.emulator.settings import Settings
from onnxgpu.providers.cuda.kernels import FOLDER
from tests.emulated import PLAIN, sources

MODES = [replace(PLAIN, checked=checked, schedule=schedule) for checked in (False, True) for schedule in (0, 1, 7)]


@pytest.fixture(params=MODES, ids=lambda s: f"{'checked' if s.checked else 'plain'}-{s.schedule}")
def mode(request: pytest.FixtureRequest, device: Any, exact_bounds: None) -> Settings:
    device.configure(request.param)
    settings: Settings = request.param
    return settings


def function(cp: Any, source: str, name: str, *options: str) -> Any:
    return cp.RawModule(code=source, options=("-std=c++17", *options)).get_function(name)


def random(cp: Any, *shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    return cp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def test_dynamic_shared_memory_and_barriers(cp: Any, mode: Settings) -> None:
    x, y = random(cp, 5, 300), cp.empty(5, np.float32)
    function(cp, sources.ROW_SUM, "row_sum")((5,), (64,), (x, y, np.int32(300)), shared_mem=64 * 4)
    np.testing.assert_allclose(y.get(), x.get().sum(1), rtol=1e-5, atol=1e-5)


def test_warp_shuffles_and_static_shared_memory(cp: Any, mode: Settings) -> None:
    x, y = random(cp, 4, 500), cp.empty((4, 2), np.float32)
    function(cp, sources.WARP_SUM, "mean_and_deviation")((4,), (128,), (x, y, np.int32(500)))
    np.testing.assert_allclose(y.get(), np.stack([x.get().mean(1), x.get().std(1)], 1), rtol=1e-5, atol=1e-5)


def test_instances_of_a_template_have_shared_variables_of_their_own(cp: Any, mode: Settings) -> None:
    names = ("shifted<float, 3>", "shifted<int, 5>")
    module = cp.RawModule(code=sources.TEMPLATES, options=("-std=c++17",), name_expressions=names)
    for name, dtype, shift in ((names[0], np.float32, 3), (names[1], np.int32, 5)):
        x, y = cp.arange(64, dtype=dtype), cp.empty(64, dtype)
        module.get_function(name)((1,), (64,), (x, y, np.int32(64)))
        np.testing.assert_array_equal(y.get(), np.roll(np.arange(64), -shift))


def rotation(cp: Any, *options: str) -> Any:
    module = cp.RawModule(code=sources.ROTATION, options=("-std=c++17", f"-I{FOLDER}", *options), enable_cooperative_groups=True)
    return module.get_function("rotate")


def test_barriers_of_the_grid(cp: Any, mode: Settings) -> None:
    """The blocks of a cooperative launch wait for each other; what they have in shared memory stays theirs."""
    x, y = cp.arange(5 * 32 + 5, dtype=np.float32), cp.zeros(5 * 32, np.float32)
    rotation(cp)((5,), (32,), (x, y, cp.zeros(1, np.uint32), np.int32(4)))
    np.testing.assert_array_equal(x.get()[:-5], np.roll(np.arange(5 * 32), 4) + 4)
    np.testing.assert_array_equal(x.get()[-5:], 4 * np.arange(5))


def test_atomic_operations(cp: Any, mode: Settings) -> None:
    x, bins = cp.asarray(np.random.default_rng(1).integers(0, 50, 1000).astype(np.int32)), cp.zeros(50, np.int32)
    function(cp, sources.HISTOGRAM, "histogram")((4,), (96,), (x, np.int32(1000), bins, np.int32(50)), shared_mem=200)
    np.testing.assert_array_equal(bins.get(), np.bincount(x.get(), minlength=50))


def test_votes(cp: Any, mode: Settings) -> None:
    x, y, count = random(cp, 96), cp.zeros(96, np.float32), cp.zeros(1, np.int32)
    function(cp, sources.COMPACTION, "compact")((3,), (32,), (x, y, count))
    kept = int(count.get()[0])
    assert kept == (x.get() > 0).sum()
    assert sorted(y.get()[:kept]) == sorted(x.get()[x.get() > 0])


def test_asynchronous_copies(cp: Any, mode: Settings) -> None:
    x, y = random(cp, 32, 4), cp.empty((32, 4), np.float32)
    function(cp, sources.PIPELINE, "staged")((1,), (32,), (x, y))
    np.testing.assert_array_equal(y.get(), x.get()[::-1])


def test_matrix_fragments(cp: Any, mode: Settings) -> None:
    a, b, c = random(cp, 32, 48, dtype=np.float16), random(cp, 48, 16, dtype=np.float16, seed=1), cp.empty((32, 16), np.float32)
    function(cp, sources.TENSOR_CORES, "product")((1, 2), (32,), (a, b, c, np.int32(16), np.int32(48)))
    np.testing.assert_allclose(c.get(), a.get().astype(np.float32) @ b.get().astype(np.float32), rtol=1e-4, atol=1e-4)


def test_structures_by_value_and_constants(cp: Any, mode: Settings) -> None:
    options = np.array([(10, 2.5, 7)], dtype=np.dtype([("count", "i4"), ("scale", "f4"), ("offset", "i8")]))
    y = cp.empty(10, np.float32)
    function(cp, sources.BY_VALUE, "by_value")((1,), (32,), (y, options[0], np.float64(0.5)))
    i = np.arange(10)
    np.testing.assert_allclose(y.get(), 2.5 * i + 7.5 + (i & 3) + 1)


def test_pairs_of_halves(cp: Any, mode: Settings) -> None:
    x, y = random(cp, 200, dtype=np.float16), random(cp, 200, dtype=np.float16, seed=2)
    expected = (x.get().astype(np.float64) * 2 + y.get().astype(np.float64)).astype(np.float16)
    function(cp, sources.HALF_PAIRS, "scaled_sum")((1,), (128,), (x, y, np.float32(2), np.int32(100)))
    np.testing.assert_array_equal(y.get(), expected)


def test_a_kernel_that_cannot_be_compiled_says_where(cp: Any) -> None:
    with pytest.raises(cp.cuda.compiler.CompileException, match="oops"):
        function(cp, 'extern "C" __global__ void k(float* x) { x[0] = oops; }', "k")


def test_limits_of_a_launch(cp: Any) -> None:
    kernel = function(cp, sources.ROW_SUM, "row_sum")
    x = cp.zeros(4, np.float32)
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="passes a limit"):
        kernel((1,), (2048,), (x, x, np.int32(4)))
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="MaxDynamicSharedMemorySize"):
        kernel((1,), (32,), (x, x, np.int32(4)), shared_mem=100_000)
