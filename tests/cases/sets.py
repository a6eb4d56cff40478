"""NonZero, Compress, Unique."""

import ml_dtypes
import numpy as np

from tests.cases import Case
from tests.cases.element_types import NATIVE, counting

RNG = np.random.default_rng(7)
X = RNG.integers(0, 3, (4, 5)).astype("f")
WORDS = np.array(["b", "a", "b", "", "c", "a"], object)
ROWS = np.array([[1, 0], [0, 5], [1, 0], [0, 2]], "f")
NARROW = np.array([2, 0, 2, 1], ml_dtypes.bfloat16)

CASES = [
    Case("NonZero", [X]),
    Case("NonZero", [np.array(3, "f")]),
    Case("NonZero", [np.array(0, "f")]),
    Case("NonZero", [counting((0, 3))]),
    Case("NonZero", [RNG.integers(0, 2, (2, 3, 1, 4, 900)).astype("f")]),
    *(Case("NonZero", [X.astype(kind)], opset=9) for kind in ("bool", "int32", "int64", "uint8")),
    Case("NonZero", [NARROW], expected=[np.array([[0, 2, 3]])], note="onnxruntime takes no bfloat16"),
    *(Case("Compress", [X, np.array([True, False, True])], {"axis": axis}) for axis in (0, 1, -1)),
    Case("Compress", [X, np.array([False, True, True, False, True])]),
    Case("Compress", [X, np.array([False, True] * 4)], {"axis": 0}, expected=[X[[1, 3]]], note="longer than the axis"),
    Case("Compress", [counting((3, 2), "object"), np.array([True, False, True])], {"axis": 0}, opset=9),
    Case("Compress", [X, np.zeros(0, bool)], {"axis": 1}),
    Case("Compress", [RNG.normal(size=(2, 5000, 4)).astype("f"), RNG.integers(0, 2, 5000) > 0], {"axis": 1}),
    Case("Compress", [RNG.normal(size=(3, 7)).astype("float16"), RNG.integers(0, 2, 21) > 0], oracle="reference"),
    *(Case("Unique", [X], {"sorted": s}, outputs=4) for s in (0, 1)),
    *(Case("Unique", [WORDS], {"sorted": s}, outputs=4) for s in (0, 1)),
    *(Case("Unique", [ROWS], {"sorted": s, "axis": axis}, outputs=4) for s in (0, 1) for axis in (0, 1, -1)),
    Case("Unique", [RNG.integers(0, 2, (3, 7, 2)).astype("f")], {"axis": 1}, outputs=4),
    Case(
        "Unique",
        [WORDS.reshape(3, 2)],
        {"axis": 0},
        outputs=4,
        expected=[np.array([["b", ""], ["b", "a"], ["c", "a"]], object), np.array([1, 0, 2]), np.array([1, 0, 2]), np.ones(3, np.int64)],
    ),
    Case("Unique", [counting((0,))], outputs=4),
    Case("Unique", [counting((0, 3))], {"axis": 0}, outputs=4),
    Case("Unique", [X]),
    *(Case("Unique", [RNG.integers(0, 900, (50, 70)).astype("f")], {"sorted": s}, outputs=4) for s in (0, 1)),
    Case("Unique", [np.array([2.0, np.nan, -0.0, np.inf, 0.0, np.nan, 2.0], "f")], outputs=4, oracle="reference"),
    Case("Unique", [X], outputs=3),
    *(Case("Unique", [X.astype(kind)], outputs=4, oracle="reference") for kind in (d.name for d in NATIVE if d.kind != "O")),
    Case(
        "Unique",
        [NARROW],
        {"sorted": 0},
        outputs=2,
        expected=[NARROW[[0, 1, 3]], np.array([0, 1, 3])],
        note="onnxruntime takes no bfloat16",
    ),
    Case("Unique", [np.array([3, 1, 3, 2], "f")], domain="com.microsoft", opset=1, outputs=3),
]
