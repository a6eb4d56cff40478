"""Which memory a value lies in from run to run: the caller's, the session's, the arena's, another value's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxgpu.errors import Fail
from onnxgpu.execute import Program
from onnxgpu.execute.record import STATIC_LIMIT_BYTES
from onnxgpu.plan import DISCARD
from onnxgpu.provider import Spec
from tests.models import session

CPU = ["CPUExecutionProvider"]
X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("first", [X, np.asfortranarray(X)], ids=["C order first", "Fortran order first"])
def test_an_input_in_another_order_than_before(first: np.ndarray) -> None:
    """Reshape copies an input that is not in C order and gives a view of one that is: no output may be the caller's input."""
    run = session(
        "g (float[3,4] x) => (float[12] y, float[4,3] t) { s = Constant<value = int64[1] {12}>()\n y = Reshape(x, s)\n t = Transpose(x) }",
        CPU,
    ).run
    for x in (first, X.copy(), np.asfortranarray(X), X.copy(), X.copy()):
        y, t = run(None, {"x": x})
        np.testing.assert_array_equal(y, X.reshape(-1))
        np.testing.assert_array_equal(t, X.T)
        y[:] = 77
        np.testing.assert_array_equal(t, X.T)
        t[:] = 77
        np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    "body",
    [
        "y = Expand(r, s)",
        "y = Transpose<perm = [1, 0, 2]>(u)",
        "y = Slice(u, minus, low, one, minus)",
        "q = SplitToSequence<axis = 1>(w)\n y = SequenceAt(q, zero)",
    ],
)
def test_outputs_are_in_order_and_can_be_written_into(body: str) -> None:
    """Whatever view they are of whatever else."""
    text = f"""g (float[3,4] x) => (float[A,B,C] y) {{
      s = Constant<value = int64[3] {{2, 3, 4}}>()
      zero = Constant<value = int64 {{0}}>()
      one = Constant<value = int64[1] {{1}}>()
      minus = Constant<value = int64[1] {{-1}}>()
      low = Constant<value = int64[1] {{-99}}>()
      r = Relu(x)
      u = Unsqueeze(r, one)
      w = Expand(r, s)
      {body}
    }}"""
    run = session(text, CPU).run
    wanted = run(None, {"x": X})[0].copy()
    for _ in range(4):
        (y,) = run(None, {"x": X})
        np.testing.assert_array_equal(y, wanted)
        assert y.flags.c_contiguous
        y[...] = 5


def test_discarded_outputs_of_different_sizes() -> None:
    """A kernel writes the outputs that nobody wants, too; each has room of its own, beside what is alive."""
    text = """g (float[N,8] x, float[8] w) => (float[N,1] z) {
      a = ReduceSum(w)
      b = ReduceMax(w)
      c = ReduceMin(w)
      y, m, d = LayerNormalization(x, w)
      p = Add(m, a)
      q = Add(p, b)
      z = Add(q, c)
    }"""
    plan = session(text, CPU).plan
    steps = tuple(
        replace(s, outputs=(DISCARD, s.outputs[1], DISCARD)) if s.operation.operator == "LayerNormalization" else s for s in plan.steps
    )
    program = Program(replace(plan, steps=steps))
    x, w = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32), np.arange(8, dtype=np.float32) - 4
    for _ in range(4):
        np.testing.assert_allclose(program([x, w])[0], x.mean(1, keepdims=True) + w.sum() + w.max() + w.min(), atol=1e-5)


class Twin:
    """Two results for one input, either of which could take the input's memory; the second is written first."""

    def outputs(self, inputs: Sequence[Any]) -> list[Spec]:
        return [Spec(inputs[0].shape, inputs[0].dtype, may_reuse=(0,))] * 2

    def workspace(self, inputs: Sequence[Any]) -> int:
        return 0

    def launch(self, inputs: Sequence[Any], outputs: Sequence[Any] | None, workspace: Any) -> Sequence[Any]:
        assert outputs is not None
        np.add(inputs[0], 1, out=outputs[1])
        outputs[0][...] = 0
        return outputs


def test_two_results_do_not_take_the_same_memory() -> None:
    plan = session("g (float[2,4] x) => (float[2,4] z) { n = Neg(x)\n a, b = Split<num_outputs = 2, axis = 0>(n)\n z = Neg(b) }", CPU).plan
    steps = tuple(replace(s, kernel=Twin(), view_of=None) if s.operation.operator == "Split" else s for s in plan.steps)
    program = Program(replace(plan, steps=steps))
    for _ in range(4):
        np.testing.assert_array_equal(program([X[:2]])[0], X[:2] - 1)


def test_a_constant_operation_with_a_large_and_a_small_result() -> None:
    """Small results are kept for all runs and large ones are not: here both are computed anew."""
    count = STATIC_LIMIT_BYTES // 6
    text = f"""g (float[2] x) => (float[{count}] v, int64[{count}] i) {{
      n = Constant<value = int64[1] {{{count}}}>()
      c = Constant<value = float[1] {{3.0}}>()
      e = Expand(c, n)
      a, b = TopK<axis = 0>(e, n)
      v = Neg(a)
      i = Neg(b)
    }}"""
    run = session(text, CPU).run
    for _ in range(3):
        v, i = run(None, {"x": X[0, :2]})
        assert v[0] == v[-1] == -3
        np.testing.assert_array_equal(i, -np.arange(count))


def test_a_run_after_one_that_failed() -> None:
    """Before, between and after failures, on contexts that were and were not used before."""
    text = "g (float[N] x, int64[1] s) => (float[M] y) { a = Neg(x)\n r = Reshape(a, s)\n y = Relu(r) }"
    run = session(text, CPU).run
    x = np.array([-1, 2, -3], np.float32)
    for size in (3, 5, 3, 5, 3, -1, 7, 3):
        if size in (5, 7):
            with pytest.raises(Fail, match="Reshape"):
                run(None, {"x": x, "s": np.array([size])})
        else:
            np.testing.assert_array_equal(run(None, {"x": x, "s": np.array([size])})[0], [1, 0, 3])


def test_more_signatures_than_are_kept() -> None:
    run = session("g (float[N] x) => (float[N] y) { a = Neg(x)\n b = Exp(a)\n y = Add(a, b) }", CPU).run
    for _ in range(3):
        for size in range(40):
            x = np.arange(size, dtype=np.float32)
            np.testing.assert_allclose(run(None, {"x": x})[0], np.exp(-x) - x, rtol=1e-6)


def test_random_operators_are_run_anew() -> None:
    """Their results depend on nothing and are kept all the same by nobody."""
    run = session("g (float[2] x) => (float[4] y, float[4] z) { r = RandomNormal<shape = [4]>()\n y = Neg(r)\n z = Neg(y) }", CPU).run
    seen = set()
    for _ in range(5):
        y, z = run(None, {"x": X[0, :2]})
        np.testing.assert_array_equal(y, -z)
        seen.add(y.tobytes())
    assert len(seen) == 5


def test_a_loop_that_carries_what_it_captures_and_what_it_was_given() -> None:
    """Body outputs that are formal inputs, in another order, over buffers of the graph around."""
    text = """g (int64 n, float[2] x, float[2] w) => (float[2] a, float[2] b, float[K,2] s) {
      c = Constant<value = bool {1}>()
      h = Neg(x)
      a, b, s = Loop (n, c, h, w) <body = l (int64 i, bool k, float[2] p, float[2] q) => (bool k, float[2] q, float[2] p, float[2] q) {}>
    }"""
    run = session(text, CPU).run
    x, w = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    for count in (1, 2, 0, 3, 2, 2):
        a, b, s = run(None, {"n": np.array(count), "x": x, "w": w})
        np.testing.assert_array_equal(a, w if count % 2 else -x)
        np.testing.assert_array_equal(b, -x if count % 2 else w)
        np.testing.assert_array_equal(s, np.array([-x if i % 2 else w for i in range(count)]).reshape(count, 2))


def test_a_sequence_that_grows_in_a_loop() -> None:
    """Its tensors lie in buffers of iterations that are over."""
    text = """g (int64 n, float[2] x) => (seq(float[2]) s, float[M] y) {
      c = Constant<value = bool {1}>()
      e = SequenceEmpty()
      h = Neg(x)
      s, l = Loop (n, c, e, h) <body = b (int64 i, bool k, seq(float[2]) p, float[2] q) => (bool k2, seq(float[2]) p2, float[2] q2) {
        k2 = Identity(k)
        q2 = Add(q, q)
        p2 = SequenceInsert(p, q2)
      }>
      y = ConcatFromSequence<axis = 0>(s)
    }"""
    run = session(text, CPU).run
    x = np.array([1, 2], np.float32)
    for count in (1, 3, 3, 2, 3):
        s, y = run(None, {"n": np.array(count), "x": x})
        wanted = [-x * 2 ** (i + 1) for i in range(count)]
        np.testing.assert_array_equal(y, np.concatenate(wanted))
        np.testing.assert_array_equal(s, wanted)
        for tensor in s:
            tensor[:] = 9
        np.testing.assert_array_equal(y, np.concatenate(wanted))
