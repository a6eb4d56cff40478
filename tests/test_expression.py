"""Expressions: fewer calls than operators say, the same results block by block and call by call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from onnxgpu.provider import Spec
from onnxgpu.providers.cpu.elementwise_operators import COMPOSITES, PRIMITIVES, elementwise_operators
from onnxgpu.providers.cpu.expression import Expression

GENERATOR = np.random.default_rng(0)
NEGATED = ["Sub", "Exp", "Add", "Div"]


def called(
    steps: Sequence[str], inputs: Sequence[np.ndarray], shape: tuple[int, ...], dtype: Any = np.float32
) -> tuple[np.ndarray, list[str]]:
    """The result of the calls, and their names."""
    expression = Expression(steps)
    out = Spec(shape, np.dtype(dtype))
    asked = [Spec(x.shape, x.dtype) for x in inputs]
    calls = expression.calls(asked, out)
    assert calls is not None
    memory: dict[int, np.ndarray] = {id(spec): x for spec, x in zip(asked, inputs, strict=True)} | {id(out): np.full(shape, np.nan, dtype)}
    for function, arguments in calls:
        for argument in arguments:
            if isinstance(argument, Spec) and id(argument) not in memory:
                memory[id(argument)] = np.full(argument.shape, np.nan, argument.dtype)
        with np.errstate(all="ignore"):
            function(*(memory[id(a)] if isinstance(a, Spec) else a for a in arguments))
    return memory[id(out)], [function.__name__ for function, _ in calls]


def evaluated(steps: Sequence[str], inputs: Sequence[np.ndarray], shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    out = np.full(shape, np.nan, dtype)
    with np.errstate(all="ignore"):
        Expression(steps).evaluate(inputs, out)
    return out


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        (["Sigmoid 0"], ["negative", "exp", "add", "divide"]),
        (["Sigmoid 0", "Sigmoid %0"], ["negative", "exp", "add", "divide", "exp", "add", "divide"]),
        (["Sub 0 1", "Sigmoid %0"], ["subtract", "exp", "add", "divide"]),
        (["Mul 0 =2", "Sigmoid %0"], ["multiply", "exp", "add", "divide"]),
        (["Add 0 =2", "Sigmoid %0"], ["subtract", "exp", "add", "divide"]),
        (["Sigmoid 0", "Mul %0 1"], ["negative", "exp", "add", "divide"]),
        (["Mul 0 1", "Sigmoid %0"], ["multiply", "negative", "exp", "add", "divide"]),
        (
            ["Mul 0 1", "Sigmoid %0", "Mul %1 1", "Sigmoid %2"],
            ["negative", "multiply", "exp", "add", "divide", "exp", "add", "divide"],
        ),
        (["Add 0 1", "Sigmoid %0", "Add %1 1", "Sigmoid %2"], ["negative", *["subtract", "exp", "add", "divide"] * 2]),
        (["Mul 0 1", "Sigmoid %0", "Add %0 %1"], ["multiply", "negative", "exp", "add", "divide", "add"]),
        (["QuickGelu 0 =1.5"], ["multiply", "exp", "add", "divide"]),
        (["Neg 0", "Exp %0", "Add %0 %1"], ["negative", "exp", "add"]),
        (["Sigmoid 0", "Mul %0 %0"], ["negative", "exp", "add", "divide", "multiply"]),
    ],
    ids=str,
)
def test_no_more_calls_than_needed(steps: list[str], names: list[str]) -> None:
    inputs = [GENERATOR.standard_normal((2, 3)).astype(np.float32) for _ in range(Expression(steps).inputs)]
    result, called_names = called(steps, inputs, (2, 3))
    assert called_names == names
    np.testing.assert_allclose(result, exactly(steps, inputs), rtol=1e-6)


def exactly(steps: Sequence[str], inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The steps one by one in float64."""
    functions: dict[str, Any] = {
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "QuickGelu": lambda x, alpha: x / (1 + np.exp(-alpha * x)),
        "Neg": np.negative,
        "Exp": np.exp,
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
    }
    results: list[Any] = []
    for step in steps:
        name, *words = step.split()
        operands = [
            float(w[1:]) if w[0] == "=" else results[int(w[1:])] if w[0] == "%" else inputs[int(w)].astype(np.float64) for w in words
        ]
        results.append(functions[name](*operands))
    return np.asarray(results[-1])


@pytest.mark.parametrize("name", sorted(elementwise_operators()))
@pytest.mark.parametrize("shapes", [[(2, 3)] * 3, [(2, 3), (3,), ()], [(3,), (2, 1), (1,)], [(), (2, 3), (1, 1)]], ids=str)
def test_calls_give_what_blocks_give(name: str, shapes: list[tuple[int, ...]]) -> None:
    count = PRIMITIVES[name].operands if name in PRIMITIVES else COMPOSITES[name][1]
    inputs = [np.asarray(np.abs(GENERATOR.standard_normal(shape)) + 0.1, np.float32) for shape in shapes[:count]]
    steps = [" ".join((name, *map(str, range(count)))), "Add %0 0"]
    shape = np.broadcast_shapes(*(x.shape for x in inputs))
    np.testing.assert_allclose(called(steps, inputs, shape)[0], evaluated(steps, inputs, shape), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sigmoid_is_right_far_from_zero(dtype: Any) -> None:
    """To the last bits where it is nearly 0, and neither NaN nor a number beyond 1 where exp overflows."""
    x = np.array([-1e4, -100, -87, -20, -1e-3, 0, 1e-3, 20, 100, 1e4, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        wide = np.exp(x.astype(np.longdouble))
        expected = np.where(x > 0, 1 / (1 + 1 / wide), wide / (1 + wide)).astype(dtype)
    tiny = np.finfo(dtype).tiny
    for steps, inputs in (
        (["Sigmoid 0"], [x]),
        (["Mul 0 1", "Sigmoid %0"], [x, np.ones_like(x)]),
        (["Sub 0 1", "Sigmoid %0"], [x, np.zeros_like(x)]),
    ):
        result = called(steps, inputs, x.shape, dtype)[0]
        np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(dtype).eps, atol=tiny)


def test_the_result_may_lie_in_an_input() -> None:
    """Where nobody reads the input any more, the plan gives its memory to the result."""
    expression = Expression(["Mul 0 1", "Sigmoid %0", "Add %1 0"])
    x, w = (GENERATOR.standard_normal((2, 3)).astype(np.float32) for _ in range(2))
    expected = evaluated(["Mul 0 1", "Sigmoid %0", "Add %1 0"], [x, w], (2, 3))
    spec, other, out = (Spec((2, 3), np.dtype(np.float32)) for _ in range(3))
    memory = {id(spec): x, id(other): w, id(out): x}
    for function, arguments in expression.calls([spec, other], out) or ():
        function(*(memory.setdefault(id(a), np.empty((2, 3), np.float32)) if isinstance(a, Spec) else a for a in arguments))
    np.testing.assert_array_equal(x, expected)


def test_scratch_memory_is_taken_only_while_an_input_is_still_read() -> None:
    for steps, wanted in ((["Sigmoid 0"], 0), (["Add 0 1", "Sigmoid %0"], 0), (["Silu 0"], 1), (["Mul 0 1", "Sigmoid %0", "Mul %1 0"], 1)):
        inputs = [Spec((2, 3), np.dtype(np.float32)) for _ in range(Expression(steps).inputs)]
        out = Spec((2, 3), np.dtype(np.float32))
        used = {id(a) for _, arguments in Expression(steps).calls(inputs, out) or () for a in arguments if isinstance(a, Spec)}
        assert len(used - {id(spec) for spec in (*inputs, out)}) == wanted, steps


def test_large_results_are_left_to_blocks() -> None:
    expression = Expression(["Add 0 1", "Relu %0"])
    large, medium, empty = (Spec(shape, np.dtype(np.float32)) for shape in ((1000, 1000), (600, 600), (0, 4)))
    assert expression.calls([large, large], large) is None
    assert expression.calls([empty, empty], empty) is None
    assert expression.calls([medium, medium], medium) is None
    assert len(Expression(["Add 0 1"]).calls([medium, medium], medium) or ()) == 1
    assert Expression(["Add 0 1"]).calls([large, large], large) is None


def test_the_sign_of_a_constant_zero_is_kept() -> None:
    x = np.array([1.0, -1.0], np.float32)
    np.testing.assert_array_equal(called(["Div 0 =0.0"], [x], (2,))[0], [np.inf, -np.inf])
    np.testing.assert_array_equal(called(["Div 0 =-0.0"], [x], (2,))[0], [-np.inf, np.inf])
