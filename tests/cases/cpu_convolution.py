"""Conv and ConvTranspose: every way the cpu provider has of computing them, at sizes with tails."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case

_RANDOM = np.random.default_rng(11)


def _array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(dtype)


def _conv(x: tuple[int, ...], w: tuple[int, ...], dtype: str = "float32", operator: str = "Conv", **attributes: Any) -> Case:
    maps = w[0] if operator == "Conv" else w[1] * attributes.get("group", 1)
    inputs = [_array(*x, dtype=dtype), _array(*w, dtype=dtype), _array(maps, dtype=dtype)]
    return Case(operator, inputs, attributes, rtol=1e-4, atol=1e-4)


CASES = [
    _conv((2, 3, 9, 11), (5, 3, 3, 3)),
    _conv((1, 4, 9, 11), (6, 2, 3, 3), group=2, pads=[1, 2, 0, 1]),
    _conv((1, 4, 9, 11), (6, 2, 3, 3), dtype="float64", group=2, pads=[1, 2, 0, 1]),
    _conv((1, 3, 33, 33), (8, 3, 7, 7), strides=[2, 2], pads=[3, 3, 3, 3]),
    _conv((1, 16, 33, 35), (8, 16, 3, 3), strides=[2, 3], dilations=[3, 2], pads=[3, 3, 3, 3]),
    _conv((1, 16, 70, 90), (24, 16, 3, 3), pads=[1, 1, 1, 1]),
    _conv((1, 3, 64, 64), (4, 3, 16, 16), strides=[16, 16]),
    _conv((1, 4, 10, 11), (4, 4, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    _conv((1, 4, 10, 11), (4, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 1]),
    _conv((1, 4, 10, 11), (4, 4, 3, 2), auto_pad="VALID"),
    _conv((1, 4, 1, 1), (4, 4, 3, 3), pads=[1, 1, 1, 1]),
    _conv((1, 4, 6, 6), (4, 4, 1, 1), pads=[1, 1, 1, 1]),
    _conv((3, 7, 5, 6), (4, 7, 1, 1)),
    _conv((3, 7, 5, 6), (4, 7, 1, 1), strides=[2, 3]),
    _conv((2, 8, 6, 6), (4, 4, 1, 1), group=2),
    _conv((1, 80, 50), (24, 80, 3), strides=[2], pads=[1, 1]),
    _conv((2, 6, 15, 13), (6, 1, 3, 3), group=6, pads=[1, 1, 1, 1], strides=[2, 2]),
    _conv((1, 6, 40, 37), (6, 1, 5, 5), group=6, pads=[2, 2, 2, 2], strides=[1, 2], dilations=[2, 1]),
    _conv((2, 5, 57, 55), (5, 1, 3, 3), group=5, pads=[1, 1, 1, 1]),
    _conv((1, 5, 60, 50), (5, 1, 3, 7), group=5, pads=[0, 2, 3, 1], dilations=[2, 1]),
    _conv((1, 4, 2, 2), (4, 1, 5, 5), group=4, pads=[4, 4, 4, 4]),
    _conv((1, 6, 8, 8), (12, 1, 3, 3), group=6),
    _conv((2, 8, 50), (8, 1, 5), group=8, pads=[4, 0]),
    _conv((1, 6, 6, 6), (6, 1, 1, 1), group=6),
    Case("Conv", [_array(1, 2, 5, 5), _array(3, 2, 3, 3)], rtol=1e-4, atol=1e-4),
    _conv((1, 3, 5, 6), (3, 4, 3, 2), operator="ConvTranspose"),
    _conv((2, 4, 5, 6), (4, 3, 3, 3), operator="ConvTranspose", group=2, strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2]),
    _conv((1, 3, 5, 6), (3, 4, 3, 2), operator="ConvTranspose", dilations=[2, 2], strides=[2, 1]),
    _conv((1, 8, 40, 64), (8, 16, 4, 4), operator="ConvTranspose", strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv((2, 3, 9), (3, 4, 4), operator="ConvTranspose", strides=[2], pads=[1, 1]),
]
