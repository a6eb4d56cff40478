"""Softmax and LogSoftmax in both meanings of their axis."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal

_X = normal(2, 3, 4)

CASES = [
    case
    for name in ("Softmax", "LogSoftmax")
    for case in (
        Case(name, [_X]),
        Case(name, [_X], {"axis": 0}),
        Case(name, [_X], {"axis": -2}, opset=13),
        Case(name, [_X], opset=11),
        Case(name, [_X], {"axis": 2}, opset=9),
        Case(name, [_X], {"axis": -2}, opset=11),
        Case(name, [_X * 100], {"axis": 1}),
        Case(name, [_X.astype(np.float64)]),
        Case(name, [_X.astype(np.float16)]),
        Case(name, [np.zeros((0, 3), "f")]),
        Case(name, [normal(33, 13)]),
        Case(name, [normal(3, 260).astype(np.float16)]),
        Case(name, [normal(2, 17000)], rtol=1e-4, atol=1e-5),
        Case(name, [normal(1, 16391)], rtol=1e-4, atol=1e-5),
        Case(name, [normal(2, 90, 7)], {"axis": 1}),
    )
]
