"""MaxPool, AveragePool, LpPool, the global pools, MaxUnpool, and pools over regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import f32, i64, integers, normal, uniform

_X = normal(2, 3, 9, 8)


def _pool(name: str, kernel: list[int], opset: int, x: np.ndarray = _X, outputs: int = 1, **attributes: Any) -> Case:
    return Case(name, [x], {"kernel_shape": kernel, **attributes}, opset=opset, outputs=outputs)


_HALF = normal(2, 3, 5, dtype="float16")


def _cubic_norms(x: np.ndarray) -> np.ndarray:
    return np.asarray((abs(x.astype("d")) ** 3).sum(-1, keepdims=True) ** (1 / 3)).astype(x.dtype)


_UNPOOLED = normal(1, 2, 2, 2)
_PLACES = np.array([[[[5, 7], [13, 15]], [[16, 18], [26, 31]]]], np.int64)
_ROIS = np.array([[0.5, 1.0, 6.0, 7.5], [2.0, 0.0, 3.5, 8.0], [-1.0, -1.0, 9.0, 10.0]], "f")

CASES = [
    _pool("MaxPool", [3, 3], 12),
    _pool("MaxPool", [2, 3], 12, strides=[2, 2], pads=[1, 1, 0, 1]),
    _pool("MaxPool", [3, 2], 12, strides=[2, 2], ceil_mode=1),
    _pool("MaxPool", [3, 3], 12, dilations=[2, 2]),
    _pool("MaxPool", [3, 3], 8, strides=[2, 2], auto_pad="SAME_UPPER"),
    _pool("MaxPool", [3, 3], 1, strides=[2, 2], auto_pad="SAME_LOWER"),
    _pool("MaxPool", [2, 2], 12, outputs=2, strides=[2, 2], pads=[1, 0, 1, 0]),
    _pool("MaxPool", [2, 2], 12, outputs=2, strides=[2, 2], storage_order=1),
    _pool("MaxPool", [3], 12, normal(2, 3, 9), outputs=2, strides=[2]),
    _pool("MaxPool", [2, 3, 2], 12, normal(1, 2, 5, 6, 4), strides=[2, 2, 2]),
    _pool("MaxPool", [3, 3], 12, integers(1, 2, 6, 6, low=0, high=255, dtype="uint8"), pads=[1, 1, 1, 1]),
    _pool("MaxPool", [3, 3], 12, integers(1, 2, 6, 6, low=-128, high=127, dtype="int8"), strides=[2, 2]),
    _pool("MaxPool", [3, 3], 22, _X.astype(np.float16), pads=[1, 1, 1, 1], strides=[2, 2]),
    _pool("MaxPool", [2, 2, 3], 12, normal(2, 2, 5, 6, 7), outputs=2, pads=[1, 0, 1, 0, 1, 1], dilations=[1, 2, 2]),
    _pool("MaxPool", [2, 3, 2], 12, normal(1, 2, 5, 6, 4), outputs=2, storage_order=1, strides=[2, 2, 2]),
    _pool("MaxPool", [3, 3], 22, _X.astype(np.float64), outputs=2, pads=[1, 1, 1, 1], strides=[2, 2], ceil_mode=1),
    _pool("MaxPool", [5, 5], 12, pads=[2, 2, 2, 2]),
    _pool("MaxPool", [5, 5], 12, strides=[3, 2], pads=[4, 0, 1, 3], ceil_mode=1),
    _pool("MaxPool", [3, 3], 12, normal(1, 2, 1, 2), pads=[2, 1, 2, 2], dilations=[2, 1]),
    _pool("AveragePool", [5, 5], 19, pads=[2, 1, 0, 2], strides=[1, 2], count_include_pad=1),
    _pool("AveragePool", [3, 3], 22, _X.astype(np.float16), pads=[1, 1, 1, 1]),
    _pool("AveragePool", [2, 3, 2], 19, normal(1, 2, 5, 6, 7, dtype="f8"), pads=[1, 1, 0, 0, 1, 1], ceil_mode=1, strides=[2, 2, 3]),
    _pool("AveragePool", [3, 3], 11),
    _pool("AveragePool", [3, 3], 11, pads=[1, 1, 1, 1], strides=[2, 2]),
    _pool("AveragePool", [3, 3], 11, pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1),
    _pool("AveragePool", [3, 2], 10, strides=[2, 3], ceil_mode=1),
    _pool("AveragePool", [3, 3], 19, strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1),
    _pool("AveragePool", [2, 2], 19, dilations=[2, 3]),
    _pool("AveragePool", [3, 3], 7, auto_pad="SAME_UPPER", strides=[2, 2]),
    _pool("AveragePool", [3], 11, normal(2, 3, 9), strides=[2]),
    _pool("AveragePool", [2, 2, 2], 11, normal(1, 2, 5, 6, 4)),
    _pool("LpPool", [3, 3], 11, strides=[2, 2]),
    _pool("LpPool", [2, 2], 2, p=1, pads=[1, 1, 0, 0]),
    _pool("LpPool", [2, 2], 18, p=3, dilations=[2, 2]),
    _pool("LpPool", [3, 3], 18, strides=[2, 2], ceil_mode=1),
    Case("GlobalAveragePool", [_X], opset=1),
    Case("GlobalAveragePool", [normal(2, 3, 4, 5, 2)], opset=1),
    Case("GlobalMaxPool", [_X], opset=1),
    Case("GlobalMaxPool", [normal(2, 3, 7)], opset=22),
    Case("GlobalLpPool", [_X], opset=2),
    Case("GlobalLpPool", [_X], {"p": 1}, opset=2),
    Case("GlobalLpPool", [_X], {"p": 3}, opset=2),
    Case("GlobalLpPool", [normal(2, 3, 33, 40)], {"p": 4}, opset=2),
    Case("GlobalLpPool", [_HALF], {"p": 3}, opset=22, expected=[_cubic_norms(_HALF)], note="no oracle has float16"),
    Case("MaxUnpool", [_UNPOOLED, _PLACES], {"kernel_shape": [2, 2], "strides": [2, 2]}, opset=11),
    Case(
        "MaxUnpool",
        [_UNPOOLED[:, :1], _PLACES[:, :1], i64(1, 1, 5, 5)],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        opset=11,
        oracle="reference",
    ),
    Case("MaxRoiPool", [_X, np.array([[0, 1, 1, 6, 7], [1, 0, 2, 3, 5]], "f")], {"pooled_shape": [2, 3]}, opset=1),
    Case("MaxRoiPool", [_X, np.array([[1, 2, 2, 14, 12]], "f")], {"pooled_shape": [3, 3], "spatial_scale": 0.5}, opset=1),
    *(
        Case(
            "RoiAlign",
            [_X, _ROIS, i64(0, 1, 1)],
            {"output_height": 3, "output_width": 2, "mode": mode, "sampling_ratio": ratio, "spatial_scale": 0.9},
            opset=opset,
            rtol=1e-4,
        )
        for opset in (10, 16)
        for mode in ("avg", "max")
        for ratio in (0, 2)
    ),
    Case(
        "RoiAlign",
        [_X, _ROIS, i64(0, 1, 1)],
        {"coordinate_transformation_mode": "output_half_pixel", "output_height": 2},
        opset=16,
        rtol=1e-4,
    ),
    Case(
        "NonMaxSuppression",
        [uniform(2, 12, 4), uniform(2, 3, 12), i64(4), f32(0.3), f32(0.2)],
        opset=11,
    ),
    Case("NonMaxSuppression", [uniform(1, 12, 4), uniform(1, 2, 12), i64(20), f32(0.1)], {"center_point_box": 1}, opset=11),
    Case("NonMaxSuppression", [uniform(1, 12, 4), uniform(1, 2, 12)], opset=10),
    Case("NonMaxSuppression", [uniform(1, 700, 4), uniform(1, 3, 700), i64(700), f32(0.4), f32(0.3)], opset=11),
    Case("NonMaxSuppression", [uniform(1, 2500, 4), uniform(1, 1, 2500), i64(9), f32(0.1)], opset=11),
    Case("NonMaxSuppression", [uniform(1, 5, 4), uniform(1, 2, 5), i64(3), f32(0.5), f32(2.0)], opset=11),
]
