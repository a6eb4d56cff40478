"""DepthToSpace, SpaceToDepth, Col2Im, Trilu."""

import numpy as np

from tests.cases import Case
from tests.cases.element_types import counting

DEEP, WIDE = counting((2, 8, 3, 2)), counting((2, 3, 4, 6))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _to_depth(mode: str) -> np.ndarray:
    n, c, h, w = WIDE.shape
    parts = WIDE.reshape(n, c, h // 2, 2, w // 2, 2)
    return parts.transpose((0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)).reshape(n, c * 4, h // 2, w // 2)


CASES = [
    *(Case("DepthToSpace", [DEEP], {"blocksize": 2, "mode": mode}) for mode in ("DCR", "CRD")),
    Case("DepthToSpace", [DEEP], {"blocksize": 2}, opset=1),
    Case("DepthToSpace", [DEEP.astype("float64")], {"blocksize": 1}),
    Case("SpaceToDepth", [WIDE], {"blocksize": 2}),
    Case("SpaceToDepth", [WIDE], {"blocksize": 2}, opset=1),
    *(
        Case("SpaceToDepth", [WIDE], {"blocksize": 2, "mode": mode}, opset=28, expected=[_to_depth(mode)], note="newer than onnxruntime")
        for mode in ("DCR", "CRD")
    ),
    Case("Col2Im", [counting((1, 5, 5)), ints(5, 5), ints(1, 5)]),
    Case("Col2Im", [counting((2, 12, 9)), ints(4, 4), ints(2, 2)]),
    Case("Col2Im", [counting((1, 9, 4)), ints(5, 5), ints(3, 3)], {"strides": [2, 2]}),
    Case("Col2Im", [counting((1, 4, 25)), ints(5, 5), ints(2, 2)], {"pads": [1, 0, 0, 1]}, oracle="onnxruntime"),
    Case("Col2Im", [counting((1, 4, 9)), ints(5, 5), ints(2, 2)], {"dilations": [2, 2]}),
    Case("Col2Im", [(counting((2, 12, 9)) / 8).astype("float16"), ints(4, 4), ints(2, 2)], oracle="reference"),
    Case("Col2Im", [counting((1, 8, 27)), ints(4, 4, 4), ints(2, 2, 2)]),
    *(Case("Trilu", [counting((2, 3, 4)), np.array(k)], {"upper": upper}) for upper in (0, 1) for k in (-9, -1, 0, 2, 9)),
    Case("Trilu", [counting((4, 3))]),
    Case("Trilu", [counting((0, 3)), np.array([1])], {"upper": 0}),
    *(Case("Trilu", [counting((3, 3), kind)], oracle="reference") for kind in ("bool", "int8", "uint64", "float16", "complex64")),
    Case("Trilu", [counting((2, 2), "object")], expected=[np.array([["é0", "é1"], ["", "é3"]], object)]),
    Case("Trilu", [counting((3, 4))], {"upper": 0}, domain="com.microsoft", opset=1),
]
