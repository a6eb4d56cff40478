"""Add, Sub, Mul, Div, Mod, Pow, Min, Max, Sum, Mean, Neg, Abs, Sign, Reciprocal."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from tests.cases import Case
from tests.cases.samples import FLOATS, INTEGERS, array, extremes, floats, integers

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SHAPES = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((4,), ()), ((), ()), ((0, 3), (3,)), ((2, 1, 3, 1), (4, 1, 5))]


def _binary() -> list[Case]:
    cases = []
    for name in ("Add", "Sub", "Mul", "Div"):
        cases += [Case(name, [floats(a), floats(b, seed=1)]) for a, b in SHAPES]
        cases += [Case(name, [floats((3, 4), t), floats((4,), t, seed=1)]) for t in FLOATS]
        cases += [
            Case(name, [integers((3, 4), t), integers((4,), t, seed=1, zero=False)], oracle="reference" if name != "Div" else "any")
            for t in INTEGERS
        ]
        cases.append(Case(name, [extremes(np.float32), extremes(np.float32)[::-1].copy()]))
    return cases


def _remainders() -> list[Case]:
    dividends, divisors = np.array([-7, 7, -7, 7, 6, 0]), np.array([3, -3, -3, 3, 3, 5])
    cases = [Case("Mod", [dividends.astype(t), divisors.astype(t)], {"fmod": f}) for t in ("i1", "i2", "i4", "i8") for f in (0, 1)]
    cases += [Case("Mod", [np.abs(dividends).astype(t), np.abs(divisors).astype(t)]) for t in ("u1", "u2", "u4", "u8")]
    cases += [Case("Mod", [floats((3, 4), t), floats((4,), t, seed=1)], {"fmod": 1}) for t in FLOATS]
    halves = np.array([-5.5, 5.5, -5.5, 5.5], "f"), np.array([2, -2, -2, 2], "f")
    cases.append(Case("Mod", halves, opset=28, expected=[np.array([0.5, -0.5, -1.5, 1.5], "f")], note="opset 28 takes floats without fmod"))
    dividends = np.array([5, -5, 5, -5, np.inf, 0, -0.0, 6, -6, 3, np.nan], "f")
    divisors = np.array([np.inf, np.inf, -np.inf, -np.inf, 2, 3, 3, 3, 3, 0, 1], "f")
    rows = dividends[:9].reshape(3, 3)
    with np.errstate(invalid="ignore"):
        cases += [
            Case("Mod", [x, y], opset=28, expected=[np.remainder(x, y)], note="as above")
            for x, y in ((dividends, divisors), (rows, array([2.0])))
        ]
    return cases


def _divisions() -> list[Case]:
    a, b = np.array([-7, 7, -7, 7, -6, -128], "i1"), np.array([2, -2, -2, 2, 2, 1], "i1")
    truncated = [np.array([-3, -3, 3, 3, -3, -128], "i1")]
    cases = [Case("Div", [a, b], expected=truncated, note="truncates, where Python floors")]
    cases += [Case("Div", [a.astype(t), b.astype(t)]) for t in ("i4", "i8")]
    cases.append(Case("Div", [array([1, -1, 0]), array([0, 0, 0])]))
    return cases


def _powers() -> list[Case]:
    base, positive = floats((2, 3)), np.abs(floats((2, 3))) + 0.5
    cases = [Case("Pow", [base, array(e)]) for e in (0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 4.0)]
    cases += [
        Case("Pow", [positive, floats((3,), seed=2)]),
        Case("Pow", [base, array([2.0])]),
        Case("Pow", [array(3.0), array([[2.0, 3.0]])]),
    ]
    cases += [Case("Pow", [base, np.array(e, t)]) for e in (2, 3, 5) for t in ("i4", "i8")]
    cases += [Case("Pow", [np.array([-3, 2, 5], a), np.array([3, 2, 0], b)]) for a in ("i4", "i8") for b in ("i4", "i8", "f4", "f8")]
    cases += [
        Case("Pow", [np.array([1, -1, 2, 4]), np.array([-1, -3, -1, -2])], expected=[np.array([1, -1, 0, 0])], note="cut to integers")
    ]
    cases += [Case("Pow", [np.array([4, 9, 2], "i4"), np.array([0.5, 0.5, 3.0], "f")], expected=[np.array([2, 3, 8], "i4")])]
    cases += [Case("Pow", [floats((5,), t), np.array(e, t)]) for t in FLOATS for e in (2, 3)]
    cases += [Case("Pow", [np.abs(floats((5,), t)), np.array(0.5, t)]) for t in FLOATS]
    cases.append(Case("Pow", [extremes(np.float32), array(2.0)]))
    return cases


def _variadic() -> list[Case]:
    cases = []
    for name in ("Min", "Max", "Sum", "Mean"):
        cases += [Case(name, [floats((2, 3), seed=i) for i in range(count)]) for count in (1, 2, 3, 5)]
        cases += [Case(name, [floats((3,)), floats((2, 1), seed=1), floats((), seed=2)]), Case(name, [floats((0, 2)), floats((2,))])]
        cases += [Case(name, [floats((4,), t, seed=i) for i in range(3)]) for t in FLOATS]
    for name in ("Min", "Max"):
        cases += [Case(name, [integers((4,), t), integers((2, 1), t, seed=1)]) for t in INTEGERS]
        cases.append(Case(name, [array([np.nan, 1.0, -np.inf, np.inf]), array([0.0, np.nan, 1.0, 1.0])]))
    large = np.full(3, 65504, np.float16)
    cases.append(Case("Mean", [large, large], expected=[large], note="the sum does not overflow"))
    return cases


def _early() -> list[Case]:
    """Opsets 1 to 6: `axis` and `broadcast`, for which no oracle is left."""
    a = floats((2, 3, 4, 5))
    along = {(3, 4): (1, (3, 4, 1)), (2,): (0, (2, 1, 1, 1)), (5,): (None, (5,)), (4, 5): (-2, (4, 5)), (1,): (None, (1,)), (): (0, ())}
    cases = []
    for shape, (axis, aligned) in along.items():
        b = floats(shape, seed=1) + 3
        attributes = {"broadcast": 1} if axis is None else {"broadcast": 1, "axis": axis}
        for name, function in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)):
            cases.append(Case(name, [a, b], attributes, opset=6, expected=[function(a, b.reshape(aligned))], note="before NumPy's rules"))
    cases.append(Case("Add", [a, a], {"consumed_inputs": [0, 0]}, opset=1, expected=[a + a]))
    cases.append(Case("Pow", [np.abs(a), array([2.0])], {"broadcast": 1}, opset=1, expected=[a * a]))
    return cases


def _unary() -> list[Case]:
    cases = []
    for name in ("Neg", "Abs", "Sign", "Reciprocal"):
        cases += [Case(name, [floats(shape)]) for shape in ((2, 3), (), (0,), (3, 1, 2))]
        cases += [Case(name, [floats((6,), t)]) for t in FLOATS]
        if name != "Reciprocal":
            cases += [Case(name, [integers((6,), t)], oracle="reference") for t in INTEGERS if name != "Neg" or np.dtype(t).kind == "i"]
        cases.append(Case(name, [extremes(np.float32)]))
    cases.append(Case("Abs", [floats((3,))], {"consumed_inputs": [0]}, opset=1, expected=[np.abs(floats((3,)))]))
    return cases


CASES = [*_binary(), *_divisions(), *_remainders(), *_powers(), *_variadic(), *_early(), *_unary()]
