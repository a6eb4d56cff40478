"""Operators on images of domain com.microsoft: ConvTransposeWithDynamicPads, CropAndResize, GridSample, MaxpoolWithMask."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import i64, integers, normal, uniform

_X = normal(2, 3, 7, 8)
_ROIS = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], [-0.5, 0, 1.5, 1], [0.9, 0.9, 0.1, 0.1], [0.25, 0.5, 0.25, 0.5]], "f")
_IMAGES = np.array([0, 1, 1, 0, 1], "i4")


def _case(name: str, *inputs: np.ndarray | None, **attributes: Any) -> Case:
    return Case(name, inputs, attributes, opset=1, domain="com.microsoft")


def _transposed(pads: np.ndarray, bias: np.ndarray | None = None, groups: int = 1, **attributes: Any) -> Case:
    weights = normal(4, 3, 3, 2)
    inputs = [normal(2, 4, 5, 6), weights, pads, *([] if bias is None else [bias])]
    return _case("ConvTransposeWithDynamicPads", *inputs, group=groups, **attributes)


def _masked(spatial: tuple[int, ...], masks: tuple[int, int], **attributes: Any) -> Case:
    mask = (uniform(*masks, *spatial) < 0.6).astype("i4")
    return _case("MaxpoolWithMask", normal(2, 3, *spatial), mask, **attributes)


_SQUARE: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2]}
_NOTHING = np.zeros((1, 1, 7, 8), "i4")

CASES = [
    _transposed(i64(0, 0, 0, 0)),
    _transposed(i64(1, 0, 0, 1), normal(3), strides=[2, 2], output_padding=[1, 1]),
    _transposed(i64(1, 1, 1, 1), strides=[2, 3], dilations=[2, 1]),
    _transposed(i64(1, 0, 1, 0), normal(6), groups=2, kernel_shape=[3, 2]),
    *(
        _case("CropAndResize", _X, _ROIS, _IMAGES, np.array(s, "i4"), mode=m)
        for s in ((3, 4), (1, 1), (9, 1))
        for m in ("bilinear", "nearest")
    ),
    _case("CropAndResize", _X, _ROIS, _IMAGES, np.array((4, 4), "i4"), extrapolation_value=9.5),
    _case("CropAndResize", _X, _ROIS[:0], _IMAGES[:0], np.array((2, 2), "i4")),
    *(
        _case("GridSample", _X, uniform(2, 4, 5, 2, low=-1.2, high=1.2), mode=m, padding_mode=p, align_corners=a)
        for m in ("bilinear", "nearest", "bicubic")
        for p in ("zeros", "border", "reflection")
        for a in (0, 1)
    ),
    *(_masked((7, 8), masks, **_SQUARE) for masks in ((1, 1), (2, 3), (1, 4), (3, 1))),
    _masked((7, 8), (1, 1), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    _masked((7, 8), (1, 1), kernel_shape=[2, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    _masked((9,), (1, 1), kernel_shape=[3], strides=[2]),
    _masked((9,), (1, 2), kernel_shape=[3]),
    _masked((5, 4, 6), (1, 1), kernel_shape=[2, 2, 3], strides=[1, 2, 2]),
    _case("MaxpoolWithMask", _X, _NOTHING, **_SQUARE),
    _case("MaxpoolWithMask", _X, integers(2, 3, 7, 8, low=1, high=4, dtype="i4"), **_SQUARE),
]
