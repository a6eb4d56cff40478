"""MaxPool, AveragePool, GlobalAveragePool and Resize where the cpu provider has kernels of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case

_RANDOM = np.random.default_rng(12)


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def _resize(x: tuple[int, ...], scales: list[float] | None, sizes: list[int] | None = None, **attributes: Any) -> Case:
    given = None if scales is None else np.array(scales, np.float32)
    wanted = [] if sizes is None else [np.array(sizes, np.int64)]
    return Case("Resize", [_array(*x), None, given, *wanted], attributes, opset=19, atol=2e-5)


CASES = [
    *(
        Case(operator, [_array(2, 3, 13, 12)], attributes)
        for operator in ("MaxPool", "AveragePool")
        for attributes in (
            {"kernel_shape": [3, 3]},
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"kernel_shape": [3, 2], "strides": [3, 1], "pads": [1, 0, 0, 1], "dilations": [2, 3]},
            {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1},
            {"kernel_shape": [1, 1], "strides": [2, 3]},
            {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
        )
    ),
    Case("MaxPool", [_array(1, 4, 40)], {"kernel_shape": [5], "strides": [2], "pads": [2, 1]}),
    Case("MaxPool", [_array(1, 64, 112, 112)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("MaxPool", [_array(1, 2, 7, 7).astype(np.float64)], {"kernel_shape": [2, 2]}),
    Case("AveragePool", [_array(1, 4, 40)], {"kernel_shape": [5], "strides": [2], "pads": [2, 1], "count_include_pad": 1}),
    Case("AveragePool", [_array(1, 2, 9, 8)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    Case("GlobalAveragePool", [_array(2, 5, 7, 9)]),
    Case("GlobalAveragePool", [_array(2, 5, 33)]),
    _resize((1, 2, 5, 6), [1, 1, 2, 3], mode="nearest"),
    _resize((1, 2, 5, 6), [1, 1, 2, 2], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    _resize((1, 2, 5, 6), [1, 1, 0.6, 1.5], mode="nearest"),
    *(
        _resize((1, 1, 30, 14), None, [1, 1, *sizes], nearest_mode=nearest, coordinate_transformation_mode=coordinates)
        for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
        for coordinates in ("half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn")
        for sizes in ((39, 17), (36, 14))
    ),
    _resize((2, 3, 5, 6), [1, 1, 2, 2], mode="linear"),
    _resize((1, 2, 5, 18), [1, 1, 1, 25 / 18], mode="linear"),
    _resize((2, 3, 5, 6), [1, 1, 2, 1], mode="linear", coordinate_transformation_mode="tf_half_pixel_for_nn"),
    _resize((2, 3, 5, 6), None, [2, 3, 13, 4], mode="linear", coordinate_transformation_mode="align_corners"),
    _resize((2, 3, 5, 6), None, [2, 3, 13, 4], mode="linear", coordinate_transformation_mode="asymmetric"),
    _resize((2, 3, 5, 6), None, [2, 3, 1, 9], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
]
