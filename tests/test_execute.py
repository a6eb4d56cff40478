"""Runs: the first, the fixed ones after it, and what they return."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import onnxgpu
from onnxgpu.errors import Fail, RuntimeException
from onnxgpu.execute import loop
from tests.models import session

CPU = ["CPUExecutionProvider"]
CHAIN = """g (float[N,4] x) => (float[N,4] z) {
  a = Relu(x)
  b = Add(a, x)
  c = Sigmoid(b)
  t = Transpose<perm=[1,0]>(c)
  u = Transpose<perm=[1,0]>(t)
  z = Mul(u, a)
}"""


def chain(x: np.ndarray) -> np.ndarray:
    a = np.maximum(x, 0)
    return np.asarray(a / (1 + np.exp(-(a + x))), np.float32)


def test_every_run_of_a_signature_gives_the_same() -> None:
    s = session(CHAIN, CPU)
    generator = np.random.default_rng(0)
    for run in range(12):
        x = generator.standard_normal((1 + run % 3, 4)).astype(np.float32)
        np.testing.assert_allclose(s.run(None, {"x": x})[0], chain(x), rtol=1e-6)


def test_inputs_are_left_as_they_were_and_outputs_are_the_callers() -> None:
    s = session(CHAIN, CPU)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    before = x.copy()
    results = [s.run(None, {"x": x})[0] for _ in range(4)]
    expected = results[0].copy()
    results[3][:] = 7
    np.testing.assert_array_equal(results[2], expected)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(s.run(None, {"x": x})[0], expected)


@pytest.mark.parametrize(
    "body",
    [
        "z = Identity(x)",
        "s = Constant<value = int64[1] {-1}>()\n z = Reshape(x, s)",
        "y = Relu(x)\n z = Identity(y)",
        "z = Identity(w)",
        "z = Shape(x)",
    ],
)
def test_outputs_share_memory_with_nothing(body: str) -> None:
    """A caller may write into what it got: neither its inputs, nor weights, nor later results change."""
    kind = "int64[1]" if "Shape(" in body else "float[M]"
    s = session(f"g (float[4] x) => ({kind} z, {kind} again) <float[4] w = {{1.0, 2.0, 3.0, 4.0}}> {{ {body}\n again = Identity(z) }}", CPU)
    x = np.arange(4, dtype=np.float32)
    expected = [value.copy() for value in s.run(None, {"x": x})]
    for _ in range(4):
        first, second = s.run(None, {"x": x})
        np.testing.assert_array_equal(first, expected[0])
        first[...] = 99
        np.testing.assert_array_equal(second, expected[1])
        np.testing.assert_array_equal(x, np.arange(4, dtype=np.float32))


def test_memory_is_reused_only_when_its_value_is_dead() -> None:
    """b may take a's memory only after c has read a, through whatever view."""
    text = """g (float[8] x) => (float[8] z) {
      a = Neg(x)
      s = Constant<value = int64[2] {2, 4}>()
      v = Reshape(a, s)
      b = Abs(a)
      t = Constant<value = int64[1] {8}>()
      c = Reshape(v, t)
      d = Neg(b)
      z = Add(c, d)
    }"""
    s = session(text, CPU)
    x = np.arange(-4, 4, dtype=np.float32)
    for _ in range(4):
        np.testing.assert_array_equal(s.run(None, {"x": x})[0], -x - np.abs(x))


def test_an_operand_that_is_another_view_of_the_reused_memory() -> None:
    """Adding a matrix to its own transpose must not overwrite what the transpose still reads."""
    s = session("g (float[3,3] x) => (float[3,3] z) { a = Neg(x)\n t = Transpose<perm=[1,0]>(a)\n b = Add(a, t)\n z = Relu(b) }", CPU)
    x = np.arange(9, dtype=np.float32).reshape(3, 3) - 4
    for _ in range(4):
        np.testing.assert_array_equal(s.run(None, {"x": x})[0], np.maximum(-x - x.T, 0))


def test_shapes_that_depend_on_values() -> None:
    """The inputs' shapes do not say how many elements are not zero; every run is right all the same."""
    text = """g (float[6] x) => (int64[M] n, float[K] z) {
      i = NonZero(x)
      s = Shape(i)
      p = Neg(i)
      f = Cast<to=1>(p)
      k = Constant<value = int64[1] {-1}>()
      z = Reshape(f, k)
      n = Identity(s)
    }"""
    s = session(text, CPU)
    generator = np.random.default_rng(0)
    for run in range(14):
        x = (generator.random(6) < 0.5).astype(np.float32) if run > 2 else np.ones(6, np.float32)
        n, z = s.run(None, {"x": x})
        np.testing.assert_array_equal(z, -np.flatnonzero(x).astype(np.float32))
        np.testing.assert_array_equal(n, [1, np.count_nonzero(x)])


def test_a_shape_given_as_an_input() -> None:
    s = session("g (float[6] x, int64[2] s) => (float[A,B] z) { y = Relu(x)\n r = Reshape(y, s)\n z = Neg(r) }", CPU)
    x = np.arange(6, dtype=np.float32)
    for shape in ((2, 3), (2, 3), (3, 2), (6, 1), (2, 3), (1, 6)):
        np.testing.assert_array_equal(s.run(None, {"x": x, "s": np.array(shape)})[0], -x.reshape(shape))


def test_a_subset_of_the_outputs_runs_only_what_it_needs() -> None:
    s = session("g (float[2] x) => (float[2] a, float[2] b) { a = Relu(x)\n b = Neg(x) }", CPU)
    x = np.array([-1, 2], np.float32)
    np.testing.assert_array_equal(s.run(["b"], {"x": x})[0], -x)
    b, a = s.run(["b", "a"], {"x": x})
    np.testing.assert_array_equal(a, np.maximum(x, 0))
    np.testing.assert_array_equal(b, -x)


def test_an_overridable_initializer() -> None:
    text = "g (float[2] x, float[2] w = {1.0, 2.0}) => (float[2] z) { z = Add(x, w) }"
    s = session(text, CPU)
    x = np.zeros(2, np.float32)
    np.testing.assert_array_equal(s.run(None, {"x": x})[0], [1, 2])
    np.testing.assert_array_equal(s.run(None, {"x": x, "w": np.array([5, 6], np.float32)})[0], [5, 6])
    np.testing.assert_array_equal(s.run(None, {"x": x})[0], [1, 2])


def test_an_operator_that_fails_is_named() -> None:
    s = session("g (float[N] x, int64[1] s) => (float[M] y) { y = Reshape(x, s) }", CPU)
    with pytest.raises(Fail, match=r"Non-zero status code returned while running Reshape node.*3.*5"):
        s.run(None, {"x": np.ones(3, np.float32), "s": np.array([5])})


def test_a_foreign_error_is_told_with_its_node() -> None:
    class Broken:
        def outputs(self, inputs: object) -> None:
            return None

        def workspace(self, inputs: object) -> int:
            return 0

        def launch(self, inputs: object, outputs: object, workspace: object) -> list[object]:
            raise KeyError("lost")

    from dataclasses import replace

    plan = session("g (float[2] x) => (float[2] y) { y = Relu(x) }", CPU).plan
    steps = [replace(plan.steps[0], kernel=Broken())]
    with pytest.raises(RuntimeException, match=r"running Relu node.*KeyError: 'lost'.*CPUExecutionProvider") as caught:
        loop.run_steps(steps, loop.new_frame(plan, [np.ones(2, np.float32)]))
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_run_can_be_ended() -> None:
    s = session(CHAIN, CPU)
    options = onnxgpu.RunOptions()
    options.terminate = True
    with pytest.raises(Fail, match="Exiting due to terminate flag being set to true"):
        s.run(None, {"x": np.ones((1, 4), np.float32)}, options)


def test_many_threads_share_a_session() -> None:
    s = session(CHAIN, CPU)
    generator = np.random.default_rng(0)
    inputs = [generator.standard_normal((1 + i % 4, 4)).astype(np.float32) for i in range(32)]
    barrier = threading.Barrier(8)

    def work(part: int) -> bool:
        barrier.wait()
        return all(np.allclose(s.run(None, {"x": x})[0], chain(x), rtol=1e-6) for _ in range(20) for x in inputs[part::8])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_control_flow() -> None:
    """A loop over a body that reads an outer value and a constant of its own, with a scan output, repeatedly."""
    text = """g (int64 n, float[2] x, float[2] w) => (float[2] last, float[K,2] all) {
      c = Constant<value = bool {1}>()
      last, all = Loop (n, c, x) <body = b (int64 i, bool k, float[2] v) => (bool k2, float[2] v2, float[2] s) {
        k2 = Identity(k)
        two = Constant<value = float {2.0}>()
        h = Mul(w, two)
        v2 = Add(v, h)
        s = Identity(v2)
      }>
    }"""
    s = session(text, CPU)
    x, w = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    for count in (3, 3, 3, 0, 5):
        last, every = s.run(None, {"n": np.array(count), "x": x, "w": w})
        np.testing.assert_array_equal(last, x + 2 * count * w)
        np.testing.assert_array_equal(every, [x + 2 * (i + 1) * w for i in range(count)] or np.zeros((0, 2)))


def test_options_are_plain_values() -> None:
    with pytest.raises(AttributeError):
        onnxgpu.SessionOptions().no_such_field = 1  # type: ignore[attr-defined]
