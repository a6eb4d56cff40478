"""The operators of ai.onnx that onnxruntime kept up to opset 9."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import f32, i64, normal

_X, _IMAGE = normal(3, 40), normal(2, 3, 5, 6)


def _case(name: str, *inputs: np.ndarray, opset: int = 9, **attributes: Any) -> Case:
    return Case(name, inputs, attributes, opset=opset)


CASES = [
    *(_case("Affine", _X, opset=opset, alpha=2.5, beta=-1.0) for opset in (1, 6, 9)),
    _case("Affine", _X),
    _case("Affine", np.zeros((0, 2), "f"), beta=1.0),
    Case("Affine", [_X.astype("d")], {"alpha": 2.0, "beta": 0.5}, opset=9, expected=[_X.astype("d") * 2 + 0.5], note="float alone"),
    Case(
        "Affine",
        [_X.astype("e")],
        {"alpha": 2.0, "beta": 0.5},
        opset=9,
        expected=[(_X.astype("e").astype("f") * 2 + 0.5).astype("e")],
        note="onnxruntime has float alone",
    ),
    _case("Scale", _X, scale=-3.0),
    _case("Scale", _X[0]),
    _case("ScaledTanh", _X, alpha=1.7, beta=0.6),
    _case("ScaledTanh", f32(-1e9, 0, 1e9), alpha=-2.0, beta=3.0),
    _case("ParametricSoftplus", _X, alpha=1.5, beta=0.8),
    _case("ParametricSoftplus", f32(1000, -1000, 0), alpha=2.0, beta=3.0),
    _case("ImageScaler", _IMAGE, scale=0.5, bias=[1.0, -2.0, 3.0]),
    _case("ImageScaler", _IMAGE[:0], bias=[1.0, -2.0, 3.0]),
    _case("Crop", _IMAGE, border=[1, 0, 2, 1]),
    _case("Crop", _IMAGE, border=[1, 2, 0, 0], scale=[2, 3]),
    _case("Crop", _IMAGE, border=[0, 0, 6, 5]),
    _case("DynamicSlice", _IMAGE, i64(1, -2), i64(1000, 9), i64(2, 3)),
    _case("DynamicSlice", _X, i64(1, 0), i64(3, -1)),
    _case("DynamicSlice", _X, i64(1).astype("i4"), i64(2).astype("i4"), i64(-1).astype("i4")),
    _case("DynamicSlice", np.array(["a", "b", "c"], object), i64(1), i64(3)),
]
