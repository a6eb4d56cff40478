"""Constant, ConstantOfShape, Range, EyeLike, the window functions, Identity and Dropout."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto as T
from onnx import numpy_helper

from tests.cases import Case
from tests.cases.samples import array, floats


def _constants() -> list[Case]:
    attributes: list[dict[str, Any]] = [
        {"value_float": 1.5},
        {"value_floats": [1.0, 2.5]},
        {"value_int": 3},
        {"value_ints": [1, -2]},
        {"value_strings": ["a", "b"]},
    ]
    cases = [Case("Constant", [], a, opset=13) for a in attributes]
    cases.append(Case("Constant", [], {"value_string": "a"}, opset=13, expected=[np.array("a", object)]))
    for value in (floats((2, 3)), np.array(5), np.array([True]), np.zeros((0, 2), "f2"), np.array([1, 2]).astype(ml_dtypes.bfloat16)):
        cases.append(Case("Constant", [], {"value": numpy_helper.from_array(value)}, opset=13, expected=[value]))
    return cases


def _filled() -> list[Case]:
    cases = [Case("ConstantOfShape", [np.array(shape, np.int64)]) for shape in ([2, 3], [0, 2], [1])]
    cases.append(Case("ConstantOfShape", [np.zeros(0, np.int64)]))
    for value in (
        np.array([7], "i4"),
        np.array([1.5], "f2"),
        np.array([True]),
        np.array([3], "u8"),
        np.array([2]).astype(ml_dtypes.bfloat16),
    ):
        expected = [np.full((2, 1), value[0], value.dtype)]
        cases.append(Case("ConstantOfShape", [np.array([2, 1])], {"value": numpy_helper.from_array(value)}, opset=25, expected=expected))
    return cases


def _ranges() -> list[Case]:
    bounds = [(0, 10, 1), (3, 9, 3), (10, 4, -2), (0, 0, 1), (5, 1, 1), (1, 8, 3), (-5, 5, 2)]
    cases = [Case("Range", [np.array(v, t) for v in b]) for b in bounds for t in ("i2", "i4", "i8", "f4", "f8")]
    cases += [Case("Range", [array(0), array(1), array(0.1)]), Case("Range", [array(1.5), array(-2), array(-0.7)])]
    wide = np.array(2**53), np.array(2**53 + 3), np.array(1)
    cases.append(Case("Range", wide))
    half = [np.array(v, np.float16) for v in (0, 3000, 1)]
    cases.append(Case("Range", half, opset=27, expected=[np.arange(3000).astype(np.float16)], note="counted in float32"))
    brain = [np.array(v).astype(ml_dtypes.bfloat16) for v in (1, 300, 3)]
    cases.append(Case("Range", brain, opset=27, expected=[np.arange(1, 300, 3).astype(ml_dtypes.bfloat16)]))
    return cases


def _matrices() -> list[Case]:
    x = np.zeros((3, 4), np.float32)
    cases = [Case("EyeLike", [x], {"k": k}) for k in (-2, 0, 1, 5)] + [Case("EyeLike", [x.astype("i4")])]
    cases += [Case("EyeLike", [x], {"dtype": t}, oracle="reference") for t in (T.DOUBLE, T.INT64, T.FLOAT16, T.BOOL, T.UINT8)]
    cases.append(Case("EyeLike", [x[:0]], oracle="reference"))
    return cases


def _windows() -> list[Case]:
    cases = []
    for name in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        cases += [Case(name, [np.array(size)], {"periodic": p}, atol=1e-6) for size in (2, 5, 16) for p in (0, 1)]
        cases += [Case(name, [np.array(7, "i4")], {"output_datatype": t}, oracle="reference", atol=1e-6) for t in (T.DOUBLE, T.FLOAT)]
        cases.append(Case(name, [np.array(0)], expected=[np.zeros(0, "f")]))
    return cases


def _identities() -> list[Case]:
    x = floats((2, 3))
    everything = [x, np.array(["a"], object), np.array(3), np.zeros((0, 1), bool), x.astype("c8"), x.astype(ml_dtypes.float8_e5m2)]
    cases = [Case("Identity", [v], opset=25, expected=[v]) for v in everything]
    cases += [
        Case("Dropout", [x], {"consumed_inputs": [0], "is_test": 1}, opset=1, expected=[x]),
        Case("Dropout", [x], {"ratio": 0.3}, opset=7),
    ]
    cases += [
        Case("Dropout", [x], opset=6, outputs=2, expected=[x, np.zeros_like(x)]),
        *(Case("Dropout", [x], opset=version, outputs=2, oracle="onnxruntime") for version in (7, 10)),
    ]
    cases += [Case("Dropout", [x], opset=13, outputs=2), Case("Dropout", [x, array(0.5), np.array(False)], opset=13, outputs=2)]
    cases += [Case("Dropout", [x, array(0.0), np.array(True)], opset=13, outputs=2), Case("Dropout", [x, None, np.array(False)], opset=13)]
    cases += [Case("Dropout", [x, array(0.75), np.array(True)], {"seed": 3}, opset=13, outputs=2, oracle="reference")]
    return cases


CASES = [*_constants(), *_filled(), *_ranges(), *_matrices(), *_windows(), *_identities()]
