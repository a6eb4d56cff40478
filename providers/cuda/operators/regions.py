"""RoiAlign, MaxRoiPool and CropAndResize: a thread an element; the regions are read on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.registry import array_specs, operator

ALIGN = Template("regions.cu", "align_regions<{T}>", "ppppsdibb", T=FLOATS)
POOL = Template("regions.cu", "pool_regions<{T}>", "pppsd", T=FLOATS)
CROP = Template("regions.cu", "crop_regions", "ppppsbf")


def _grid(y: Array) -> tuple[int, int]:
    return blocks_for(y.size), THREADS


def _structure(x: Array, y: Array) -> np.ndarray:
    """The kernels' structure Regions."""
    return np.array([*x.shape, *y.shape[2:], y.size], np.int64)


def _refusal(operation: Operation) -> str | None:
    attributes = operation.attributes
    if attributes.get("mode", "avg") not in ("avg", "max"):
        return f"knows the modes avg and max, not {attributes['mode']!r}"
    transformation = attributes.get("coordinate_transformation_mode", "half_pixel")
    if transformation not in ("half_pixel", "output_half_pixel"):
        return f"knows the coordinates half_pixel and output_half_pixel, not {transformation!r}"
    return None


def _aligned(
    xp: Any, x: Array, rois: Array, images: Array, mode: str, sizes: tuple[int, int], ratio: int, scale: float, shifted: bool, out: Array
) -> Array:
    y = xp.empty((rois.shape[0], x.shape[1], *sizes), x.dtype) if out is None else out
    kernel, shape = ALIGN.instance(T=x.dtype), _structure(x, y)
    kernel.launch(*_grid(y), dense(xp, x), dense(xp, rois), dense(xp, images), y, shape, scale, ratio, shifted, mode == "max")
    return y


@operator("RoiAlign", since=10, specs=array_specs("RoiAlign", 10), types=FLOAT_NAMES, when=_refusal)
def roi_align_without_shift(
    xp: Any,
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    out: Array = None,
) -> Array:
    """Bilinear samples of each region, averaged or their greatest. Spec: https://onnx.ai/onnx/operators/onnx__RoiAlign.html (opset 10)"""
    return _aligned(xp, x, rois, batch_indices, mode, (output_height, output_width), sampling_ratio, spatial_scale, False, out)


@operator("RoiAlign", since=16, specs=array_specs("RoiAlign"), types=FLOAT_NAMES, when=_refusal)
def roi_align(
    xp: Any,
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    out: Array = None,
) -> Array:
    """Bilinear samples of each region, averaged or their greatest. Spec: https://onnx.ai/onnx/operators/onnx__RoiAlign.html"""
    shifted, sizes = coordinate_transformation_mode == "half_pixel", (output_height, output_width)
    return _aligned(xp, x, rois, batch_indices, mode, sizes, sampling_ratio, spatial_scale, shifted, out)


@operator("MaxRoiPool", since=1, specs=array_specs("MaxRoiPool"), types=FLOAT_NAMES)
def max_roi_pool(xp: Any, x: Array, rois: Array, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0, out: Array = None) -> Array:
    """The greatest element of each bin of each region (batch, x1, y1, x2, y2).

    Spec: https://onnx.ai/onnx/operators/onnx__MaxRoiPool.html
    """
    y = xp.empty((rois.shape[0], x.shape[1], *pooled_shape), x.dtype) if out is None else out
    POOL.instance(T=x.dtype).launch(*_grid(y), dense(xp, x), dense(xp, rois), y, _structure(x, y), spatial_scale)
    return y


def _crop_refusal(operation: Operation) -> str | None:
    mode = operation.attributes.get("mode", "bilinear")
    return None if mode in ("bilinear", "nearest") else f"knows the modes bilinear and nearest, not {mode!r}"


@operator(
    "CropAndResize",
    domain="com.microsoft",
    specs=array_specs("CropAndResize", domain="com.microsoft"),
    host=("crop_size",),
    types=frozenset({"float"}),
    when=_crop_refusal,
)
def crop_and_resize(
    xp: Any,
    x: Array,
    rois: Array,
    batch_indices: Array,
    crop_size: Array,
    *,
    extrapolation_value: float = 0.0,
    mode: str = "bilinear",
    out: Array = None,
) -> Array:
    """Regions (y1, x1, y2, x2 in [0, 1]) of images, each resized to `crop_size`, corners on corners.

    What lies outside of the image is `extrapolation_value`. Spec: onnxruntime's ContribOperators.md
    """
    y = xp.empty((rois.shape[0], x.shape[1], *integers(crop_size)), x.dtype) if out is None else out
    inputs = dense(xp, x), dense(xp, rois), dense(xp, batch_indices)
    CROP.instance().launch(*_grid(y), *inputs, y, _structure(x, y), mode == "nearest", extrapolation_value)
    return y
