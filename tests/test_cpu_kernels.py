"""The cpu provider's own kernels: constant inputs, fused operators, memory taken over, threads."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from onnxgpu.errors import InvalidArgument, InvalidGraph
from onnxgpu.provider import Claim, Operation, ValueInfo
from onnxgpu.providers.cpu import blas, conv_interleaved, threads
from onnxgpu.providers.cpu.blocks import collapsed
from onnxgpu.providers.cpu.conv import Conv
from onnxgpu.providers.cpu.conv_depthwise import Banded
from onnxgpu.providers.cpu.conv_interleaved import Interleaved
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.conv_shifted import Shifted
from onnxgpu.providers.cpu.elementwise import FusedElementwise, elementwise_operators
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.expression import Expression
from onnxgpu.providers.cpu.geometry import windows
from onnxgpu.providers.cpu.provider import CPUProvider
from tests.cases import Case
from tests.cases.cpu_convolution import CASES as CONVOLUTIONS
from tests.cases.cpu_pooling import CASES as WINDOWED
from tests.cases.cpu_rows import CASES as ROWS
from tests.cases.oracles import expected_outputs
from tests.cases.tolerances import assert_same

RANDOM = np.random.default_rng(5)


def array(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def constant(value: np.ndarray) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        value.flags.writeable = False
        return value

    return load


def claimed(
    operator: str,
    inputs: Sequence[np.ndarray | None],
    attributes: dict[str, Any],
    domain: str,
    version: int,
    constants: Sequence[int] = (),
    shapes: bool = True,
) -> Claim:
    values = tuple(
        None if x is None else ValueInfo(f"x{i}", x.dtype, x.shape if shapes else ("n",) * x.ndim, constant(x) if i in constants else None)
        for i, x in enumerate(inputs)
    )
    fixed = {name: tuple(value) if isinstance(value, list) and name != "expression" else value for name, value in attributes.items()}
    claim = CPUProvider().claim(Operation(operator, values, (ValueInfo("y"),), domain, version, "node", fixed))
    assert isinstance(claim, Claim), claim.reason
    return claim


def run(claim: Claim, inputs: Sequence[np.ndarray | None]) -> np.ndarray:
    kernel = claim.build()
    given = [None if i in claim.absorbed_inputs else x for i, x in enumerate(inputs)]
    specs = kernel.outputs(given)
    outputs = None if specs is None else [np.full(s.shape, 77, s.dtype) for s in specs]
    size = kernel.workspace(given)
    result: np.ndarray = kernel.launch(given, outputs, np.full(size, 255, np.uint8) if size else None)[0]
    return result


def fused(operator: str, inputs: Sequence[np.ndarray | None], **attributes: Any) -> np.ndarray:
    constants = [i for i, x in enumerate(inputs) if i == 1 and x is not None and operator != "FusedElementwise"]
    return run(claimed(operator, inputs, attributes, "onnxgpu", 1, constants), inputs)


@pytest.mark.parametrize("shapes", [True, False])
@pytest.mark.parametrize("case", [*CONVOLUTIONS, *WINDOWED, *ROWS], ids=str)
def test_constant_inputs(case: Case, shapes: bool) -> None:
    """All inputs but the first constant: laid out at build, and not given at run time."""
    claim = claimed(case.operator, case.inputs, dict(case.attributes), case.domain, case.opset, range(1, len(case.inputs)), shapes)
    with np.errstate(all="ignore"):
        assert_same([run(claim, case.inputs)], expected_outputs(case), case.rtol, case.atol)


def test_conv_drops_the_original_weights() -> None:
    x, w = array(1, 4, 32, 32), array(6, 4, 3, 3)
    kernel = claimed("Conv", [x, w], {}, "", 11, [1]).build()
    assert isinstance(kernel, Conv)
    assert kernel._constant is None


def test_pointwise_conv_keeps_no_second_copy() -> None:
    x, w = array(1, 4, 8, 8), array(6, 4, 1, 1)
    kernel = claimed("Conv", [x, w], {}, "", 11, [1]).build()
    assert isinstance(kernel, Conv)
    assert all(np.shares_memory(kept, w) for kept in kernel._laid_out.values())


def test_conv_refuses_channels_that_do_not_match() -> None:
    kernel = claimed("Conv", [array(1, 4, 8, 8), array(6, 4, 3, 3)], {}, "", 11, [1]).build()
    with pytest.raises(InvalidArgument, match=r"expected X of \(N, 4"):
        kernel.workspace([array(1, 5, 8, 8), None])


ACTIVATIONS: list[tuple[str, dict[str, float], Callable[[np.ndarray], np.ndarray]]] = [
    ("", {}, lambda x: x),
    ("Relu", {}, lambda x: np.maximum(x, 0)),
    ("Clip", {"activation_alpha": 0.0, "activation_beta": 6.0}, lambda x: np.clip(x, 0, 6)),
    ("Sigmoid", {}, lambda x: 1 / (1 + np.exp(-x))),
    ("Silu", {}, lambda x: x / (1 + np.exp(-x))),
    ("HardSwish", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("LeakyRelu", {"activation_alpha": 0.1}, lambda x: np.where(x < 0, 0.1 * x, x)),
]


@pytest.mark.parametrize(("activation", "arguments", "function"), ACTIVATIONS, ids=[a[0] or "none" for a in ACTIVATIONS])
@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("kernel", [1, 3])
def test_fused_conv(activation: str, arguments: dict[str, float], function: Callable[..., np.ndarray], group: int, kernel: int) -> None:
    x, w, b = array(2, 8, 17, 19), array(8, 8 // group, kernel, kernel), array(8)
    pads = [kernel // 2] * 4
    plain = Case("Conv", [x, w, b], {"group": group, "pads": pads})
    expected = expected_outputs(plain)[0]
    z = array(*expected.shape)
    result = fused("FusedConv", [x, w, b, z], group=group, pads=pads, activation=activation, **arguments)
    np.testing.assert_allclose(result, function(expected + z), rtol=1e-4, atol=1e-4)
    without = fused("FusedConv", [x, w, None, None], group=group, pads=pads, activation=activation, **arguments)
    np.testing.assert_allclose(without, function(expected - b[:, None, None]), rtol=1e-4, atol=1e-4)


def test_fused_conv_names_an_unknown_activation() -> None:
    with pytest.raises(InvalidGraph, match="'Wobble' is none of"):
        fused("FusedConv", [array(1, 1, 4, 4), array(1, 1, 3, 3)], activation="Wobble")


@pytest.mark.parametrize(("activation", "arguments", "function"), ACTIVATIONS, ids=[a[0] or "none" for a in ACTIVATIONS])
def test_fused_matmul(activation: str, arguments: dict[str, float], function: Callable[..., np.ndarray]) -> None:
    a, b, bias, z = array(2, 5, 7), array(3, 7), array(3), array(2, 5, 3)
    result = fused("FusedMatMul", [a, b, bias, z], transB=1, alpha=0.5, activation=activation, **arguments)
    np.testing.assert_allclose(result, function(0.5 * a @ b.T + bias + z), rtol=1e-4, atol=1e-5)


def test_fused_matmul_gelu() -> None:
    from math import erf

    a, b, bias = array(4, 7), array(7, 9), array(9)
    y = a.astype(float) @ b + bias
    expected = y / 2 * (1 + np.vectorize(erf)(y / np.sqrt(2)))
    np.testing.assert_allclose(fused("FusedMatMul", [a, b, bias], activation="Gelu"), expected, rtol=1e-5, atol=5e-6)


SHAPES = [
    ((3, 5), (3, 5)),
    ((40, 90, 100), (90, 1)),
    ((2, 70, 60, 50), (100,)),
    ((300, 1000), ()),
    ((7, 1, 90, 300), (7, 400, 1, 300)),
    ((0, 4), (4,)),
]


@pytest.mark.parametrize(("first", "second"), [s for s in SHAPES if s[1] != (100,)], ids=str)
def test_fused_elementwise(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    x, y = array(*first), np.asarray(array(*second))
    result = fused(
        "FusedElementwise", [x, y], expression=["Sigmoid 0", "Mul 0 %0", "Add %1 1", "Clip %2 =-0.5 =2", "Sub =1 %3", "Mul %4 %1"]
    )
    swish = x / (1 + np.exp(-x))
    np.testing.assert_allclose(result, (1 - np.clip(swish + y, -0.5, 2)) * swish, rtol=1e-4, atol=1e-5)


def test_fused_elementwise_into_its_own_input() -> None:
    x, y = array(500, 1000), array(1000)
    expected = np.maximum(x * y + x, 0)
    kernel = claimed("FusedElementwise", [x, y], {"expression": ["Mul 0 1", "Add %0 0", "Relu %1"]}, "onnxgpu", 1).build()
    assert isinstance(kernel, FusedElementwise)
    assert kernel.outputs([x, y])[0].may_reuse == (0,)
    kernel.launch([x, y], [x], None)
    np.testing.assert_allclose(x, expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(elementwise_operators()))
def test_every_operator_may_write_over_its_operand(name: str) -> None:
    from onnxgpu.providers.cpu.elementwise_operators import COMPOSITES, PRIMITIVES

    count = PRIMITIVES[name].operands if name in PRIMITIVES else COMPOSITES[name][1]
    expression = Expression([" ".join((name, *map(str, range(count))))])
    values = [np.abs(array(4, 6)) + np.float32(0.1) for _ in range(count)]
    apart = np.empty((4, 6), np.float32)
    with np.errstate(all="ignore"):
        expression.evaluate(values, apart)
        expression.evaluate(values, values[0])
    np.testing.assert_array_equal(values[0], apart)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "at least one step"),
        (["Wobble 0"], "unknown operator 'Wobble'"),
        (["Add 0"], "Add takes 2 operands, 1 are given"),
        (["Add 0 %0"], "operand '%0' is neither"),
        (["Add 0 -1"], "operand '-1' is neither"),
        (["Add 0 =x"], "operand '=x' is neither"),
    ],
)
def test_bad_expressions(steps: list[str], message: str) -> None:
    with pytest.raises(InvalidGraph, match=message):
        Expression(steps)


def test_collapsed_joins_axes() -> None:
    shape, arrays = collapsed((2, 3, 4, 5), [array(2, 3, 4, 5), array(3, 1, 1)])
    assert shape == (2, 3, 20)
    assert [a.shape for a in arrays] == [(2, 3, 20), (1, 3, 1)]


@pytest.mark.parametrize(
    ("operator", "inputs", "steps"),
    [
        ("Softmax", [(400, 500)], {}),
        ("LayerNormalization", [(400, 500), (500,), (500,)], {}),
        ("BatchNormalization", [(1, 4, 9, 9), *[(4,)] * 4], {}),
    ],
)
def test_kernels_may_take_over_their_input(operator: str, inputs: list[tuple[int, ...]], steps: dict[str, Any]) -> None:
    arrays = [np.abs(array(*shape)) for shape in inputs]
    kernel = claimed(operator, arrays, steps, "", 17).build()
    apart = np.empty_like(arrays[0])
    kernel.launch(arrays, [apart], None)
    specs = kernel.outputs(arrays)
    assert specs is not None
    assert specs[0].may_reuse == (0,)
    kernel.launch(arrays, [arrays[0]], None)
    np.testing.assert_array_equal(arrays[0], apart)


def _shared_sum(count: int) -> int:
    seen: list[tuple[int, int]] = []
    threads.share(lambda start, stop: seen.append((start, stop)), count, threads.WORTH_SPLITTING)
    covered = [i for start, stop in sorted(seen) for i in range(start, stop)]
    assert covered == list(range(count))
    return len(seen)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "thread_count", lambda: 2)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [2, 3, 17, 1000])
def test_shared_ranges_cover_everything_once(count: int) -> None:
    assert _shared_sum(count) == 2


@pytest.mark.usefixtures("two_threads")
def test_small_work_stays_in_the_calling_thread() -> None:
    names: list[str] = []
    threads.share(lambda start, stop: names.append(threading.current_thread().name), 10, 1000)
    assert names == [threading.current_thread().name]


@pytest.mark.usefixtures("two_threads")
def test_errors_of_any_thread_reach_the_caller() -> None:
    def fail(start: int, stop: int) -> None:
        raise ValueError(f"part {start}")

    with pytest.raises(ValueError, match="part"):
        threads.share(fail, 10, threads.WORTH_SPLITTING)
    assert _shared_sum(10) == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    _shared_sum(10)
    child = multiprocessing.get_context("fork").Process(target=_shared_sum, args=(10,))
    child.start()
    child.join(20)
    assert child.exitcode == 0


DEPTHWISE = [
    {"pads": (1, 1, 1, 1)},
    {"pads": (0, 3, 2, 1), "strides": (2, 1), "dilations": (1, 2)},
    {"pads": (4, 0, 3, 0), "strides": (1, 3), "dilations": (2, 1)},
    {"strides": (2, 2)},
]


@pytest.mark.parametrize("tile", [1, 1 << 20])
@pytest.mark.parametrize("method", [Banded, Interleaved, Shifted])
@pytest.mark.parametrize("attributes", DEPTHWISE, ids=str)
def test_depthwise_methods(attributes: dict[str, Any], method: type[Any], tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them compute the same, however few rows they take at a time."""
    monkeypatch.setattr(conv_interleaved, "_TILE_ELEMENTS", tile)
    x, w, bias = array(2, 40, 9, 11), array(40, 1, 3, 3), array(40, 1)
    rows, columns = windows(attributes, (3, 3)).axes(x.shape[2:])
    problem = Problem(2, 40, 40, 40, rows, columns, np.dtype(np.float32))
    if method is Shifted and not Shifted.suits(problem):
        pytest.skip("stride 1 alone")
    padded = np.pad(x, ((0, 0), (0, 0), (rows.before, 9), (columns.before, 9)))
    expected = np.zeros((2, 40, rows.output, columns.output))
    for i, j in np.ndindex(3, 3):
        top, left = i * rows.dilation, j * columns.dilation
        down, across = top + rows.output * rows.stride, left + columns.output * columns.stride
        expected += w[:, 0, i, j].reshape(-1, 1, 1) * padded[:, :, top : down : rows.stride, left : across : columns.stride].astype(float)
    residual = array(*expected.shape)
    y = np.full(expected.shape, 77, np.float32)
    chosen = method(problem)
    chosen.run(x, chosen.laid_out(w), y, Epilogue({"activation": "Relu"}), bias, residual, None)
    np.testing.assert_allclose(y, np.maximum(expected + bias.reshape(-1, 1, 1) + residual, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("two_threads")
def test_depthwise_conv_by_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "WORTH_SECONDS", 0.0)
    for case in CONVOLUTIONS:
        if case.attributes.get("group", 1) > 2:
            claim = claimed("Conv", case.inputs, dict(case.attributes), "", 11, [1])
            assert_same([run(claim, case.inputs)], expected_outputs(case), 1e-4, 1e-4)


SIDES = [
    ((7, 5), (5, 9)),
    ((300, 40), (40, 50)),
    ((50, 40), (40, 307)),
    ((3, 4, 50, 40), (3, 4, 40, 30)),
    ((3, 4, 50, 40), (40, 30)),
    ((50, 40), (3, 40, 33)),
]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("first", "second"), SIDES, ids=str)
def test_products_by_two_threads(first: tuple[int, ...], second: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "WORTH_SECONDS", 0.0)
    a, b = array(*first), array(*second)
    expected = a @ b
    wide = np.full((*expected.shape[:-1], expected.shape[-1] + 3), 77, np.float32)
    blas.matmul(a, b, wide[..., 1:-2])
    np.testing.assert_allclose(wide[..., 1:-2], expected, rtol=1e-4, atol=1e-4)
    assert (wide[..., 0] == 77).all()
    assert (wide[..., -2:] == 77).all()


def test_products_without_a_known_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "thread_functions", lambda: None)
    a, b = array(5, 6), array(6, 7)
    out = np.empty((5, 7), np.float32)
    blas.matmul(a, b, out)
    with blas.single_threaded():
        np.testing.assert_allclose(out, a @ b, rtol=1e-5)


def test_the_blas_gets_its_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [6]
    monkeypatch.setattr(blas, "thread_functions", lambda: (lambda: counts[-1], counts.append))
    with blas.single_threaded():
        assert counts[-1] == 1
        with blas.single_threaded():
            assert counts[-1] == 1
        assert counts[-1] == 1
    assert counts[-1] == 6
    with pytest.raises(ValueError, match="given up"), blas.single_threaded():
        raise ValueError("given up")
    assert counts[-1] == 6
