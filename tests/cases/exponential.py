"""Exp, Log, Sqrt and Erf."""

from __future__ import annotations

from math import erf

import numpy as np

from tests.cases import Case
from tests.cases.samples import FLOATS, extremes, floats

FINE = np.concatenate([np.linspace(-7, 7, 40_001), [1e-30, -1e-8, 0.0, np.inf, -np.inf, 3e38]])


def _erf(values: np.ndarray) -> np.ndarray:
    return np.array([erf(v) for v in values.tolist()])


def _cases() -> list[Case]:
    cases = []
    for name in ("Exp", "Log", "Sqrt", "Erf"):
        positive = name in ("Log", "Sqrt")
        cases += [Case(name, [np.abs(floats((9,), t)) if positive else floats((9,), t)], opset=13) for t in FLOATS]
        cases += [Case(name, [floats(shape)], opset=13) for shape in ((), (0,), (2, 3, 1))]
        cases.append(Case(name, [extremes(np.float32)], opset=13))
    cases.append(Case("Exp", [floats((3,))], {"consumed_inputs": [0]}, opset=1, expected=[np.exp(floats((3,)))]))
    return cases


CASES = [
    *_cases(),
    Case(
        "Erf",
        [FINE.astype("f")],
        expected=[_erf(FINE.astype("f")).astype("f")],
        rtol=1e-6,
        atol=0,
        note="as close as float32 arithmetic allows",
    ),
    Case("Erf", [FINE], expected=[_erf(FINE)], rtol=1e-15, atol=0, note="closer than onnxruntime is"),
    Case(
        "Erf",
        [np.array([-3, 0, 1, 6], "i4")],
        opset=9,
        expected=[np.array([0, 0, 0, 1], "i4")],
        note="opset 9 takes integers; erf(6) rounds to 1",
    ),
]
