"""onnxruntime's layers on quantised tensors, and the first layer of BERT."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, scalar, uniform

_X = integers(2, 3, 6, 5, low=0, high=255, dtype="uint8")
_IN, _OUT = [scalar(0.04), scalar(120, "uint8")], [scalar(0.02), scalar(90, "uint8")]


def _case(name: str, inputs: list[np.ndarray | None], outputs: int = 1, **attributes: Any) -> Case:
    return Case(name, inputs, attributes, opset=1, domain="com.microsoft", outputs=outputs)


_MATRIX = [
    integers(3, 4, low=0, high=255, dtype="uint8"),
    *_IN,
    integers(5, 4, low=0, high=255, dtype="uint8"),
    scalar(0.01),
    scalar(99, "uint8"),
]
_BIAS = integers(5, low=-900, high=900, dtype="int32")
_WORDS, _SEGMENTS = integers(2, 4, low=0, high=20, dtype="int32"), integers(2, 4, low=0, high=2, dtype="int32")
_MASK = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], "int32")
_TABLES: list[np.ndarray | None] = [normal(20, 8), normal(16, 8), normal(2, 8), uniform(8), normal(8, seed=1)]

CASES = [
    _case("QLinearSigmoid", [_X, *_IN, scalar(1 / 256), scalar(0, "uint8")]),
    _case("QLinearLeakyRelu", [_X, *_IN, *_OUT], alpha=0.1),
    _case("QLinearSoftmax", [_X, *_IN, scalar(1 / 256), scalar(0, "uint8")], axis=-1, opset=13),
    Case(
        "QLinearReduceMean",
        [_X, *_IN, *_OUT],
        {"axes": [2, 3], "keepdims": 0},
        opset=1,
        domain="com.microsoft",
        expected=[np.clip(np.rint((_X.mean(axis=(2, 3)) - 120) * 0.04 / 0.02) + 90, 0, 255).astype("uint8")],
        note="onnxruntime has no kernel",
    ),
    _case("QLinearGlobalAveragePool", [_X, *_IN, *_OUT]),
    Case(
        "QLinearAveragePool",
        [_X, *_IN, *_OUT],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        opset=1,
        domain="com.microsoft",
        atol=1,
        note="ties in float32 round either way",
    ),
    _case("QLinearConcat", [*_OUT, _X, *_IN, _X[:, :1], *_OUT], axis=1),
    _case("QGemm", [*_MATRIX, _BIAS, *_OUT], transB=1),
    _case("QGemm", [*_MATRIX], transB=1, alpha=0.5),
    _case("EmbedLayerNormalization", [_WORDS, _SEGMENTS, *_TABLES, _MASK], outputs=2),
]
