"""Not, And, Or and Xor."""

from __future__ import annotations

import numpy as np

from tests.cases import Case

A, B = np.array([[True, True, False, False]]), np.array([[True, False, True, False]])
FUNCTIONS = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}


def _cases() -> list[Case]:
    cases = [Case("Not", [x]) for x in (A, np.array(True), np.zeros((0, 2), bool))]
    for name, function in FUNCTIONS.items():
        cases += [Case(name, [A, B]), Case(name, [A, B.T]), Case(name, [A, np.array(True)]), Case(name, [A[:0], B])]
        column = np.array([True, False])
        wide = np.broadcast_to(A[0], (3, 2, 4)).copy()
        expected = [function(wide, column[:, None])]
        cases.append(Case(name, [wide, column], {"broadcast": 1, "axis": 1}, opset=1, expected=expected, note="before NumPy's rules"))
    return cases


CASES = _cases()
