"""From the second run on a signature is run by a function: what it looks like, and that it keeps every promise of the loop."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import onnxgpu
from onnxgpu.errors import Fail, InvalidArgument, RuntimeException
from onnxgpu.execute import Program
from onnxgpu.float_errors import quietly
from onnxgpu.provider import RunSettings
from onnxgpu.providers.cpu.provider import CPUProvider
from onnxgpu.session import InferenceSession
from tests.models import model, session

CPU = ["CPUExecutionProvider"]
X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
CHAIN = "g (float[2,3] x, float[2,3] w) => (float[2,3] y) { a = Add(x, w)\n b = Relu(a)\n y = Mul(b, w) }"
NON_ZERO = "g (float[6] x) => (int64[2,K] y, float[6] z) { a = Relu(x)\n i = NonZero(a)\n y = Concat<axis=0>(i, i)\n z = Neg(a) }"


def settled(text: str, feeds: Mapping[str, Any]) -> InferenceSession:
    """A session whose signature for `feeds` has its fixed plan."""
    s = session(text, CPU)
    for _ in range(2):
        s.run(None, feeds)
    return s


def test_the_function_is_a_list_of_calls() -> None:
    s = settled(CHAIN, {"x": X, "w": X})
    (source,) = s.programs[0].sources()
    body = [line.strip() for line in source.splitlines()[2:-1]]
    assert body == ["add(v2, v3, v4)", "not_negative(v4, c, c_1, v5)", "v6 = empty()", "multiply(v5, v3, v6)", "return [v6]"]


def test_a_kernel_without_calls_is_launched() -> None:
    x = np.ones((64, 65), np.float32)
    s = settled("g (float[64,65] x) => (float[64,65] y) { a = LpNormalization(x)\n y = Neg(a) }", {"x": x})
    (source,) = s.programs[0].sources()
    assert "launch_LpNormalization([v2], [v3], None)" in source


def test_a_function_kernel_is_one_call_for_many_elements() -> None:
    x = np.ones((64, 65), np.float32)
    s = settled("g (float[64,65] x) => (float[64,65] y) { y = Max(x, x) }", {"x": x})
    (source,) = s.programs[0].sources()
    assert [line.strip() for line in source.splitlines()[2:-1]] == ["v3 = empty()", "launch_Max(v2, v2, v3)", "return [v3]"]


def test_a_function_kernel_is_what_it_calls_for_few_elements() -> None:
    s = settled("g (float[2,3] x, float[2,3] w) => (float[2,3] y) { a = Max(x, w)\n y = Concat<axis=0>(a) }", {"x": X, "w": -X})
    (source,) = s.programs[0].sources()
    assert [line.strip() for line in source.splitlines()[2:-1]] == [
        "maximum(v2, v3, v4)",
        "v5 = empty()",
        "traced(v4, v5)",
        "return [v5]",
    ]


def test_a_softmax_of_a_few_elements_is_plain_calls() -> None:
    s = settled("g (float[2,3] x) => (float[2,3] y) { y = Softmax(x) }", {"x": X})
    assert "launch" not in s.programs[0].sources()[0]
    large = np.linspace(-2, 2, 6000, dtype=np.float32).reshape(2, 3000)
    s = settled("g (float[2,3000] x) => (float[2,3000] y) { y = Softmax(x) }", {"x": large})
    assert "launch_Softmax(" in s.programs[0].sources()[0]


@pytest.mark.parametrize(
    "node",
    [
        "Softmax(x)",
        "LayerNormalization(x, row)",
        "LayerNormalization(x, row, row)",
        "LayerNormalization<axis=0>(x, x)",
        "SimplifiedLayerNormalization(x, row)",
        "MatMul(x, square)",
        "Gemm(x, square)",
        "Gemm<transB=1, alpha=0.5>(x, square, row)",
        "Gemm<alpha=0.5, beta=2.0>(x, variable, row)",
        "Gemm<transB=1, alpha=0.5, beta=0.0>(x, variable, row)",
        "Gemm<transA=1, transB=1>(variable, square, row)",
    ],
)
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_the_plain_calls_give_the_very_bits_of_the_launch(node: str, rows: int) -> None:
    head = (
        f"float[{rows},3] x, float[3,3] variable) => (float[M,3] y) <float[3,3] square = {{1,2,3,4,5,6,7,8,9}}, float[3] row = {{1,2,4}}>"
    )
    s = session(f"g ({head} {{ y = {node} }}", CPU)
    generator = np.random.default_rng(1)
    feeds = {"x": generator.standard_normal((rows, 3), np.float32), "variable": generator.standard_normal((3, 3), np.float32)}
    launched, *called = (s.run(None, feeds)[0] for _ in range(3))
    for result in called:
        assert result.tobytes() == launched.tobytes()


def test_a_view_of_an_input_is_one_call_and_one_copy() -> None:
    s = settled("g (float[2,3] x) => (float[3,2] y) <int64[2] shape = {3,2}> { y = Reshape(x, shape) }", {"x": X})
    (source,) = s.programs[0].sources()
    body = [line.strip() for line in source.splitlines()[2:-1]]
    assert body == ["results = traced(v2)", "v4 = results[0]", "del results", "return [copied(v4)]"]
    x = X.copy()
    (y,) = s.run(None, {"x": x})
    x[:] = 0
    np.testing.assert_array_equal(y, X.reshape(3, 2))


def test_several_views_of_an_input() -> None:
    text = """g (float[2,3] x) => (float[2,1] y, float[3,1] z) <int64[2] lengths = {1,2}, int64[1] axes = {1}> {
        a, b = Split<axis=1>(x, lengths)
        y = Neg(a)
        c = Transpose(x)
        z = ReduceSum<keepdims=1>(c, axes) }"""
    s = settled(text, {"x": X})
    for x in (X, np.asfortranarray(X), X + 1):
        y, z = s.run(None, {"x": x})
        np.testing.assert_array_equal(y, -x[:, :1])
        np.testing.assert_array_equal(z, x.sum(0).reshape(3, 1))


@pytest.mark.parametrize(
    ("node", "limits"),
    [("Neg(x)", 0), ("Reshape(x, shape)", 0), ("Concat<axis=0>(x)", 0), ('Einsum<equation="ij->ij">(x)', 1)],
)
def test_settings_of_threads_are_entered_where_a_kernel_may_ask_for_them(node: str, limits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = onnxgpu.SessionOptions()
    options.intra_op_num_threads = 1
    text = f"g (float[2,3] x) => (float[2,3] y) <int64[2] shape = {{2,3}}, int64 axis = {{0}}> {{ y = {node} }}"
    s = InferenceSession(model(text).SerializeToString(), options, providers=CPU)
    for _ in range(2):
        s.run(None, {"x": X})
    entered: list[RunSettings] = []
    running = CPUProvider.running

    def noted(provider: CPUProvider, settings: RunSettings) -> AbstractContextManager[None]:
        entered.append(settings)
        return running(provider, settings)

    monkeypatch.setattr(CPUProvider, "running", noted)
    s.run(None, {"x": X})
    assert len(entered) == limits


def test_one_function_serves_every_signature_of_its_own() -> None:
    s = session("g (float[N] x) => (float[N] y) { a = Relu(x)\n y = Add(a, x) }", CPU)
    for size in (3, 5, 3, 5, 0, 0, 7):
        x = np.arange(size, dtype=np.float32) - 1
        np.testing.assert_array_equal(s.run(None, {"x": x})[0], np.maximum(x, 0) + x)
    assert len(s.programs[0].sources()) == 3


@pytest.mark.parametrize("name", ["pause", "v3", "results", "s0_0", "lambda", "<lambda>", "c_1", "plain"])
def test_a_function_may_have_any_name(name: str) -> None:
    """It is called all the same, whatever the names in the text are."""

    def function(x: np.ndarray, out: np.ndarray) -> None:
        np.negative(x, out)

    function.__name__ = name

    class Inline:
        def __init__(self, kernel: Any) -> None:
            self.outputs, self.workspace, self.launch = kernel.outputs, kernel.workspace, kernel.launch

        def calls(self, inputs: Any, outputs: Any) -> Any:
            scratch = replace(outputs[0])
            return [(function, (inputs[0], scratch)), (np.positive, (scratch, outputs[0]))]

    plan = session("g (float[2,3] x) => (float[2,3] y) { y = Neg(x) }", CPU).plan
    program = Program(replace(plan, steps=(replace(plan.steps[0], kernel=Inline(plan.steps[0].kernel)),)))
    for _ in range(3):
        np.testing.assert_array_equal(program([X])[0], -X)
    assert "positive(" in program.sources()[0]


def test_an_error_names_the_step_whose_call_raised() -> None:
    s = settled(CHAIN, {"x": X, "w": X})
    (program,) = s.programs
    with pytest.raises(RuntimeException, match=r"running Mul node.*ValueError: lost"):
        _breaking(program, "Mul")([X, X])


def _breaking(program: Program, operator: str) -> Program:
    """The program with a kernel for `operator` that fails from its second launch on."""

    class Broken:
        launches = 0

        def __init__(self, kernel: Any) -> None:
            self.outputs, self.workspace, self._launch = kernel.outputs, kernel.workspace, kernel.launch

        def launch(self, *arguments: Any) -> Any:
            self.launches += 1
            if self.launches > 1:
                raise ValueError("lost")
            return self._launch(*arguments)

    steps = [replace(s, kernel=Broken(s.kernel)) if s.operation.operator == operator else s for s in program.plan.steps]
    broken = Program(replace(program.plan, steps=tuple(steps)))
    broken([X, X])
    return broken


def test_a_run_can_be_ended_between_the_calls() -> None:
    s = settled(CHAIN, {"x": X, "w": X})
    (program,) = s.programs
    seen: list[int] = []

    def pause() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise Fail("enough")

    with pytest.raises(Fail, match=r"FAIL : enough$"):
        program([X, X], pause)
    assert "pause()" in program.sources()[1]
    options = onnxgpu.RunOptions()
    np.testing.assert_array_equal(s.run(None, {"x": X, "w": X}, options)[0], s.run(None, {"x": X, "w": X})[0])


def test_outputs_into_given_memory() -> None:
    """The operator writes into it, from the second run on; the output is the very array."""
    s = session(CHAIN, CPU)
    (program,) = s.programs
    expected = np.maximum(X + X, 0) * X
    for _ in range(4):
        memory = np.full_like(X, 7)
        (y,) = program([X, X], given={0: memory})
        assert y is memory
        np.testing.assert_array_equal(memory, expected)
    assert "def run(pause, v2, v3, v6):" in program.sources()[-1]
    np.testing.assert_array_equal(program([X, X])[0], expected)


@pytest.mark.parametrize("body", ["y = Identity(x)", "y = Constant<value = float[2,3] {1.0,2.0,3.0,4.0,5.0,6.0}>()", "y = Transpose(t)"])
def test_given_memory_where_no_operator_can_write_into_it(body: str) -> None:
    s = session(f"g (float[2,3] x) => (float[2,3] y, float[3,2] t) {{ t = Transpose(x)\n {body} }}", CPU)
    expected = [value.copy() for value in s.run(None, {"x": X})]
    for _ in range(4):
        memory = np.empty_like(X)
        y, t = s.programs[0]([X], given={0: memory})
        assert y is memory
        np.testing.assert_array_equal(y, expected[0])
        np.testing.assert_array_equal(t, expected[1])
        assert not np.shares_memory(t, X)


def test_given_memory_that_an_input_lies_in() -> None:
    """Later steps still read the input: the output is written when all is done."""
    s = session("g (float[6] x) => (float[6] y, float[6] z) { y = Neg(x)\n z = Add(x, y) }", CPU)
    for _ in range(4):
        x = np.arange(6, dtype=np.float32)
        y, z = s.programs[0]([x], given={0: x})
        assert y is x
        np.testing.assert_array_equal(y, -np.arange(6))
        np.testing.assert_array_equal(z, np.zeros(6))


def test_given_memory_with_gaps_and_in_part() -> None:
    s = session("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Exp(x)\n z = Neg(x) }", CPU)
    for _ in range(4):
        memory = np.zeros((2, 6), np.float32)
        y, z = s.programs[0]([X], given={1: memory[:, ::2]})
        np.testing.assert_array_equal(memory[:, ::2], -X)
        np.testing.assert_array_equal(memory[:, 1::2], 0)
        np.testing.assert_allclose(y, np.exp(X), rtol=1e-6)
        assert np.shares_memory(z, memory)


def test_given_memory_of_the_wrong_kind() -> None:
    s = session(CHAIN, CPU)
    for memory in (np.empty((3, 2), np.float32), np.empty((2, 3), np.float64)):
        for _ in range(3):
            with pytest.raises(InvalidArgument, match=r"output y is float32\[2, 3\], but the memory given for it is float"):
                s.programs[0]([X, X], given={0: memory})


def test_a_changed_shape_with_given_memory_and_pauses() -> None:
    s = session(NON_ZERO, CPU)
    generator = np.random.default_rng(0)
    pauses: list[int] = []
    for run in range(12):
        x = np.where(generator.random(6) < (1 if run < 3 else 0.5), 1, -1).astype(np.float32)
        memory = np.empty(6, np.float32)
        y, z = s.programs[0]([x], partial(pauses.append, run) if run % 2 else None, {1: memory})
        np.testing.assert_array_equal(y, np.stack([np.flatnonzero(x > 0)] * 2))
        assert z is memory
        np.testing.assert_array_equal(z, -np.maximum(x, 0))
    assert pauses


def test_sequences_and_optional_values_pass_through() -> None:
    text = """g (float[2,3] x) => (seq(float[A,B]) s, float[A,B] y) {
      one = Constant<value = int64 {1}>()
      s = SplitToSequence<axis = 0>(x, one)
      y = SequenceAt(s, one)
    }"""
    s = session(text, CPU)
    for _ in range(4):
        parts, y = s.run(None, {"x": X})
        np.testing.assert_array_equal(np.concatenate(parts), X)
        np.testing.assert_array_equal(y, X[1:])
        y[...] = 9
        assert not np.shares_memory(parts[1], y)
        parts[0][...] = 9
        np.testing.assert_array_equal(X[0], np.linspace(-2, 2, 6, dtype=np.float32)[:3])


def test_feeds_that_are_not_plain_arrays_give_the_same() -> None:
    s = settled(CHAIN, {"x": X, "w": X})
    expected = s.run(None, {"x": X, "w": X})[0]

    class Derived(np.ndarray):
        pass

    strided = np.zeros((2, 6), np.float32)
    strided[:, ::2] = X
    for other in (X.tolist(), X.view(Derived), strided[:, ::2], np.asfortranarray(X), X.astype(np.dtype("f4"))):
        (y,) = s.run(["y"], {"w": X, "x": other})
        np.testing.assert_array_equal(y, expected)
        assert type(y) is np.ndarray
    with pytest.raises(InvalidArgument, match="Unexpected input data type"):
        s.run(None, {"x": X.astype(np.float64), "w": X})
    with pytest.raises(InvalidArgument, match="Got invalid dimensions"):
        s.run(None, {"x": X.T, "w": X})
    with pytest.raises(InvalidArgument, match="Invalid rank"):
        s.run(None, {"x": X[0], "w": X})
    with pytest.raises(ValueError, match="missing"):
        s.run(None, {"x": X})
    with pytest.raises(InvalidArgument, match="Invalid input name"):
        s.run(None, {"x": X, "w": X, "v": X})


@pytest.mark.parametrize("names", ["y", [1], [["y"]], [None]])
def test_what_is_no_list_of_names_is_refused_every_time(names: Any) -> None:
    s = settled(CHAIN, {"x": X, "w": X})
    for _ in range(2):
        with pytest.raises(TypeError, match="output_names is a list of names"):
            s.run(names, {"x": X, "w": X})


def test_numpys_error_state_is_the_callers_own() -> None:
    """Nothing warns while a model runs, and what the caller set holds before, after, and when a run fails."""
    s = settled("g (float[2] x, float[2] w) => (float[2] y) { y = Div(x, w) }", {"x": np.ones(2, np.float32), "w": np.ones(2, np.float32)})
    bad = {"x": np.array([1, 0], np.float32), "w": np.zeros(2, np.float32)}
    with np.errstate(divide="raise", invalid="warn", over="print"):
        before = np.geterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(s.run(None, bad)[0], [np.inf, np.nan])
        assert np.geterr() == before
        with pytest.raises(ZeroDivisionError):
            quietly(lambda: 1 / 0)
        assert np.geterr() == before
        assert set(quietly(np.geterr).values()) == {"ignore"}


def test_numpys_buffers_are_small_in_a_run_alone() -> None:
    before = np.getbufsize()
    assert quietly(np.getbufsize) < before
    assert np.getbufsize() == before


def test_the_error_state_is_set_without_making_it_anew() -> None:
    from onnxgpu import float_errors

    assert float_errors._FOUND is not None


def test_a_numpy_without_the_variable_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxgpu import float_errors

    monkeypatch.setattr(float_errors, "_FOUND", None)
    assert set(quietly(np.geterr).values()) == {"ignore"}
