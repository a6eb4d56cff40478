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
    )
]
