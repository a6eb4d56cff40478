"""Conv, ConvTranspose, DeformConv and the quantised convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, scalar, uniform


def _conv(x: tuple[int, ...], w: tuple[int, ...], bias: bool = False, dtype: Any = "f", opset: int = 11, **attributes: Any) -> Case:
    inputs = [normal(*x, dtype=dtype), normal(*w, dtype=dtype), *([normal(w[0], dtype=dtype)] if bias else [])]
    return Case("Conv", inputs, attributes, opset=opset, rtol=1e-4, atol=1e-5)


def _transposed(x: tuple[int, ...], w: tuple[int, ...], bias: int = 0, **attributes: Any) -> Case:
    inputs = [normal(*x), normal(*w), *([normal(bias)] if bias else [])]
    return Case("ConvTranspose", inputs, attributes, opset=11, rtol=1e-4, atol=1e-5)


def _deformed(group: int, offset_group: int, mask: bool, bias: bool, **attributes: Any) -> Case:
    inputs = [
        normal(2, 4, 6, 6),
        normal(4, 4 // group, 3, 3),
        normal(2, offset_group * 18, 4, 4),
        normal(4) if bias else None,
        *([uniform(2, offset_group * 9, 4, 4)] if mask else []),
    ]
    return Case("DeformConv", inputs, {"group": group, "offset_group": offset_group, **attributes}, opset=19, rtol=1e-4, atol=1e-4)


_X8 = integers(2, 4, 6, 6, low=0, high=255, dtype="uint8")
_W8 = integers(6, 2, 3, 3, low=-64, high=64, dtype="int8")
"""Seven bits: onnxruntime's sums of uint8 times int8 saturate at 16 bits on x86 without VNNI."""
_BYTE = scalar(11, "uint8")

CASES = [
    _conv((1, 3, 8, 8), (4, 3, 3, 3), True),
    _conv((2, 3, 9, 7), (4, 3, 3, 2), strides=[2, 1], pads=[1, 0, 2, 1]),
    _conv((2, 4, 8, 8), (6, 2, 3, 3), True, group=2, dilations=[2, 2]),
    _conv((2, 4, 8, 8), (4, 1, 3, 3), True, group=4, pads=[1, 1, 1, 1]),
    _conv((2, 4, 8, 8), (8, 1, 3, 3), group=4, strides=[2, 2]),
    _conv((2, 4, 5, 5), (3, 4, 1, 1), True),
    _conv((2, 4, 5, 5), (3, 4, 1, 1), strides=[2, 2]),
    _conv((2, 4, 5, 5), (3, 4, 1, 1), pads=[1, 0, 0, 1]),
    _conv((2, 4, 5, 5), (6, 2, 1, 1), True, group=2),
    _conv((2, 4, 7), (3, 4, 1), auto_pad="SAME_UPPER"),
    _conv((1, 4, 3, 2, 5), (3, 4, 1, 1, 1), True),
    _conv((3, 40, 1, 1), (5, 40, 1, 1), True),
    _conv((2, 4, 5, 5), (3, 4, 1, 1), True, dtype=np.float64),
    _conv((2, 0, 5, 5), (3, 0, 1, 1), True),
    Case(
        "Conv",
        [normal(2, 5, 3, 3, dtype="float16"), normal(4, 5, 1, 1, dtype="float16"), normal(4, dtype="float16")],
        opset=22,
        rtol=1e-2,
        atol=2e-2,
        oracle="reference",
    ),
    _conv((1, 2, 7, 6), (3, 2, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    _conv((1, 2, 7, 6), (3, 2, 4, 3), auto_pad="SAME_LOWER"),
    _conv((1, 2, 7, 6), (3, 2, 4, 3), auto_pad="VALID", kernel_shape=[4, 3]),
    _conv((2, 3, 10), (4, 3, 3), True, pads=[1, 1]),
    _conv((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), True, strides=[1, 2, 1], pads=[0, 1, 0, 1, 0, 1]),
    _conv((1, 3, 8, 8), (4, 3, 3, 3), opset=1),
    _conv((1, 3, 8, 8), (4, 3, 3, 3), dtype=np.float64),
    _conv((0, 3, 8, 8), (4, 3, 3, 3)),
    Case(
        "Conv",
        [normal(1, 3, 6, 6, dtype="float16"), normal(4, 3, 3, 3, dtype="float16")],
        opset=22,
        rtol=1e-2,
        atol=2e-2,
        oracle="reference",
    ),
    _transposed((1, 3, 5, 5), (3, 4, 3, 3), 4),
    _transposed((2, 3, 5, 4), (3, 4, 3, 3), strides=[2, 3], pads=[1, 0, 1, 1], output_padding=[1, 0]),
    _transposed((1, 4, 5, 5), (4, 2, 3, 3), 4, group=2, dilations=[2, 1]),
    _transposed((1, 4, 5, 5), (4, 1, 2, 2), 4, group=4, strides=[2, 2]),
    _transposed((1, 3, 5, 5), (3, 2, 4, 4), strides=[2, 2], auto_pad="SAME_UPPER"),
    _transposed((1, 3, 5, 5), (3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    _transposed((1, 3, 5, 5), (3, 2, 3, 3), strides=[2, 2], output_shape=[10, 10]),
    _transposed((1, 3, 5, 5), (3, 2, 3, 3), strides=[2, 2], output_shape=[10, 9], auto_pad="SAME_UPPER"),
    _transposed((2, 3, 6), (3, 2, 4), 2, strides=[3]),
    _transposed((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), strides=[2, 1, 2]),
    _deformed(1, 1, False, False),
    _deformed(2, 2, True, True),
    _deformed(1, 2, True, False),
    Case(
        "ConvInteger", [_X8, integers(3, 4, 3, 3, low=0, high=255, dtype="uint8"), _BYTE, scalar(120, "uint8")], {"pads": [1] * 4}, opset=10
    ),
    Case("ConvInteger", [_X8, integers(3, 4, 3, 3, low=0, high=255, dtype="uint8")], {"strides": [2, 2]}, opset=10),
    Case(
        "QLinearConv",
        [
            _X8,
            scalar(0.02),
            _BYTE,
            _W8,
            uniform(6, low=0.001, high=0.01),
            np.zeros(6, "int8"),
            scalar(0.1),
            scalar(100, "uint8"),
            integers(6, low=-500, high=500, dtype="int32"),
        ],
        {"group": 2, "pads": [1, 1, 1, 1]},
        opset=10,
    ),
    Case(
        "QLinearConv",
        [_X8, scalar(0.02), _BYTE, integers(3, 4, 1, 1, low=0, high=255, dtype="uint8"), scalar(0.01), _BYTE, scalar(0.3), _BYTE],
        opset=10,
    ),
    Case(
        "ConvInteger",
        [np.full((1, 600, 4, 4), 255, "uint8"), np.full((2, 600, 3, 3), 255, "uint8"), scalar(0, "uint8")],
        {"pads": [1, 1, 1, 1]},
        opset=10,
        note="sums above 2**24",
    ),
    Case(
        "ConvInteger",
        [np.full((1, 2, 20, 20), 255, "uint8"), np.full((3, 2, 17, 17), 255, "uint8"), scalar(0, "uint8")],
        opset=10,
        note="one channel of a window sums to more than 2**24",
    ),
    Case("ConvInteger", [_X8[:, :, 0].copy(), _W8[:, :, 0].copy(), _BYTE], {"group": 2, "pads": [2, 0]}, opset=10),
    Case("ConvInteger", [_X8[:, :, :, 0, None].copy(), _W8[:, :, :1, :1].copy(), _BYTE], {"group": 2}, opset=10),
    Case("FusedConv", [normal(1, 3, 6, 6), normal(4, 3, 3, 3), normal(4)], {"activation": "Relu"}, opset=1, domain="com.microsoft"),
    Case(
        "FusedConv",
        [normal(1, 3, 6, 6), normal(4, 3, 3, 3), normal(4), normal(1, 4, 4, 4)],
        {"activation": "LeakyRelu", "activation_params": [0.2]},
        opset=1,
        domain="com.microsoft",
    ),
    *(
        Case(
            "FusedConv",
            [normal(2, 3, *size), normal(4, 3, 1, 1), normal(4), normal(2, 4, *size)],
            {"activation": activation, **arguments},
            opset=1,
            domain="com.microsoft",
        )
        for size in ((5, 6), (1, 1))
        for activation, arguments in (("Relu", {}), ("Clip", {"activation_params": [0.0, 0.5]}))
    ),
    Case("FusedGemm", [normal(3, 4), normal(4, 5), normal(5)], {"activation": "Sigmoid"}, opset=1, domain="com.microsoft"),
]
