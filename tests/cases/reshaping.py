"""Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Shape, Size."""

import numpy as np

from tests.cases import Case
from tests.cases.element_types import ALL, counting

I64 = np.int64
X = counting((2, 3, 4))


def ints(*values: int) -> np.ndarray:
    return np.array(values, I64)


CASES = [
    *(Case("Reshape", [X, ints(*shape)]) for shape in [(24,), (-1,), (4, 6), (0, -1), (0, 0, 2, -1), (6, -1, 2), (1, 2, 3, 4)]),
    Case("Reshape", [counting(()), ints(1, 1)]),
    Case("Reshape", [counting((1,)), np.zeros(0, I64)]),
    Case("Reshape", [counting((0, 3)), ints(3, 0)], {"allowzero": 1}, oracle="reference"),
    Case("Reshape", [counting((0, 3)), ints(0, 5)]),
    Case("Reshape", [counting((3, 0)), ints(3, -1)], note="0 elements over 3 rows"),
    Case("Reshape", [X, ints(4, 6)], opset=5),
    Case("Reshape", [X], {"shape": [6, 4]}, opset=1, expected=[X.reshape(6, 4)], note="onnxruntime starts at opset 5"),
    Case("Reshape", [X], {"shape": [0, -1]}, opset=1, expected=[X.reshape(2, 12)], note="onnxruntime starts at opset 5"),
    *(Case("Reshape", [counting((2, 3), d), ints(3, 2)], expected=[counting((2, 3), d).reshape(3, 2)], opset=25) for d in ALL),
    *(Case("Flatten", [X], {"axis": axis}) for axis in (0, 1, 2, 3, -1, -3)),
    Case("Flatten", [counting(())], {"axis": 0}),
    Case("Flatten", [counting((2, 0, 3))]),
    Case("Flatten", [X], opset=1),
    Case("Squeeze", [counting((1, 3, 1, 2))]),
    Case("Squeeze", [counting((1, 3, 1, 2)), ints(0)]),
    Case("Squeeze", [counting((1, 3, 1, 2)), ints(-2, 0)]),
    Case("Squeeze", [counting((1, 1)), ints(0, 1)]),
    Case("Squeeze", [counting((1, 0))]),
    Case("Squeeze", [counting((1, 3, 1, 2))], {"axes": [0, 2]}, opset=1),
    Case("Squeeze", [counting((1, 3, 1, 2))], {"axes": [-2]}, opset=11),
    Case("Squeeze", [counting((1, 3, 1, 2))], opset=11),
    *(Case("Unsqueeze", [X, ints(*axes)]) for axes in [(0,), (-1,), (4, 0), (-1, 1), (2, 0, -1)]),
    Case("Unsqueeze", [counting(()), ints(0)]),
    Case("Unsqueeze", [X], {"axes": [0, 4]}, opset=1),
    Case("Unsqueeze", [X], {"axes": [-1]}, opset=11),
    *(Case("Transpose", [X], {"perm": perm}) for perm in [(0, 1, 2), (2, 0, 1), (1, 0, 2)]),
    Case("Transpose", [X]),
    Case("Transpose", [counting(())]),
    Case("Transpose", [counting((0, 2))], opset=1),
    *(Case("Transpose", [counting((2, 3), d)], expected=[counting((2, 3), d).T]) for d in ALL),
    *(Case("Expand", [counting((3, 1)), ints(*shape)]) for shape in [(3, 4), (2, 1, 4), (1,), (3, 1), (1, 1, 1)]),
    Case("Expand", [counting(()), ints(2, 2)]),
    Case("Expand", [counting((1, 2)), ints(0, 2)]),
    Case("Expand", [counting((2,), "object"), ints(2, 2)], oracle="reference"),
    Case("Expand", [counting((3, 1)), ints(3, 4)], opset=8),
    *(Case("Shape", [X], {"start": start, "end": end}) for start, end in [(0, 3), (1, 2), (-1, 3), (-9, 9), (2, 1), (0, -1)]),
    Case("Shape", [X]),
    Case("Shape", [counting(())]),
    Case("Shape", [counting((0, 2), "object")], opset=1),
    Case("Shape", [X], {"start": 1}, opset=25, oracle="reference"),
    Case("Size", [X]),
    Case("Size", [counting(())]),
    Case("Size", [counting((0, 2))], opset=1),
]
