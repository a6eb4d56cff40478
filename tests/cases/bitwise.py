"""BitShift, BitwiseAnd, BitwiseOr, BitwiseXor and BitwiseNot."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.samples import INTEGERS, integers


def _shifts() -> list[Case]:
    cases = []
    for direction in ("LEFT", "RIGHT"):
        for kind in ("u1", "u2", "u4", "u8"):
            x = np.array([16, 4, 1, np.iinfo(kind).max], kind)
            cases.append(Case("BitShift", [x, np.array([1, 2, 3, 1], kind)], {"direction": direction}, opset=11))
            cases.append(Case("BitShift", [x, np.array([[1], [3]], kind)], {"direction": direction}, opset=11))
        for kind in ("i1", "i2", "i4", "i8"):
            bits = np.iinfo(kind).bits
            x, y = np.array([-16, 5, -1, 7, -3, 3], kind), np.array([1, 2, bits, bits, -1, -1], kind)
            shifted = [-8, 1, -1, 0, -1, 0] if direction == "RIGHT" else [-32, 20, 0, 0, 0, 0]
            cases.append(Case("BitShift", [x, y], {"direction": direction}, opset=28, expected=[np.array(shifted, kind)], note="opset 28"))
        for kind in ("u1", "u2", "u4", "u8"):
            bits = np.iinfo(kind).bits
            x, y = np.full(35, np.iinfo(kind).max, kind), np.array([bits, bits + 1, 0, bits - 1, np.iinfo(kind).max] * 7, kind)
            whole, last = np.iinfo(kind).max, 1 if direction == "RIGHT" else 1 << (bits - 1)
            expected = [np.array([0, 0, whole, last, 0] * 7, kind)]
            cases.append(Case("BitShift", [x, y], {"direction": direction}, opset=28, expected=expected, note="large counts"))
    return cases


def _logical() -> list[Case]:
    cases = []
    for kind in INTEGERS:
        a, b = integers((3, 4), kind), integers((4,), kind, seed=1)
        cases += [Case(name, [a, b]) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")]
        cases.append(Case("BitwiseNot", [a]))
    return cases


CASES = [*_shifts(), *_logical()]
