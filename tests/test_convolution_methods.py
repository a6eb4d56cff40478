"""The ways to compute a convolution: which one is taken, and that they agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onnxgpu.provider import RunSettings
from onnxgpu.providers.cpu import conv_depthwise, threads
from onnxgpu.providers.cpu.conv import method_for
from onnxgpu.providers.cpu.conv_gathered import Gathered
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.conv_taps import Taken
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.finished_products import finished_product
from onnxgpu.providers.cpu.geometry import windows
from tests.threads import in_threads

RANDOM = np.random.default_rng(5)


def array(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "window", "group", "stride", "narrow", "wide"),
    [
        ((64, 56, 56), (64, 3, 3), 1, 1, "Gathered", "Gathered"),
        ((64, 56, 56), (64, 1, 1), 1, 1, "Pointwise", "Pointwise"),
        ((64, 14, 14), (384, 1, 1), 1, 1, "Pointwise", "Pointwise"),
        ((32, 1, 1), (8, 1, 1), 1, 1, "Taken", "Taken"),
        ((144, 56, 56), (144, 3, 3), 144, 1, "Shifted", "Shifted"),
        ((144, 56, 56), (144, 3, 3), 144, 2, "Interleaved", "Banded"),
        ((192, 28, 28), (192, 3, 3), 192, 1, "Shifted", "Banded"),
        ((384, 14, 14), (384, 3, 3), 384, 1, "Interleaved", "Interleaved"),
        ((192, 28, 28), (192, 7, 7), 192, 1, "Banded", "Banded"),
    ],
)
@pytest.mark.parametrize("seconds", [2.3e-11, 1.2e-11], ids=["256 bits", "512 bits"])
def test_method_by_shape(
    shape: tuple[int, int, int],
    window: tuple[int, int, int],
    group: int,
    stride: int,
    narrow: str,
    wide: str,
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the vectors that the BLAS multiplies."""
    monkeypatch.setattr(conv_depthwise, "seconds_a_multiplication", lambda: seconds)
    pad = window[1] // 2
    rows, columns = windows({"strides": (stride,) * 2, "pads": (pad,) * 4}, window[1:]).axes(shape[1:])
    method = method_for(Problem(1, shape[0], window[0], group, rows, columns, np.dtype(np.float32)))
    assert type(method).__name__ == (narrow if seconds > 2e-11 else wide)
    assert method.workspace < 4 << 20


axes = st.builds(
    lambda size, kernel, stride, dilation, before, after: ((size,), (kernel,), (stride,), (dilation,), (before, after)),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(st.tuples(axes, axes), st.sampled_from([(1, 1, 2, 3), (2, 1, 3, 40), (1, 2, 4, 6)]), st.booleans(), st.booleans(), st.booleans())
def test_gathered_columns_are_those_of_the_window(
    planes: tuple[Any, Any], counts: tuple[int, int, int, int], stacked: bool, shares_maps: bool, has_residual: bool
) -> None:
    """Whatever is gathered how, and shared by whatever: what a table of positions gives."""
    found = []
    for size, kernel, stride, dilation, (before, after) in planes:
        reach = (kernel[0] - 1) * dilation[0] + 1
        assume(size[0] + before + after >= reach)
        attributes = {"strides": stride, "dilations": dilation, "pads": (before, after)}
        found.append(windows(attributes, kernel).axes(size)[1])
    rows, columns = found
    batch, groups, channels, maps = counts
    problem = Problem(batch, channels, maps, groups, rows, columns, np.dtype(np.float32))
    x, w, b = array(batch, channels, rows.size, columns.size), array(maps, channels // groups, rows.kernel, columns.kernel), array(maps, 1)
    z = array(batch, maps, rows.output, columns.output) if has_residual else None
    results = []
    gathered = Gathered(problem)
    gathered._stacked, gathered._shares_maps = stacked, shares_maps and groups == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "WORTH_SECONDS", 0.0)
        patch.setattr(gathered, "_length", min(gathered._length, 3))
        for method in (gathered, Taken(problem)):
            y = np.full((batch, maps, rows.output, columns.output), 77, np.float32)
            method.run(x, method.laid_out(w), y, Epilogue({"activation": "Relu"}), b, z, None)
            results.append(y)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("maps", "channels", "pixels"), [(200, 8, 300), (40, 8, 300), (300, 200, 49), (96, 300, 500)])
@pytest.mark.parametrize("has_residual", [False, True])
def test_products_are_finished_part_by_part(
    maps: int, channels: int, pixels: int, has_residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "WORTH_SECONDS", 0.0)
    a, b, bias, out = array(maps, channels), array(channels, pixels), array(maps, 1), np.empty((maps, pixels), np.float32)
    residual = array(maps, pixels) if has_residual else None
    finished_product(a, b, out, Epilogue({"activation": "Relu"}), bias, residual)
    expected = np.maximum(a @ b + bias + (0 if residual is None else residual), 0)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_a_long_signal_is_gathered_piece_by_piece() -> None:
    """Scratch memory stays with a thread, so it must not grow with the input."""
    rows, columns = windows({"pads": (1, 1)}, (3,)).axes((50_000,))
    problem = Problem(1, 64, 4, 1, rows, columns, np.dtype(np.float32))
    x, w, y = array(1, 64, 1, 50_000), array(4, 64, 1, 3), np.empty((1, 4, 1, 50_000), np.float32)
    sizes: list[int] = []

    def convolve() -> None:
        before = threads.apply(RunSettings(threads=1))
        method = Gathered(problem)
        method.run(x, method.laid_out(w), y, Epilogue({}), None, None, None)
        sizes.extend(buffer.nbytes for buffer in threads._local.buffers.values())
        threads.apply(before)

    in_threads(lambda _: convolve(), [None])
    assert sum(sizes) < x.nbytes
    expected = sum(w[0, :, 0, tap] @ x[0, :, 0, 998 + tap : 1498 + tap] for tap in range(3))
    np.testing.assert_allclose(y[0, 0, 0, 999:1499], expected, rtol=1e-3, atol=1e-3)
