"""Recurrent layers whose steps are made in place give what they give step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxgpu.providers.array_ops import contrib_recurrent, recurrent
from onnxgpu.providers.cpu.array_module import NUMPY

LAYERS = {"RNN": (recurrent.rnn, 1, 1), "GRU": (recurrent.gru, 3, 1), "LSTM": (recurrent.lstm, 4, 2)}
SIZES = st.integers(1, 6)


@pytest.mark.parametrize("name", LAYERS)
@given(
    steps=st.integers(0, 4),
    batch=SIZES,
    features=SIZES,
    size=SIZES,
    direction=st.sampled_from(("forward", "reverse", "bidirectional")),
    has_bias=st.booleans(),
    has_states=st.booleans(),
    layout=st.integers(0, 1),
    linear_before_reset=st.integers(0, 1),
    seed=st.integers(0, 9),
)
def test_as_step_by_step(
    name: str,
    steps: int,
    batch: int,
    features: int,
    size: int,
    direction: str,
    has_bias: bool,
    has_states: bool,
    layout: int,
    linear_before_reset: int,
    seed: int,
) -> None:
    """With the lengths of the sequences given, each step looks at them, and none is made in place."""
    function, gates, state_count = LAYERS[name]
    directions, rng = 2 if direction == "bidirectional" else 1, np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def batches(first: int, second: int, *rest: int) -> np.ndarray:
        return normal(*((second, first) if layout else (first, second)), *rest)

    x, w, r = batches(steps, batch, features), normal(directions, gates * size, features), normal(directions, gates * size, size)
    bias = normal(directions, 2 * gates * size) if has_bias else None
    states = [batches(directions, batch, size) for _ in range(state_count)] if has_states else []
    before = [None if each is None else each.copy() for each in (x, w, r, bias, *states)]
    attributes: dict[str, Any] = {"direction": direction, "layout": layout, "output_count": 1 + state_count}
    if name == "GRU":
        attributes["linear_before_reset"] = linear_before_reset
    in_place = function(np, x, w, r, bias, None, *states, **attributes)
    step_by_step = function(np, x, w, r, bias, np.full(batch, steps, np.int32), *states, **attributes)
    for actual, expected in zip(in_place, step_by_step, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    for now, then in zip((x, w, r, bias, *states), before, strict=True):
        np.testing.assert_array_equal(now, then)


@given(batch=SIZES, size=SIZES, shift=st.floats(-3, 3), seed=st.integers(0, 9))
def test_rows_through_bytes(batch: int, size: int, shift: float, seed: int) -> None:
    """Each row by 255 levels from its least to its greatest number, 0 among them and exact."""
    x = (np.random.default_rng(seed).standard_normal((batch, size)) + shift).astype(np.float32)
    given_rows = contrib_recurrent._rows_through_bytes(np, x)
    for row, result in zip(x, given_rows, strict=True):
        step = (max(row.max(), 0) - min(row.min(), 0)) / 255
        np.testing.assert_allclose(result, row, atol=step / 2 + 1e-6)
        levels = result / step
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    np.testing.assert_array_equal(contrib_recurrent._rows_through_bytes(np, np.zeros_like(x)), np.zeros_like(x))


@pytest.mark.parametrize("name", LAYERS)
def test_products_that_threads_share(name: str) -> None:
    """As the CPU provider has NumPy, whose large products are cut into pieces."""
    function, gates, _ = LAYERS[name]
    rng, size = np.random.default_rng(0), 384
    shapes = (2, 96, 8), (1, gates * size, 8), (1, gates * size, size)
    x, w, r = ((rng.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32) for shape in shapes)
    np.testing.assert_allclose(function(NUMPY, x, w, r)[0], function(np, x, w, r)[0], rtol=1e-4, atol=1e-5)
