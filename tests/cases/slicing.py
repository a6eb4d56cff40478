"""Slice."""

import numpy as np

from tests.cases import Case
from tests.cases.element_types import ALL, counting

MAX, MIN = np.iinfo(np.int64).max, np.iinfo(np.int64).min
X = counting((4, 5, 6))


def _case(starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None, kind: str = "int64") -> Case:
    given = [None if values is None else np.array(values, kind) for values in (starts, ends, axes, steps)]
    while given[-1] is None:
        given.pop()
    return Case("Slice", [X, *given])


CASES = [
    _case([0], [2]),
    _case([1, 2], [3, 4]),
    _case([1, 2, 3], [MAX, MAX, MAX]),
    _case([-2], [MAX], [-1]),
    _case([-100], [100], [1]),
    _case([3], [1], [0]),
    _case([4], [9], [0]),
    _case([MAX], [MIN], [2], [-1]),
    _case([-1], [MIN], [2], [-1]),
    _case([4], [0], [2], [-2]),
    _case([100], [-100], [2], [-3]),
    _case([-1], [-4], [1], [-1]),
    _case([0, 1], [MAX, -1], [2, 0], [2, 1]),
    _case([0], [6], [2], [100]),
    _case([5], [0], [2], [-100]),
    _case([MIN], [MIN], [2], [-1]),
    _case([3], [MAX], [2], [-1]),
    _case([1, 0], [2, 4], [0, -1], [1, 3], "int32"),
    _case([1], [2], None, [1]),
    Case("Slice", [X, np.array([1]), np.array([3]), np.array([2])], opset=10),
    Case("Slice", [X], {"starts": [0, 1], "ends": [2, 10**9]}, opset=1),
    Case("Slice", [X], {"starts": [-3], "ends": [-1], "axes": [2]}, opset=1),
    Case("Slice", [counting((0, 3)), np.array([0]), np.array([5])]),
    Case("Slice", [counting((5,), "int64"), np.array([1]), np.array([2])]),
    *(
        Case(
            "Slice",
            [counting((4,), d), np.array([-1]), np.array([0]), np.array([0]), np.array([-2])],
            expected=[counting((4,), d)[-1:0:-2]],
        )
        for d in ALL
    ),
]
