"""Floor, Ceil, Round and Clip."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.samples import FLOATS, INTEGERS, array, extremes, floats, integers

HALVES = np.array([-2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 1.2, -1.2, 1e9, np.nan, np.inf], np.float32)


def _rounded() -> list[Case]:
    cases = []
    for name, opset in (("Floor", 13), ("Ceil", 13), ("Round", 22)):
        cases += [Case(name, [HALVES], opset=opset), Case(name, [floats((0,))], opset=opset), Case(name, [array(1.5)], opset=opset)]
        cases += [Case(name, [floats((9,), t)], opset=opset) for t in FLOATS]
    return cases


def _clipped() -> list[Case]:
    limits = [(None, None), (-1, None), (None, 1), (-1, 1), (2, -2)]
    x = floats((3, 5))
    cases = [Case("Clip", [x, None if a is None else array(a), None if b is None else array(b)], opset=13) for a, b in limits]
    for t in FLOATS:
        cases += [
            Case("Clip", [floats((6,), t), np.array(-1, t), np.array(1, t)], opset=13),
            Case("Clip", [floats((6,), t), None, np.array(1, t)], opset=13),
        ]
    for kind in INTEGERS:
        cases.append(Case("Clip", [integers((6,), kind), np.array(1, kind), np.array(5, kind)], opset=13, oracle="reference"))
    long = floats((9000,))
    cases += [
        Case("Clip", [long, array(0)], opset=13),
        Case("Clip", [long, None, array(0)], opset=13),
        Case("Clip", [long, array(0), array(6)], opset=13),
    ]
    cases += [Case("Clip", [array(5.0), array(0), array(6)], opset=13), Case("Clip", [floats((0,)), array(0), array(6)], opset=13)]
    cases += [Case("Clip", [extremes(np.float32), array(-1), array(1)], opset=13)]
    for t in (np.float32, np.float64):
        cases += [Case("Clip", [extremes(t), *bounds], opset=13, oracle="onnxruntime") for bounds in ([], [np.array(0, t)])]
    cases += [Case("Clip", [x], {"min": -1.0, "max": 1.0}, opset=6), Case("Clip", [x], {"min": 0.0}, opset=6), Case("Clip", [x], opset=6)]
    cases += [Case("Clip", [x], {"max": 1.0, "consumed_inputs": [0]}, opset=1, expected=[np.minimum(x, 1)])]
    return cases


CASES = [*_rounded(), *_clipped()]
