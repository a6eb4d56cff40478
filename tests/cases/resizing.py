"""Resize, Upsample, GridSample, AffineGrid."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import f32, i64, integers, normal, uniform

_X = normal(1, 2, 5, 6)
_MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric", "tf_half_pixel_for_nn")


def _by_scales(*scales: float, opset: int = 19, x: np.ndarray = _X, **attributes: Any) -> Case:
    return Case("Resize", [x, None, f32(*scales)], attributes, opset=opset, rtol=1e-4, atol=1e-4)


def _by_sizes(*sizes: int, opset: int = 19, x: np.ndarray = _X, **attributes: Any) -> Case:
    return Case("Resize", [x, None, None, i64(*sizes)], attributes, opset=opset, rtol=1e-4, atol=1e-4)


def _grid(opset: int, mode: str, padding: str, align: int) -> Case:
    grid = uniform(1, 4, 5, 2, low=-1.4, high=1.4)
    return Case(
        "GridSample", [_X, grid], {"mode": mode, "padding_mode": padding, "align_corners": align}, opset=opset, rtol=1e-4, atol=1e-4
    )


def _typed(dtype: str, mode: str) -> Case:
    """onnxruntime takes fewer types; the reference rounds after each axis."""
    return Case("Resize", [_X.astype(dtype), None, f32(1, 1, 1.5, 0.8)], {"mode": mode}, opset=19, oracle="reference", atol=5e-3)


CASES = [
    *(
        _by_sizes(1, 2, *sizes, mode=mode, coordinate_transformation_mode=transformation)
        for mode in ("nearest", "linear", "cubic")
        for transformation in _MODES
        for sizes in ((9, 4), (10, 12))
    ),
    *(_by_scales(1, 1, 0.7, 1.6, nearest_mode=m) for m in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")),
    *(_by_scales(1, 1, 0.5, 2.0, mode="cubic", exclude_outside=1, cubic_coeff_a=a) for a in (-0.5, -0.75)),
    *(_by_scales(1, 1, 0.6, 0.45, mode=mode, antialias=1) for mode in ("linear", "cubic")),
    *(_by_sizes(1, 2, 3, 4, mode=mode, antialias=1, exclude_outside=exclude) for mode in ("linear", "cubic") for exclude in (0, 1)),
    *(_by_sizes(8, 3, axes=[2, 3], keep_aspect_ratio_policy=p) for p in ("stretch", "not_larger", "not_smaller")),
    *(
        _by_sizes(1, 1, 7, 41, x=normal(1, 1, 26, 32), nearest_mode=nearest, coordinate_transformation_mode=mode)
        for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
        for mode in ("half_pixel", "align_corners", "asymmetric")
    ),
    _by_sizes(12, 10, axes=[3, 2], mode="linear"),
    _by_scales(1, 1, 2, 2, opset=13, x=integers(1, 1, 3, 4, low=0, high=255, dtype="uint8")),
    _by_scales(1, 1, 1.7, 2.3, opset=13, mode="linear", x=integers(1, 1, 3, 4, low=0, high=255, dtype="int32")),
    _by_scales(1, 1, 2.0, opset=13, mode="linear", x=normal(2, 3, 7)),
    _by_scales(1, 1, 2.0, 1.5, 0.5, opset=13, mode="linear", x=normal(1, 2, 3, 4, 6)),
    _by_scales(1, 1, 2.0, 2.0, opset=13, mode="linear", x=_X.astype(np.float64)),
    *(
        Case(
            "Resize",
            [_X, f32(0, 0, 0.4, 0.6, 1, 1, 1.3, 0.9), None, i64(1, 2, 3, 4)],
            {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0},
            opset=13,
            rtol=1e-4,
            atol=1e-4,
        )
        for mode in ("nearest", "linear", "cubic")
    ),
    *(
        Case("Resize", [_X, f32(1, 1, *scale)], {"mode": mode}, opset=10)
        for mode in ("nearest", "linear")
        for scale in ((2, 3), (0.6, 0.5))
    ),
    Case(
        "Resize",
        [np.array([[[[4, -1, -1, -2], [-0.5, 0.25, -0.25, -0.75]]]]), None, None, i64(1, 1, 3, 2)],
        {"mode": "cubic"},
        opset=13,
        expected=[
            np.array([[[[1.6369900173611112, -1.5827365451388888], [0.7109375, -1.0234375], [-0.2151150173611111, -0.4641384548611111]]]])
        ],
        note="in exact fractions; the oracles compute in float32",
    ),
    *(Case("Upsample", [_X, f32(1, 1, 2, 1.5)], {"mode": mode}, opset=9) for mode in ("nearest", "linear")),
    Case("Upsample", [_X], {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "linear"}, opset=7),
    *(
        _grid(16, mode, padding, align)
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for align in (0, 1)
    ),
    _grid(20, "linear", "zeros", 0),
    _grid(20, "cubic", "border", 1),
    Case("GridSample", [normal(1, 2, 3, 4, 5), uniform(1, 2, 3, 2, 3, low=-1, high=1)], {"mode": "linear"}, opset=20, rtol=1e-4, atol=1e-5),
    *(_typed(t, mode) for t in ("float16", "float64") for mode in ("nearest", "linear", "cubic")),
    Case(
        "Resize",
        [np.array([[[[True, False], [False, True]]]]), None, f32(1, 1, 1.5, 2)],
        opset=19,
        expected=[np.array([[[[True, True, False, False], [True, True, False, False], [False, False, True, True]]]])],
        note="onnxruntime takes no bool",
    ),
    _by_scales(2.0, 2.0, 1.5, 0.5, x=normal(2, 3, 4, 5), nearest_mode="ceil"),
    *(
        Case(
            "Resize",
            [integers(1, 2, 12, 16, low=0, high=255, dtype="uint8"), None, f32(1, 1, *scale)],
            {"mode": "linear", "antialias": 1},
            opset=19,
            atol=1,
            note="onnxruntime's filter for bytes is in whole numbers",
        )
        for scale in ((0.25, 0.3), (1, 0.5))
    ),
    *(
        Case(
            "GridSample",
            [normal(1, 2, 3, 4, 5), uniform(1, 2, 3, 2, 3, low=-1.3, high=1.3)],
            {"mode": mode, "padding_mode": padding},
            opset=20,
            rtol=1e-4,
            atol=1e-5,
        )
        for mode in ("linear", "nearest")
        for padding in ("border", "reflection")
    ),
    Case(
        "GridSample",
        [normal(2, 3, 5, 6, dtype="f8"), uniform(2, 3, 2, 2, low=-1.2, high=1.2, dtype="f8")],
        {"mode": "cubic"},
        opset=20,
        oracle="reference",
        rtol=1e-4,
        atol=1e-5,
        note="the reference's weights are float32",
    ),
    *(Case("AffineGrid", [normal(2, 2, 3), i64(2, 3, 4, 5)], {"align_corners": align}, opset=20) for align in (0, 1)),
    Case("AffineGrid", [normal(1, 3, 4), i64(1, 2, 2, 3, 4)], opset=20),
]
