"""Functions of arrays as the calls of NumPy that they make: which, on what memory, and when they cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import Spec
from onnxgpu.tracing import traced_calls, traced_views
from onnxgpu.tracing.tape import MOST_CALLS
from tests.test_calls import execute

FLOAT = np.dtype(np.float32)
SHAPE = (2, 3)
X = np.arange(6, dtype=FLOAT).reshape(SHAPE) - 2


def run(function: Callable[..., Any], inputs: Sequence[Any], out: Spec, *, over: int | None = None) -> tuple[np.ndarray, list[str]]:
    """The result of the calls, and their names; `over`: the result lies in the memory of this input."""
    asked = [Spec(x.shape, x.dtype) for x in inputs]
    calls = traced_calls(function, asked, [out])
    assert calls is not None
    given = [x.copy() for x in inputs]
    result = given[over] if over is not None else np.full(out.shape, 77, out.dtype)
    execute(calls, {id(spec): x for spec, x in zip(asked, given, strict=True)} | {id(out): result})
    return result, [getattr(call, "__name__", "") for call, _ in calls]


def like(x: np.ndarray, *, reused: tuple[int, ...] = ()) -> Spec:
    return Spec(x.shape, x.dtype, may_reuse=reused)


def test_what_shapes_decide_is_decided_beforehand() -> None:
    def function(x: Any, *, out: Any) -> None:
        if x.shape[1] == 3 and x.dtype.kind == "f" and isinstance(x, np.ndarray):
            out[...] = 2 * np.exp(x) + 1

    result, names = run(function, [X], like(X))
    assert names == ["exp", "multiply", "add"]
    np.testing.assert_array_equal(result, 2 * np.exp(X) + 1)


def test_operands_are_brought_to_the_shape_of_the_result() -> None:
    def function(x: Any, *, out: Any) -> None:
        np.subtract(x, np.max(x, axis=1, keepdims=True), out=out)
        np.multiply(out, np.array([1, 2, 3], FLOAT), out=out)

    result, names = run(function, [X], like(X))
    assert names == ["reduce", "setitem", "subtract", "multiply"]
    np.testing.assert_array_equal(result, (X - X.max(1, keepdims=True)) * np.array([1, 2, 3], FLOAT))


def test_what_is_read_after_the_result_is_written_stays() -> None:
    """The result is computed in the memory of `out` only where no later call reads an input that lies there."""

    def function(x: Any, *, out: Any) -> None:
        halved = x * 0.5
        out[...] = halved + np.tanh(x)

    expected, _ = run(function, [X], like(X))
    for reused in ((), (0,)):
        result, _ = run(function, [X], like(X, reused=reused), over=reused[0] if reused else None)
        np.testing.assert_array_equal(result, expected)

    def shifted(x: Any, *, out: Any) -> None:
        total = x + 1
        total *= x
        out[...] = total

    result, names = run(shifted, [X], like(X, reused=(0,)), over=0)
    np.testing.assert_array_equal(result, (X + 1) * X)
    assert names == ["add", "multiply", "setitem"]
    assert run(shifted, [X], like(X))[1] == ["add", "multiply"]


def test_views_and_copies() -> None:
    def function(x: Any, *, out: Any) -> None:
        flat = out.reshape(-1)
        flat[:2] = x.T[2]
        flat[2:] = np.concatenate([x[0, :1], x[1, 1:]]).astype(np.float64)[::-1].sum() + x.reshape(-1)[np.array([0, 5, 2, 1])]

    result, _ = run(function, [X], like(X))
    expected = np.empty(6, FLOAT)
    expected[:2], expected[2:] = X[:, 2], np.float64(X[0, 0] + X[1, 1] + X[1, 2]) + X.reshape(-1)[[0, 5, 2, 1]]
    np.testing.assert_array_equal(result, expected.reshape(SHAPE))


def test_a_choice_by_condition() -> None:
    def function(x: Any, *, out: Any) -> None:
        out[...] = np.where(x > 0, x, 0)

    for reused in ((), (0,)):
        result, _ = run(function, [X], like(X, reused=reused), over=reused[0] if reused else None)
        np.testing.assert_array_equal(result, np.maximum(X, 0))


ELSEWHERE = np.zeros(SHAPE, FLOAT)


def _writes_elsewhere(x: Any, *, out: Any) -> None:
    np.add(x, 1, out=ELSEWHERE)
    out[...] = ELSEWHERE


def _writes_again(x: Any, *, out: Any) -> None:
    total = x + 1
    out[...] = total
    total += 1


def _writes_a_constant(x: Any, *, out: Any) -> None:
    memory = np.zeros(SHAPE, FLOAT)
    memory[...] = x
    out[...] = memory


@pytest.mark.parametrize(
    "function",
    [
        lambda x, *, out: np.add(x, 1 if x[0, 0] > 0 else 2, out=out),
        lambda x, *, out: np.add(x, int(x[0, 0]), out=out),
        lambda x, *, out: np.add(x, x.max().item(), out=out),
        lambda x, *, out: np.add(x, len(x[x > 0]), out=out),
        lambda x, *, out: np.add(x, np.asarray(x), out=out),
        lambda x, *, out: np.add(x, np.linalg.det(x[:, :2]), out=out),
        lambda x, *, out: np.add(x, np.nonzero(x)[0][0], out=out),
        lambda x, *, out: np.add(x, int(x.flags.c_contiguous), out=out),
        lambda x, *, out: np.add(x, x.strides[0], out=out),
        lambda x, *, out: np.add(x, 1, out=x),
        lambda x, *, out: x.fill(0),
        lambda x, *, out: None,
        lambda x, *, out: [np.add(x, 1, out=out) for _ in range(MOST_CALLS + 1)],
        lambda x, *, out: np.add(x, np.random.default_rng(0).permuted(x), out=out),
        _writes_elsewhere,
        _writes_again,
        _writes_a_constant,
    ],
)
def test_what_cannot_be_told(function: Callable[..., Any]) -> None:
    spec = like(X)
    assert traced_calls(function, [spec], [like(X)]) is None
    assert not ELSEWHERE.any()


def test_only_few_elements_of_known_types() -> None:
    def function(x: Any, *, out: Any) -> None:
        np.add(x, 1, out=out)

    for spec in (Spec((4097,), FLOAT), Spec((0,), FLOAT), Spec((2,), np.dtype(object))):
        assert traced_calls(function, [spec], [spec]) is None
    assert traced_calls(function, [Spec((4096,), FLOAT)], [Spec((4096,), FLOAT)]) is not None


def test_views_are_returned() -> None:
    spec = Spec((1000, 3, 1000), FLOAT)
    calls = traced_views(lambda x: (x.transpose(2, 0, 1)[:2], x), [spec])
    assert calls is not None
    x = np.empty(spec.shape, FLOAT)
    first, second = execute(calls, {id(spec): x})
    assert second is x
    assert first.shape == (2, 1000, 3)
    assert np.shares_memory(first, x)
    assert traced_views(lambda x: (x + 1,), [spec]) is None
    assert traced_views(lambda x: (x[int(x[0, 0, 0])],), [spec]) is None
