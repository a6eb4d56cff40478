"""Concat, Split, Tile."""

import numpy as np

from tests.cases import Case
from tests.cases.element_types import ALL, counting

I64 = np.int64
X = counting((2, 6, 3))


def ints(*values: int) -> np.ndarray:
    return np.array(values, I64)


def _joined(dtype: np.dtype) -> Case:
    parts = [counting((2, 3), dtype), counting((1, 3), dtype)]
    return Case("Concat", parts, {"axis": 0}, expected=[np.concatenate(parts)])


CASES = [
    *(Case("Concat", [X, X], {"axis": axis}) for axis in (0, 1, 2, -1, -3)),
    Case("Concat", [X], {"axis": 1}),
    Case("Concat", [counting((2, 0)), counting((2, 3)), counting((2, 1))], {"axis": 1}),
    Case("Concat", [counting((0,)), counting((0,))], {"axis": 0}),
    Case("Concat", [ints(1), ints(2, 3), ints(-1)], {"axis": 0}),
    Case("Concat", [X, X], {"axis": 2}, opset=4),
    Case("Concat", [X, X], opset=1, expected=[np.concatenate([X, X], 1)], note="onnxruntime starts at opset 4"),
    *map(_joined, ALL),
    *(Case("Split", [X], {"axis": axis}, outputs=count, opset=13) for axis, count in [(0, 2), (1, 3), (-1, 3), (1, 1)]),
    Case("Split", [X, ints(1, 2, 3)], {"axis": 1}, outputs=3),
    Case("Split", [X, ints(0, 6)], {"axis": -2}, outputs=2),
    Case("Split", [counting((7,))], {"num_outputs": 4}, outputs=4),
    Case("Split", [counting((6,))], {"num_outputs": 4}, outputs=4),
    Case("Split", [counting((6, 2))], {"num_outputs": 3, "axis": 0}, outputs=3, opset=18),
    Case("Split", [counting((0, 2))], {"num_outputs": 2}, outputs=2),
    Case("Split", [X], {"axis": 1, "split": [2, 4]}, outputs=2, opset=2),
    Case("Split", [X], {"axis": -1}, outputs=3, opset=11),
    Case(
        "Split", [X, np.array([2, 4], "f")], {"axis": 1}, outputs=2, opset=1, expected=[X[:, :2], X[:, 2:]], note="too old for onnxruntime"
    ),
    Case("Split", [X], {"axis": 1, "split": [1, 5]}, outputs=2, opset=1, expected=[X[:, :1], X[:, 1:]], note="too old for onnxruntime"),
    *(Case("Split", [counting((4,), d)], outputs=2, opset=13, expected=list(counting((4,), d).reshape(2, 2))) for d in ALL),
    *(Case("Tile", [counting((2, 3)), ints(*repeats)]) for repeats in [(2, 1), (1, 3), (2, 2), (1, 1), (0, 2)]),
    Case("Tile", [counting(()), np.zeros(0, I64)], oracle="reference"),
    Case("Tile", [counting((0, 3)), ints(2, 2)]),
    Case("Tile", [counting((2, 1, 2)), ints(1, 4, 2)], opset=6),
    Case("Tile", [X, np.array(2, "f"), np.array(1, "f")], opset=1, expected=[np.tile(X, (1, 2, 1))], note="too old for onnxruntime"),
    *(Case("Tile", [counting((3,), d), ints(2)], expected=[np.tile(counting((3,), d), 2)]) for d in ALL),
]
