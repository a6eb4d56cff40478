"""Resampling and regions of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import is_integer
from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates


@generates("Resize")
def resize(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    x = draw.plain(dtype, (1, draw.integer(1, 2), draw.integer(2, 4), draw.integer(2, 4)))
    mode = draw.among(["nearest", "linear", "cubic"] if draw.version >= 11 else ["nearest", "linear"])
    attributes: dict[str, Any] = {"mode": mode} if mode != "nearest" or draw.flag() else {}
    scales = np.array([1, 1, *(draw.among([0.5, 1.0, 1.5, 2.0, 3.0]) for _ in range(2))], np.float32)
    if draw.version < 11:
        return Example([x, scales], attributes)
    coordinates = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    coordinates += ["tf_half_pixel_for_nn"] * (draw.version < 13) + ["half_pixel_symmetric"] * (draw.version >= 19)
    attributes |= draw.some(
        {
            "coordinate_transformation_mode": lambda: draw.among(coordinates),
            "nearest_mode": lambda: draw.among(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
        }
    )
    if mode == "cubic":
        attributes |= draw.some({"cubic_coeff_a": lambda: -0.5, "exclude_outside": lambda: draw.integer(0, 1)})
    if mode != "nearest":
        attributes |= draw.some({"antialias": lambda: draw.integer(0, 1)})
    roi = np.zeros(0, np.float32) if draw.version < 13 else None
    if draw.flag():
        return Example([x, roi, scales], attributes)
    sizes = [1, x.shape[1], draw.integer(1, 6), draw.integer(1, 6)]
    if draw.version >= 18 and draw.flag():
        attributes |= {
            "axes": [2, 3],
            **draw.some({"keep_aspect_ratio_policy": lambda: draw.among(["stretch", "not_larger", "not_smaller"])}),
        }
        sizes = sizes[2:]
    empty = np.zeros(0, np.float32) if draw.version < 13 else None
    return Example([x, roi, empty, np.array(sizes)], attributes)


@generates("Upsample")
def upsample(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("X"), (1, 1, draw.integer(1, 3), draw.integer(1, 3)))
    height, width = draw.among([1.0, 2.0, 3.0]), draw.among([1.0, 2.0])
    mode = draw.some({"mode": lambda: draw.among(["nearest", "linear" if draw.version >= 7 else "bilinear"])})
    if draw.version == 1:
        return Example([x], {"height_scale": height, "width_scale": width, **mode})
    scales = [1.0, 1.0, height, width]
    return Example([x], {"scales": scales, **mode}) if draw.version < 9 else Example([x, np.array(scales, np.float32)], mode)


@generates("GridSample")
def grid_sample(draw: Draw) -> Example:
    """Integers are not interpolated: the specification does not say how they are rounded."""
    spatial = draw.among([2, 3]) if draw.version >= 20 else 2
    modes = ["linear", "nearest", "cubic"] if draw.version >= 20 else ["bilinear", "nearest", "bicubic"]
    if spatial == 3:
        modes.pop()
    x = draw.plain(draw.dtype("X"), (draw.integer(1, 2), draw.integer(1, 2), *draw.shape((spatial, spatial), (1, 3))))
    grid = draw.plain(draw.dtype("grid"), (x.shape[0], *draw.shape((spatial, spatial), (1, 2)), spatial), -1, 1)
    outside = grid * grid.dtype.type(1.375) if draw.flag() else grid * grid.dtype.type(0.875)
    if is_integer(x.dtype):
        modes = ["nearest"]
    attributes = {"mode": draw.among(modes)} | draw.some(
        {
            "padding_mode": lambda: draw.among(["zeros", "border", "reflection"]),
            "align_corners": lambda: draw.integer(0, 1),
        }
    )
    return Example([x, outside.astype(grid.dtype)], attributes)


@generates("AffineGrid")
def affine_grid(draw: Draw) -> Example:
    """Two points or more an axis: with align_corners the specification does not say where a single one lies."""
    spatial, batch = draw.integer(2, 3), draw.integer(1, 2)
    theta = draw.plain(draw.dtype("theta"), (batch, spatial, spatial + 1), -1, 1)
    size = np.array([batch, 1, *draw.shape((spatial, spatial), (2, 3))])
    return Example([theta, size], draw.some({"align_corners": lambda: draw.integer(0, 1)}))


def boxes(draw: Draw, count: int) -> np.ndarray:
    """Regions (x1, y1, x2, y2) whose second corner lies behind the first."""
    corner = draw.generator.integers(0, 3, (count, 2))
    return np.concatenate([corner, corner + draw.generator.integers(1, 4, (count, 2))], 1).astype(np.float64)


@generates("RoiAlign")
def roi_align(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    batch, count = draw.integer(1, 2), draw.integer(1, 3)
    x = draw.plain(dtype, (batch, draw.integer(1, 2), 4, 5))
    numbers = {
        "mode": lambda: draw.among(["avg", "max"]),
        "output_height": lambda: draw.integer(1, 3),
        "output_width": lambda: draw.integer(1, 3),
        "sampling_ratio": lambda: draw.integer(0, 2),
        "spatial_scale": lambda: draw.among([1.0, 0.5]),
        "coordinate_transformation_mode": lambda: draw.among(["half_pixel", "output_half_pixel"]),
    }
    return Example([x, boxes(draw, count).astype(dtype), draw.generator.integers(0, batch, count)], draw.some(numbers))


@generates("MaxRoiPool")
def max_roi_pool(draw: Draw) -> Example:
    dtype = draw.dtype("X")
    x = draw.plain(dtype, (1, draw.integer(1, 2), 5, 6))
    count = draw.integer(1, 2)
    rois = np.concatenate([np.zeros((count, 1)), boxes(draw, count)], 1).astype(dtype)
    return Example([x, rois], {"pooled_shape": [draw.integer(1, 3), draw.integer(1, 3)], **draw.some({"spatial_scale": lambda: 0.5})})


@generates("NonMaxSuppression")
def non_max_suppression(draw: Draw) -> Example:
    """Scores are distinct, so that their order is determined."""
    batch, classes, count = draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 6)
    corners = np.stack([boxes(draw, count) for _ in range(batch)]).astype(np.float32)
    scores = draw.generator.permutation(batch * classes * count).reshape(batch, classes, count).astype(np.float32) / 16
    numbers: list[np.ndarray | None] = [
        np.array([draw.integer(0, 4)]) if draw.flag() else None,
        np.array([draw.among([0.0, 0.3, 0.5, 1.0])], np.float32) if draw.flag() else None,
        np.array([draw.among([0.0, 0.1, 0.5])], np.float32) if draw.flag() else None,
    ]
    while numbers and numbers[-1] is None:
        numbers.pop()
    return Example([corners, scores, *numbers], draw.some({"center_point_box": lambda: draw.integer(0, 1)}))
