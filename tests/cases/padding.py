"""Pad, CenterCropPad, and Pad of com.microsoft."""

import numpy as np

from tests.cases import Case
from tests.cases.element_types import ALL, counting

X = counting((3, 4))
MODES = ("constant", "reflect", "edge", "wrap")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _of_type(dtype: np.dtype) -> Case:
    x = counting((2,), dtype)
    value = counting((2,), dtype)[1:]
    return Case("Pad", [x, ints(1, 1), value.reshape(())], expected=[np.concatenate([value, x, value])], opset=25)


CASES = [
    *(
        Case("Pad", [X, ints(*pads)], {"mode": mode})
        for mode in MODES
        for pads in [(0, 0, 0, 0), (1, 2, 0, 1), (2, 0, 1, 3), (0, -1, 0, 2), (1, -1, 1, -1)]
    ),
    Case("Pad", [X, ints(-1, -1, -1, -1)]),
    Case("Pad", [X, ints(-3, 0, 0, 0)]),
    Case("Pad", [X, ints(1, 1, 1, 1), np.array(7, "f")]),
    Case("Pad", [X, ints(1, 1, 1, 1), np.array([7], "f")]),
    Case("Pad", [X, ints(1, 2), None, ints(1)]),
    Case("Pad", [X, ints(1, 2), np.array(3, "f"), ints(-2)]),
    Case("Pad", [X, ints(1, 2), None, np.array([0], np.int32)], {"mode": "edge"}, opset=18),
    Case("Pad", [X, ints(0, 9, 0, 7)], {"mode": "wrap"}, oracle="reference"),
    Case("Pad", [X, ints(0, 9, 0, 7)], {"mode": "edge"}),
    Case("Pad", [counting((0, 3)), ints(1, 0, 1, 0), np.array(2, "f")]),
    Case("Pad", [counting(()), np.zeros(0, np.int64)], expected=[counting(())], note="no axes to pad"),
    Case("Pad", [counting((1, 2, 3, 4)), ints(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": "reflect"}, opset=13),
    Case("Pad", [counting((2,), "object"), ints(1, 1)], expected=[np.array(["", "é0", "é1", ""], object)], note="default string"),
    Case("Pad", [X], {"pads": [1, 0, 0, 2], "value": 1.5}, opset=2),
    Case("Pad", [X], {"pads": [0, -1, 0, 1], "mode": "edge"}, opset=2),
    Case("Pad", [X], {"paddings": [1, 0, 0, 2]}, opset=1, expected=[np.pad(X, ((1, 0), (0, 2)))], note="onnxruntime starts at opset 2"),
    *map(_of_type, ALL),
    Case("Pad", [X, ints(1, 0, 0, 2), np.array([2], "f")], domain="com.microsoft", opset=1),
    Case("Pad", [X, ints(1, 0, 0, 2)], {"mode": "edge"}, domain="com.microsoft", opset=1),
    *(Case("CenterCropPad", [counting((5, 6, 3)), ints(*shape)], opset=18) for shape in [(3, 6, 3), (8, 9, 6), (2, 3, 4), (5, 7, 2)]),
    Case("CenterCropPad", [counting((5, 6, 3)), ints(8, 3)], {"axes": [0, 1]}, opset=18),
    Case("CenterCropPad", [counting((5, 6, 3)), ints(2, 8)], {"axes": [-1, -3]}, opset=18),
]
