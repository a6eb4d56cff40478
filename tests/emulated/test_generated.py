"""Generated elementwise kernels: any shapes that broadcast, any strides, chains, and the text of the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import onnxgpu as ort
from onnxgpu.errors import InvalidGraph
from onnxgpu.providers.cuda.generated import _launch_for, collapsed, evaluate, source
from tests.emulated import PLAIN
from tests.emulated.test_provider import CPU, CUDA, model

CHAIN = ("Mul 0 1", "Sigmoid %0", "Mul %0 %1", "Add %2 =0.5")


def expected(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64) * y.astype(np.float64)
    result: np.ndarray = wide / (1 + np.exp(-wide)) + 0.5
    return result


def test_text() -> None:
    text = source(CHAIN, np.dtype(np.float16), 2, scalars=2)
    assert "const A s1 = sigmoid(s0);" in text
    assert "elementwise_dense<__half, Expression, 2, 2>" in text


@pytest.mark.parametrize("step", ["Nothing 0", "Add 0", "Add 0 2", "Neg %0", "Add 0 1 1"])
def test_a_step_that_is_none(step: str) -> None:
    with pytest.raises(InvalidGraph, match="step 0 of an elementwise expression"):
        source([step], np.dtype(np.float32), 2)


def test_threads_are_as_many_as_loads() -> None:
    layout, shape = ((512, 512), (2048, 4)), (512, 512)
    assert _launch_for((layout, layout), shape, 4).blocks == 512 * 512 // 4 // 256
    assert _launch_for((layout, ((512,), (4,))), shape, 4).blocks == 512 * 512 // 4 // 256
    assert _launch_for((((512, 511), (2044, 4)), ((511,), (4,))), (512, 511), 4).blocks == 512 * 511 // 256


@pytest.mark.parametrize(
    ("shape", "strides", "sizes", "joined"),
    [
        ((2, 3, 4), [(12, 4, 1)], [24], [[1]]),
        ((2, 3, 4), [(12, 4, 1), (0, 4, 1)], [2, 12], [[12, 1], [0, 1]]),
        ((2, 1, 4), [(4, 4, 1), (0, 0, 1)], [2, 4], [[4, 1], [0, 1]]),
        ((1, 1), [(1, 1)], [1], [[0]]),
        ((3, 2), [(1, 3)], [3, 2], [[1, 3]]),
    ],
)
def test_axes_are_joined(shape: Sequence[int], strides: Any, sizes: list[int], joined: list[list[int]]) -> None:
    assert collapsed(shape, strides) == (sizes, joined)


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("count", [1, 3, 4, 31, 1000])
def test_dense_and_scalar_operands(cp: Any, device: Any, exact_bounds: None, count: int, dtype: Any, checked: bool) -> None:
    device.configure(replace(PLAIN, checked=checked, schedule=7))
    rng = np.random.default_rng(count)
    x, y = rng.standard_normal(count).astype(dtype), rng.standard_normal(1).astype(dtype)
    out = cp.empty(count, dtype)
    evaluate(CHAIN, [cp.asarray(x), cp.asarray(y)], out)
    tolerance = {4: 1e-5, 8: 1e-12, 2: 2e-2}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(out.get().astype(np.float64), expected(x, y), rtol=tolerance, atol=tolerance)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=1, max_side=4), transposed=st.booleans())
def test_shapes_that_broadcast(cp: Any, device: Any, shapes: Any, transposed: bool) -> None:
    device.configure(PLAIN)
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(np.float32) for shape in shapes.input_shapes)
    on_device = [cp.asarray(x), cp.asarray(y)]
    if transposed:
        on_device[0] = cp.asarray(np.ascontiguousarray(x.T)).T
    out = cp.empty(shapes.result_shape, np.float32)
    evaluate(CHAIN, on_device, out)
    np.testing.assert_allclose(out.get(), expected(x, y), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("shapes", [((2, 3, 16), (3, 1)), ((5, 16), (16,)), ((3, 1, 8), (4, 8)), ((3, 12), (3, 1)), ((2, 3, 5), (3, 1))])
def test_broadcast_operands_16_bytes_a_load(
    cp: Any, device: Any, shapes: tuple[tuple[int, ...], ...], start: int, dtype: Any, checked: bool
) -> None:
    """Where the innermost axis allows it, and the addresses."""
    device.configure(replace(PLAIN, checked=checked, schedule=7))
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    moved = cp.empty(x.size + start, dtype)[start:].reshape(x.shape)
    moved[...] = cp.asarray(x)
    out = cp.empty(np.broadcast_shapes(*shapes), dtype)
    evaluate(CHAIN, [moved, cp.asarray(y)], out)
    tolerance = {4: 1e-5, 8: 1e-12, 2: 2e-2}[np.dtype(dtype).itemsize]
    np.testing.assert_allclose(out.get().astype(np.float64), expected(x, y), rtol=tolerance, atol=tolerance)


def test_a_chain_of_a_model_is_one_launch(device: Any) -> None:
    text = "g (float[2,3,40] x, float[40] y) => (float[2,3,40] z) { a = Mul (x, y) b = Sigmoid (a) c = Mul (a, b) z = Add (c, x) }"
    session = ort.InferenceSession(model(text), providers=[CUDA, CPU])
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((2, 3, 40), np.float32), "y": rng.standard_normal(40, np.float32)}
    wide = feeds["x"] * feeds["y"]
    for _ in range(3):
        device.counters(clear=True)
        np.testing.assert_allclose(session.run(None, feeds)[0], wide / (1 + np.exp(-wide)) + feeds["x"], rtol=1e-5, atol=1e-5)
    assert device.counters()["launches"] == 1
