"""ScatterElements, Scatter, ScatterND, TensorScatter."""

import ml_dtypes
import numpy as np

from tests.cases import Case
from tests.cases.element_types import ALL, counting

I64 = np.int64
X = counting((3, 4))
REDUCTIONS = ("none", "add", "mul", "max", "min")
RNG = np.random.default_rng(3)
CACHE, UPDATE = counting((2, 3, 5, 2)), -1 - counting((2, 3, 2, 2))


def _elements(axis: int, shape: tuple[int, ...], reduction: str, kind: str = "float32", opset: int = 18) -> Case:
    size = X.shape[axis]
    at = RNG.integers(-size, size, shape)
    if reduction == "none":
        at = np.argsort(RNG.random(shape), axis)
    updates = RNG.integers(0, 9, shape).astype(kind)
    attributes = {"axis": axis} | ({"reduction": reduction} if opset >= 16 else {})
    return Case("ScatterElements", [X.astype(kind), at, updates], attributes, opset=opset)


def _slices(depth: int, count: int, reduction: str, kind: str = "float32", opset: int = 18) -> Case:
    x = counting((3, 4, 2), kind)
    rows = RNG.permutation(int(np.prod(x.shape[:depth])))[:count] if reduction == "none" else RNG.integers(0, 3, count)
    at = np.stack(np.unravel_index(rows, x.shape[:depth]), -1).astype(I64)
    return Case("ScatterND", [x, at, RNG.integers(0, 9, (count, *x.shape[depth:])).astype(kind)], {"reduction": reduction}, opset=opset)


def _of_type(dtype: np.dtype) -> list[Case]:
    x, new = counting((3,), dtype), counting((4,), dtype)[1:2]
    expected = np.array([x[0], x[1], new[0]], dtype)
    return [
        Case("ScatterElements", [x, np.array([-1]), new], expected=[expected]),
        Case("ScatterND", [x, np.array([[-1]]), new], expected=[expected]),
    ]


CASES = [
    *(_elements(axis, shape, reduction) for reduction in REDUCTIONS for axis, shape in [(0, (2, 4)), (1, (3, 4)), (-1, (2, 3))]),
    *(_elements(0, (3, 4), reduction, kind) for reduction in REDUCTIONS for kind in ("int32", "float16", "float64")),
    _elements(1, (3, 2), "none", opset=11),
    _elements(0, (3, 2), "add", opset=16),
    Case("ScatterElements", [X, np.zeros((0, 4), np.int32), np.zeros((0, 4), "f")]),
    Case("Scatter", [X, np.array([[0, 2]]), np.array([[9, 8]], "f")], {"axis": 1}, opset=9),
    *(_slices(depth, count, reduction) for reduction in REDUCTIONS for depth, count in [(1, 2), (2, 5), (3, 6)]),
    *(_slices(1, 4, reduction, kind) for reduction in REDUCTIONS[1:] for kind in ("int64", "float16", "float64")),
    Case("ScatterND", [X, np.array([[1], [0]]), -X[:2]], opset=11),
    Case("ScatterND", [X, np.zeros((0, 1), I64), np.zeros((0, 4), "f")]),
    Case("ScatterND", [X, np.array([[[0, 1], [-1, -1]]]), np.array([[7, 8]], "f")]),
    Case(
        "ScatterND",
        [counting((3,), ml_dtypes.bfloat16), np.array([[1], [1]]), np.ones(2, ml_dtypes.bfloat16)],
        {"reduction": "add"},
        expected=[np.array([0, 3, 2], ml_dtypes.bfloat16)],
        note="onnxruntime takes no bfloat16",
    ),
    *(case for d in ALL for case in _of_type(d)),
    Case("TensorScatter", [CACHE, UPDATE], opset=24, oracle="reference"),
    Case("TensorScatter", [CACHE, UPDATE, np.array([3, 0])], opset=24, oracle="reference"),
    Case("TensorScatter", [CACHE, UPDATE, np.array([4, 1])], {"mode": "circular"}, opset=24, oracle="reference"),
    Case("TensorScatter", [CACHE, -CACHE[:, :1], np.array([2, 1])], {"axis": 1}, opset=24, oracle="reference"),
]
