"""onnxruntime's layers on quantised tensors, and the first layer of BERT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, scalar, uniform

_X = integers(2, 3, 6, 5, low=0, high=255, dtype="uint8")
_IN, _OUT = [scalar(0.04), scalar(120, "uint8")], [scalar(0.02), scalar(90, "uint8")]


def _case(name: str, inputs: Sequence[np.ndarray | None], outputs: int = 1, **attributes: Any) -> Case:
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

_HIDDEN, _HEADS = 12, 3
_TOKENS = integers(2, 4, 8, low=0, high=255, dtype="uint8")


def _attentions() -> list[Case]:
    weights = [integers(8, 3 * _HIDDEN, low=-64, high=64, dtype="int8"), integers(8, 3 * _HIDDEN, low=0, high=127, dtype="uint8")]
    rows = np.array([[1, 1, 0, 0], [0, 1, 1, 1]], "int32")
    masks: list[np.ndarray | None] = [None, np.array([3, 4], "int32"), np.array([3, 4, 0, 1], "int32"), rows, np.ones((2, 4, 4), "int32")]
    cases = []
    for weight in weights:
        bias, zero = normal(3 * _HIDDEN) * np.float32(0.1), scalar(3, str(weight.dtype))
        inputs = [_TOKENS, weight, bias, scalar(0.02), scalar(0.01)]
        for mask in masks:
            cases.append(_case("QAttention", [*inputs, mask, scalar(120, "uint8"), zero], 2, num_heads=_HEADS))
        causal = {"num_heads": _HEADS, "unidirectional": 1}
        past = normal(2, 2, _HEADS, 5, _HIDDEN // _HEADS)
        cases += [
            _case("QAttention", inputs, 1, **causal),
            _case("QAttention", [*inputs, rows, scalar(120, "uint8")], 2, mask_filter_value=-1.0, **causal),
            _case("QAttention", [*inputs, None, scalar(120, "uint8"), zero, past], 2, **causal),
            _case("QAttention", inputs, 2, num_heads=_HEADS, scale=0.3),
        ]
        columns = [*inputs[:4], uniform(3 * _HIDDEN) * np.float32(0.02), None, None, np.resize(zero, 3 * _HIDDEN)]
        cases.append(_case("QAttention", columns, 1, num_heads=_HEADS))
    return cases


def _quantized_embeddings() -> list[Case]:
    cases = []
    for dtype in ("uint8", "int8"):
        low = 0 if dtype == "uint8" else -128
        words, places, segments = (integers(n, 8, low=low, high=low + 256, dtype=dtype, seed=n) for n in (20, 16, 2))
        gamma, beta = (integers(8, low=low, high=low + 256, dtype=dtype, seed=s) for s in range(2))
        scales, zeros = [scalar(s) for s in (0.01, 0.02, 0.03, 0.04, 0.05)], [scalar(low + 100 + i, dtype) for i in range(5)]
        everything = [_WORDS, _SEGMENTS, words, places, segments, gamma, beta, _MASK, *scales, *zeros]
        cases.append(_case("QEmbedLayerNormalization", everything, 2, epsilon=1e-3))
        without = [None if i in (1, 4, 7, 10, 15) else x for i, x in enumerate(everything)]
        cases.append(_case("QEmbedLayerNormalization", without, 2))
    return cases


def _choices() -> list[Case]:
    condition = np.array([[True, False, True]])
    x, y = np.arange(3, dtype="uint8") * 80, np.arange(6, dtype="uint8").reshape(2, 3) * 40
    zero = scalar(3, "uint8")
    signed = [condition, x.astype("int8"), scalar(0.05), scalar(-3, "int8"), y.astype("int8"), scalar(0.07), scalar(5, "int8")]
    return [
        _case("QLinearWhere", [condition, x, scalar(0.05), zero, y, scalar(0.07), zero, scalar(0.03), zero]),
        _case("QLinearWhere", [*signed, scalar(0.02), scalar(-7, "int8")]),
        _case("QLinearWhere", [np.array(True), x[:0], scalar(0.05), zero, y[:, :1].copy(), scalar(0.07), zero, scalar(0.03), zero]),
    ]


def _last_channel_convolutions() -> list[Case]:
    x, bias = integers(2, 6, 5, 4, low=0, high=255, dtype="uint8"), integers(6, low=-500, high=500, dtype="int32")
    cases = []
    for w, group in ((integers(6, 4, 3, 3, low=-64, high=64, dtype="int8"), 1), (integers(6, 2, 2, 3, low=0, high=127, dtype="uint8"), 2)):
        zero = scalar(5, str(w.dtype))
        inputs = [x, *_IN, w, scalar(0.01), zero, scalar(0.2), scalar(100, "uint8")]
        for last in (0, 1):
            source = x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            attributes = {"channels_last": last, "group": group}
            cases.append(_case("QLinearConv", [source, *inputs[1:]], **attributes))
            cases.append(_case("QLinearConv", [source, *inputs[1:], bias], pads=[1, 0, 2, 1], strides=[2, 1], **attributes))
        column_scales = [*inputs[:4], uniform(6, low=0.001, high=0.01), np.resize(zero, 6), *inputs[6:], bias]
        cases.append(_case("QLinearConv", column_scales, channels_last=1, group=group, dilations=[2, 1]))
    return cases


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
    Case(
        "QLinearAveragePool",
        [np.ascontiguousarray(_X.transpose(0, 2, 3, 1)), *_IN, *_OUT],
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "channels_last": 1},
        opset=1,
        domain="com.microsoft",
        atol=1,
        note="ties in float32 round either way",
    ),
    _case("QLinearConcat", [*_OUT, _X, *_IN, _X[:, :1], *_OUT], axis=1),
    _case("QGemm", [*_MATRIX, _BIAS, *_OUT], transB=1),
    _case("QGemm", [*_MATRIX], transB=1, alpha=0.5),
    _case("EmbedLayerNormalization", [_WORDS, _SEGMENTS, *_TABLES, _MASK], outputs=2),
    *_attentions(),
    *_quantized_embeddings(),
    *_choices(),
    *_last_channel_convolutions(),
]
