"""Small inputs that decide shapes are part of a run's signature, as long as few values of them come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxgpu.execute import signatures
from onnxgpu.execute.signatures import Signatures, deciding_inputs
from tests.models import session

CPU = ["CPUExecutionProvider"]
SUM = "g (float[2,3] x, int64[N] axes) => (float[] y) { y = ReduceSum<keepdims=0>(x, axes) }"
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_value_that_stays_the_same_is_decided_upon_once() -> None:
    s = session(SUM, CPU)
    for _ in range(3):
        (y,) = s.run(None, {"x": X, "axes": np.array([1])})
        np.testing.assert_array_equal(y, [3, 12])
    (source,) = s.programs[0].sources()
    assert "reduce(v2" in source
    assert "launch" not in source


def test_another_value_in_the_same_memory_is_another_signature() -> None:
    s, axes = session(SUM, CPU), np.array([1])
    for axis in (1, 1, 1, 0, 0, 0, 1, 0):
        axes[0] = axis
        np.testing.assert_array_equal(s.run(None, {"x": X, "axes": axes})[0], X.sum(axis))
    assert len(s.programs[0].sources()) == 2


def test_values_that_keep_changing_do_not_count() -> None:
    s = session("g (float[N] x, int64[1] start, int64[1] stop) => (float[M] y) { y = Slice(x, start, stop) }", CPU)
    x = np.arange(200, dtype=np.float32)
    for start in range(100):
        np.testing.assert_array_equal(s.run(None, {"x": x, "start": np.array([start]), "stop": np.array([start + 9])})[0], x[start:][:9])
    assert len(s.programs[0].sources()) == 1


def test_a_value_that_changes_now_and_then_still_counts() -> None:
    s = session(SUM, CPU)
    for run in range(40 * signatures.RUNS_A_VALUE):
        axes = np.array([run // (4 * signatures.RUNS_A_VALUE) % 2])
        np.testing.assert_array_equal(s.run(None, {"x": X, "axes": axes})[0], X.sum(axes[0]))
    assert all("launch" not in source for source in s.programs[0].sources())


def test_values_count_however_many_shapes_come() -> None:
    s = session("g (float[M,N] x, int64[1] axes) => (float[] y) { y = ReduceSum<keepdims=0>(x, axes) }", CPU)
    for columns in (*range(1, 12), 1, 2, 2):
        s.run(None, {"x": np.ones((2, columns), np.float32), "axes": np.array([1])})
    assert s.programs[0].sources()
    assert all("launch" not in source for source in s.programs[0].sources())


def test_a_run_that_goes_on_while_values_cease_to_count_leaves_none_behind() -> None:
    s = session(SUM, CPU)
    naming = s.programs[0]._naming

    def fix(inputs: Sequence[Any]) -> Any:
        """As if another thread found that values change too often, once this one has its signature."""
        fixed = Signatures.fix(naming, inputs)
        naming._deciding = ()
        return fixed

    naming.fix = fix  # type: ignore[method-assign]
    for axis in (1, 1, 0, 0):
        np.testing.assert_array_equal(s.run(None, {"x": X, "axes": np.array([axis])})[0], X.sum(axis))


def test_what_is_computed_from_such_a_value_decides_too() -> None:
    x = np.arange(4, dtype=np.float32)
    s = session("g (float[4] x, int32[1] n) => (float[] y) { m = Cast<to=7>(n)\n k = Concat<axis=0>(m, m)\n y = Reshape(x, k) }", CPU)
    assert deciding_inputs(s.plan) == (1,)
    for _ in range(3):
        np.testing.assert_array_equal(s.run(None, {"x": x, "n": np.array([2], np.int32)})[0], x.reshape(2, 2))
    (source,) = s.programs[0].sources()
    assert "oncat" not in source


def test_outputs_are_not_the_memory_of_a_known_value() -> None:
    s = session("g (float[2,3] x, int64[1] axes) => (float[] y, int64[1] same, int64[1,1] wide) { y = ReduceSum<keepdims=0>(x, axes)\n"
                " same = Identity(axes)\n wide = Unsqueeze(same, axes) }", CPU)  # fmt: skip
    axes = np.array([0])
    for _ in range(4):
        y, same, wide = s.run(None, {"x": X, "axes": axes})
        np.testing.assert_array_equal(y, X.sum(0))
        np.testing.assert_array_equal([same[0], wide[0, 0]], [0, 0])
        same[0], wide[0, 0], y[0] = 7, 8, 9
        assert axes[0] == 0


@pytest.mark.parametrize("count", [signatures.MOST_DECIDING_BYTES // 8, signatures.MOST_DECIDING_BYTES // 8 + 1])
def test_large_values_do_not_count(count: int) -> None:
    s = session("g (float[] x, int64[N] parts) => (float[M] y) { size = ReduceSum(parts)\n y = Expand(x, size) }", CPU)
    parts = np.zeros(count, np.int64)
    for size in (1, 1, 1, 2, 2, 2):
        parts[0] = size
        assert s.run(None, {"x": np.float32(1), "parts": parts})[0].shape == (size,)
    assert len(s.programs[0].sources()) == (2 if parts.nbytes <= signatures.MOST_DECIDING_BYTES else 1)


@given(st.lists(st.tuples(st.sampled_from([(2, 3), (4, 1)]), st.integers(0, 1)), min_size=1, max_size=30))
def test_any_order_of_values_and_shapes_gives_the_same(runs: list[tuple[tuple[int, int], int]]) -> None:
    s = session("g (float[M,N] x, int64[1] axes) => (float[] y) { y = ReduceSum<keepdims=0>(x, axes) }", CPU)
    for shape, axis in runs:
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(s.run(None, {"x": x, "axes": np.array([axis])})[0], x.sum(axis))
