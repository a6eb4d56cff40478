"""Equal, Greater, Less, GreaterOrEqual, LessOrEqual, IsNaN, IsInf and Where."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.samples import FLOATS, INTEGERS, array, extremes, floats, integers

WORDS = np.array(["a", "b", "ü", ""], object)
OTHER_WORDS = np.array([["a"], ["ü"]], object)
PLAIN = [np.float16, np.float32, np.float64]
SIGNS = [{"detect_negative": 0}, {"detect_positive": 0}, {"detect_negative": 0, "detect_positive": 0}, {}]


def _comparisons() -> list[Case]:
    cases = []
    for name in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
        a = np.round(floats((3, 4)))
        cases += [Case(name, [a, np.round(floats(shape, seed=1))]) for shape in ((3, 4), (4,), (3, 1), ())]
        cases += [Case(name, [integers((3, 4), t), integers((4,), t, seed=1)], oracle="reference") for t in INTEGERS]
        cases += [Case(name, [np.round(floats((9,), t)), np.round(floats((9,), t, seed=1))], oracle="reference") for t in FLOATS]
        cases += [Case(name, [extremes(np.float32), extremes(np.float32)[:, None]]), Case(name, [a[:0], a[:1]])]
    cases += [Case("Equal", [np.array([True, False]), np.array([[True], [False]])])]
    cases += [Case("Equal", [WORDS, WORDS[::-1].copy()]), Case("Equal", [WORDS, OTHER_WORDS])]
    a = integers((2, 3, 4), "i4")
    column = a[0, :, 0].copy()
    cases.append(
        Case("Equal", [a, column], {"broadcast": 1, "axis": 1}, opset=1, expected=[a == column[:, None]], note="before NumPy's rules")
    )
    return cases


def _special() -> list[Case]:
    values = np.array([np.nan, np.inf, -np.inf, 0, 1, -1])
    cases = [Case("IsNaN", [values.astype(t)], opset=20, oracle="reference") for t in PLAIN]
    cases += [Case("IsInf", [values.astype(t)], a, opset=20, oracle="reference") for t in PLAIN for a in SIGNS]
    cases += [Case("IsNaN", [array(np.nan)]), Case("IsInf", [floats((0, 1))])]
    return cases


def _choices() -> list[Case]:
    condition = np.array([[True, False, True], [False, False, True]])
    cases = [Case("Where", [condition, floats((2, 3), t), floats((2, 3), t, seed=1)], oracle="reference") for t in FLOATS]
    cases += [Case("Where", [condition, integers((2, 3), t), integers((3,), t, seed=1)], oracle="reference") for t in INTEGERS]
    cases += [
        Case("Where", [condition, floats((3,)), floats((), seed=1)]),
        Case("Where", [np.array(True), floats((2, 2)), floats((2, 2), seed=1)]),
    ]
    cases += [
        Case("Where", [condition[:, :1], floats((1, 3)), floats((4, 1, 1), seed=1)]),
        Case("Where", [condition[:0], floats((3,)), floats((3,))]),
    ]
    cases += [Case("Where", [condition, np.array("x", object), np.array(["p", "q", "r"], object)])]
    cases += [Case("Where", [condition, condition, ~condition])]
    many = floats((70, 1000))
    for t in ("f2", "f4", "f8", "i1", "i8"):
        cases.append(Case("Where", [many > 0, many.astype(t), np.array(3, t)], oracle="reference"))
        cases.append(Case("Where", [many > 0, np.array(3, t), many.astype(t)], oracle="reference"))
        cases.append(Case("Where", [many > 0, many.astype(t), (many + 1).astype(t)], oracle="reference"))
    cases.append(Case("Where", [many > 0, many + 1j, many * 1j], oracle="reference"))
    return cases


CASES = [*_comparisons(), *_special(), *_choices()]
