"""Sin, Cos, Tan, Sinh, Cosh, Tanh and their inverses."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.samples import FLOATS, floats

UNIT = np.linspace(-1, 1, 21)
DOMAINS = {
    "Sin": UNIT * 10, "Cos": UNIT * 10, "Tan": UNIT * 1.5, "Asin": UNIT, "Acos": UNIT, "Atan": UNIT * 50,
    "Sinh": UNIT * 5, "Cosh": UNIT * 5, "Tanh": UNIT * 12, "Asinh": UNIT * 100, "Acosh": UNIT * 10 + 11, "Atanh": UNIT * 0.99,
}  # fmt: skip


def _cases() -> list[Case]:
    cases = []
    for name, domain in DOMAINS.items():
        cases += [
            Case(name, [domain.astype(t)], opset=22 if name != "Tanh" else 13, rtol=1e-2 if t.itemsize == 2 else None) for t in FLOATS
        ]
        cases += [
            Case(name, [np.array([np.nan, np.inf, -np.inf, 2, -2, 0], "f")]),
            Case(name, [floats((2, 0))]),
            Case(name, [np.array(0.5, "f")]),
        ]
    cases.append(Case("Tanh", [floats((3,))], {"consumed_inputs": [0]}, opset=1, expected=[np.tanh(floats((3,)))]))
    return cases


CASES = _cases()
