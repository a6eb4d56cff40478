"""Gather, GatherElements, GatherND, OneHot, ReverseSequence."""

import numpy as np

from tests.cases import Case
from tests.cases.element_types import ALL, counting

I64 = np.int64
X = counting((3, 4, 5))
BATCHED = counting((2, 3, 4))


def ints(*values: int) -> np.ndarray:
    return np.array(values, I64)


def _of_type(dtype: np.dtype) -> list[Case]:
    x, at = counting((4,), dtype), ints(3, -4, 1)
    return [Case(name, [x, at], expected=[x[at]]) for name in ("Gather", "GatherElements")]


CASES = [
    *(Case("Gather", [X, np.array(i, I64)], {"axis": axis}) for i, axis in [(0, 0), (2, 1), (-1, 2), (-1, -1), (1, -3)]),
    *(Case("Gather", [X, ints(2, 0, -1)], {"axis": axis}) for axis in (0, 1, 2, -1)),
    Case("Gather", [X, np.array([[0, 1], [2, -3]], np.int32)], {"axis": 1}),
    Case("Gather", [X, np.zeros((0, 2), I64)], {"axis": 1}),
    Case("Gather", [counting((3, 0)), ints(1, 2)]),
    Case("Gather", [counting((0, 3)), np.zeros(0, I64)]),
    Case("Gather", [X, ints(1)], opset=1),
    Case("Gather", [ints(2, 3, 4), np.array(1, I64)]),
    Case("Gather", [ints(2, 3, 4), ints(-1)]),
    *(case for d in ALL for case in _of_type(d)),
    *(
        Case("GatherElements", [X, np.random.default_rng(0).integers(-size, size, shape)], {"axis": axis})
        for axis, size, shape in [(0, 3, (2, 4, 5)), (1, 4, (3, 7, 5)), (2, 5, (3, 4, 2)), (-1, 5, (1, 2, 3)), (-3, 3, (5, 1, 1))]
    ),
    Case("GatherElements", [X, np.zeros((3, 0, 5), np.int32)], {"axis": 1}),
    Case("GatherElements", [counting((4,)), np.array([0, -1, 2], np.int32)], opset=11),
    Case("GatherND", [BATCHED, ints(1)]),
    Case("GatherND", [BATCHED, np.array([[0, 1], [-1, -2]], I64)]),
    Case("GatherND", [BATCHED, np.array([[[0, 1, 2]], [[1, 0, -1]]], I64)]),
    Case("GatherND", [BATCHED, np.array([[1], [2]], I64)], {"batch_dims": 1}),
    Case("GatherND", [BATCHED, np.array([[[1, 3], [0, 0]], [[2, -1], [1, 1]]], I64)], {"batch_dims": 1}),
    Case("GatherND", [BATCHED, np.random.default_rng(1).integers(-4, 4, (2, 3, 1))], {"batch_dims": 2}),
    Case("GatherND", [BATCHED, np.zeros((0, 2), I64)], oracle="reference"),
    Case("GatherND", [BATCHED, np.array([[0, 1]], I64)], opset=11),
    Case("GatherND", [counting((2, 2), "object"), np.array([[0, 1], [1, 0]], I64)]),
    *(Case("OneHot", [ints(0, 2, -1, 5, -9), np.array(3), np.array([2, 7], "f")], {"axis": axis}) for axis in (-1, 0, 1)),
    Case("OneHot", [np.array([[1, 0], [2, 2]], "f"), np.array([3], "f"), np.array([0, 1], "f")], {"axis": 1}),
    Case("OneHot", [np.array([[1, 0]], np.int32), np.array(2, np.int32), np.array([0, 1], "f")], opset=9),
    Case("OneHot", [ints(1, 0), np.array(2), np.array(["off", "on"], object)]),
    Case("OneHot", [np.array(1, I64), np.array(2), np.array([0, 1], "f")], oracle="reference"),
    Case(
        "OneHot",
        [np.array([1, 9], np.uint8), np.array(2, np.uint8), np.array([False, True])],
        expected=[np.array([[False, True], [False, False]])],
        note="onnxruntime takes no uint8 indices",
    ),
    Case("ReverseSequence", [counting((4, 3)), ints(4, 2, 1)]),
    Case("ReverseSequence", [counting((3, 4, 2)), ints(0, 2, 4)], {"batch_axis": 0, "time_axis": 1}),
    Case("ReverseSequence", [counting((4, 3), "object"), ints(4, 3, 2)], opset=10),
]
