"""TopK, ArgMax, ArgMin, Hardmax, CumSum, CumProd."""

import ml_dtypes
import numpy as np

from tests.cases import Case
from tests.cases.element_types import counting

RNG = np.random.default_rng(5)
TIES = RNG.integers(0, 4, (3, 5, 4)).astype("f")
LONG = RNG.integers(0, 500, (2, 3000)).astype("f")
MANY = RNG.integers(-300, 300, 9000).astype("f")
NAN = np.array([1, np.nan, 3, 2, np.nan], "f")
NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float64")


def _narrow(operator: str, values: list[float], expected: list[int], **attributes: int) -> Case:
    return Case(
        operator, [np.array(values, ml_dtypes.bfloat16)], attributes, expected=[np.array(expected)], note="onnxruntime takes no bfloat16"
    )


CASES = [
    *(
        Case("TopK", [TIES, np.array([k])], {"axis": axis, "largest": largest}, outputs=2)
        for axis in (0, 1, -1)
        for largest in (0, 1)
        for k in (0, 1, 3)
    ),
    *(Case("TopK", [LONG, np.array([k])], {"largest": largest}, outputs=2) for largest in (0, 1) for k in (1, 5, 100, 2999)),
    Case("TopK", [LONG.T.copy(), np.array([7])], {"axis": 0}, outputs=2),
    *(Case("TopK", [MANY.astype(kind), np.array([k])], outputs=2) for kind in ("f", "int64", "float64") for k in (3, 2500, 9000)),
    Case("TopK", [RNG.integers(0, 9, (300, 7)).astype("f"), np.array([7])], {"largest": 0}, outputs=2),
    Case("TopK", [np.array([0.0, -0.0, 0.0, -1, -np.inf], "f"), np.array([5])], outputs=2, oracle="reference"),
    Case("TopK", [np.zeros((0, 4), "f"), np.array([2])], outputs=2),
    Case("ArgMax", [MANY]),
    Case("ArgMin", [MANY], {"select_last_index": 1}),
    *(
        Case(name, [np.stack([NAN, -NAN])], {"axis": 1}, expected=[np.array([[1], [1]])], note="NaN wins, as in NumPy")
        for name in ("ArgMax", "ArgMin")
    ),
    Case("ArgMax", [RNG.integers(0, 9, (2, 9000, 3)).astype("f")], {"axis": 1, "select_last_index": 1}),
    *(Case("TopK", [NAN, np.array([4])], {"largest": largest}, outputs=2) for largest in (0, 1)),
    *(
        Case("TopK", [np.concatenate([NAN, LONG[0]]), np.array([k])], {"largest": largest}, outputs=2)
        for largest in (0, 1)
        for k in (1, 2, 9)
    ),
    *(Case("TopK", [TIES.astype(kind), np.array([3])], outputs=2, oracle="reference") for kind in NUMBERS),
    Case("TopK", [np.array([-(2**63), 2**63 - 1, 0]), np.array([3])], outputs=2),
    Case("TopK", [np.array([0, 2**64 - 1, 2**63], np.uint64), np.array([3])], outputs=2, oracle="reference"),
    Case("TopK", [TIES], {"k": 2, "axis": 1}, outputs=2, opset=1),
    Case("TopK", [TIES, np.array([2])], outputs=2, opset=10),
    Case("TopK", [TIES, np.array([2])], {"sorted": 1}, outputs=2, opset=24, oracle="reference"),
    *(
        Case(name, [TIES], {"axis": axis, "keepdims": keep, "select_last_index": last})
        for name in ("ArgMax", "ArgMin")
        for axis in (0, 1, -1)
        for keep in (0, 1)
        for last in (0, 1)
    ),
    *(Case(name, [TIES.astype(kind)], {"axis": 1}, oracle="reference") for name in ("ArgMax", "ArgMin") for kind in NUMBERS),
    Case("ArgMax", [counting((2, 0, 3))], {"axis": 2}, oracle="reference"),
    Case("ArgMax", [TIES], {"axis": 2}, opset=1),
    Case("ArgMin", [TIES], {"axis": -1, "keepdims": 0}, opset=11),
    _narrow("ArgMax", [1, 3, 3, 2], [1]),
    _narrow("ArgMin", [2, 1, 3, 1], [3], select_last_index=1),
    *(Case("Hardmax", [TIES], {"axis": axis}) for axis in (0, 1, -1)),
    *(Case("Hardmax", [TIES], {"axis": axis}, opset=11) for axis in (0, 1, 2)),
    Case("Hardmax", [TIES], opset=1),
    Case("Hardmax", [TIES.astype("float16")], oracle="reference"),
    *(Case("CumSum", [TIES, np.array(axis)], {"exclusive": e, "reverse": r}) for axis in (0, 1, -1) for e in (0, 1) for r in (0, 1)),
    *(Case("CumSum", [TIES.astype(kind), np.array(1, np.int32)], opset=11) for kind in ("int32", "int64", "float64")),
    *(Case("CumSum", [TIES.astype(kind), np.array(0)], {"reverse": 1}, oracle="reference") for kind in ("float16", "uint32", "uint64")),
    Case("CumSum", [TIES, np.array([1])]),
    *(Case("CumSum", [MANY, np.array(0)], {"exclusive": e, "reverse": r}) for e in (0, 1) for r in (0, 1)),
    *(Case("CumSum", [RNG.integers(-9, 9, shape).astype("int32"), np.array(1)], {"reverse": 1}) for shape in ((2, 9000, 3), (3, 1000))),
    Case("CumSum", [np.ones((2, 0), "f"), np.array(1)], {"exclusive": 1}),
    Case("CumProd", [TIES, np.array(1)], opset=26, oracle="reference"),
    Case("CumProd", [TIES.astype("int64"), np.array(-1)], {"exclusive": 1, "reverse": 1}, opset=26, oracle="reference"),
    Case("CumProd", [TIES.astype("float16"), np.array(0, np.int32)], {"exclusive": 1}, opset=26, oracle="reference"),
]
