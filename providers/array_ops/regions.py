"""Pooling over regions of interest: RoiAlign, MaxRoiPool and CropAndResize.

Sampling of RoiAlign is separable, so that a region is two matrix products: the matrices are made on the host from its corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.gathering import check_bounds
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator


def _corners(size: int, start: float, length: float, bins: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The two input elements and weights for each sample along one axis: both (bins * samples, 2)."""
    step = length / bins
    places = start + np.repeat(np.arange(bins), samples) * step + (np.tile(np.arange(samples), bins) + 0.5) * step / samples
    inside = (places >= -1) & (places <= size)
    places = np.clip(places, 0, size - 1)
    low = places.astype(np.int64)
    fraction = places - low
    weights = np.stack([1 - fraction, fraction], 1) * inside[:, None]
    return np.stack([low, np.minimum(low + 1, size - 1)], 1), weights


def _matrix(corners: tuple[np.ndarray, np.ndarray], size: int, merged: bool) -> np.ndarray:
    """Rows that read one sample each, or (not merged) one corner of one sample each, of an axis of `size`."""
    indices, weights = corners
    rows = np.arange(len(indices))[:, None] if merged else np.arange(2 * len(indices)).reshape(-1, 2)
    matrix = np.zeros((len(indices) if merged else 2 * len(indices), size), np.float64)
    np.add.at(matrix, (np.broadcast_to(rows, indices.shape), indices), weights)
    return matrix


def _samples(sampling_ratio: int, length: float, bins: int) -> int:
    return sampling_ratio if sampling_ratio > 0 else max(1, int(np.ceil(length / bins)))


def _align_specs(x: Array, rois: Array, batch_indices: Array, *, output_height: int = 1, output_width: int = 1, **_: Any) -> Spec:
    if len(x.shape) != 4 or len(rois.shape) != 2 or rois.shape[1] != 4 or tuple(batch_indices.shape) != (rois.shape[0],):
        raise InvalidArgument(
            "RoiAlign: expected X (N, C, H, W), rois (count, 4) and batch_indices (count,), "
            f"got shapes {list(x.shape)}, {list(rois.shape)} and {list(batch_indices.shape)}"
        )
    return Spec((rois.shape[0], x.shape[1], output_height, output_width), x.dtype)


def _aligned(xp: Any, image: Array, roi: np.ndarray, sizes: tuple[int, int], ratio: int, mode: str) -> Array:
    """One region (start y, start x, height, width) of one image (C, H, W): (C, *sizes)."""
    matrices, counts = [], []
    for axis in range(2):
        samples = _samples(ratio, roi[2 + axis], sizes[axis])
        corners = _corners(image.shape[1 + axis], roi[axis], roi[2 + axis], sizes[axis], samples)
        matrices.append(xp.asarray(_matrix(corners, image.shape[1 + axis], mode == "avg").astype(image.dtype)))
        counts.append(samples if mode == "avg" else 2 * samples)
    values = xp.matmul(xp.matmul(matrices[0], image), matrices[1].T).reshape(-1, sizes[0], counts[0], sizes[1], counts[1])
    return values.mean(axis=(2, 4)) if mode == "avg" else values.max(axis=(2, 4))


def _roi_align(
    xp: Any,
    x: Array,
    rois: Array,
    batch_indices: Array,
    mode: str,
    sizes: tuple[int, int],
    ratio: int,
    scale: float,
    half_pixel: bool,
    out: Array,
) -> Array:
    if mode not in ("avg", "max"):
        raise InvalidArgument(f"RoiAlign: expected mode to be avg or max, got {mode!r}")
    result = xp.empty((rois.shape[0], x.shape[1], *sizes), widened(x).dtype) if out is None else out
    shift = 0.5 if half_pixel else 0.0
    for index, (roi, batch) in enumerate(zip(np.asarray(rois, np.float64), np.asarray(batch_indices), strict=True)):
        left, top, right, bottom = roi * scale - shift
        width, height = (right - left, bottom - top) if half_pixel else (max(right - left, 1.0), max(bottom - top, 1.0))
        result[index] = _aligned(xp, widened(x[int(batch)]), np.array([top, left, height, width]), sizes, ratio, mode)
    return stored(xp, result, x.dtype, out)


@operator("RoiAlign", since=10, specs=_align_specs, host=("rois", "batch_indices"))
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
    return _roi_align(xp, x, rois, batch_indices, mode, (output_height, output_width), sampling_ratio, spatial_scale, False, out)


@operator("RoiAlign", since=16, specs=_align_specs, host=("rois", "batch_indices"))
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
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise InvalidArgument(
            f"RoiAlign: expected coordinate_transformation_mode to be half_pixel or output_half_pixel, "
            f"got {coordinate_transformation_mode!r}"
        )
    half_pixel = coordinate_transformation_mode == "half_pixel"
    return _roi_align(xp, x, rois, batch_indices, mode, (output_height, output_width), sampling_ratio, spatial_scale, half_pixel, out)


def _pool_specs(x: Array, rois: Array, *, pooled_shape: Sequence[int], **_: Any) -> Spec:
    if len(x.shape) != 4 or len(rois.shape) != 2 or rois.shape[1] != 5:
        raise InvalidArgument(f"MaxRoiPool: expected X (N, C, H, W) and rois (count, 5), got shapes {list(x.shape)} and {list(rois.shape)}")
    return Spec((rois.shape[0], x.shape[1], *pooled_shape), x.dtype)


def _half_away(value: float) -> int:
    return int(np.floor(abs(value) + 0.5) * np.sign(value))


def _bin_edges(start: int, end: int, bins: int, size: int) -> list[tuple[int, int]]:
    step = max(end - start + 1, 1) / bins
    edges = ((int(np.floor(i * step)) + start, int(np.ceil((i + 1) * step)) + start) for i in range(bins))
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in edges]


@operator("MaxRoiPool", since=1, specs=_pool_specs, host=("rois",))
def max_roi_pool(xp: Any, x: Array, rois: Array, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0, out: Array = None) -> Array:
    """The greatest element of each bin of each region (batch, x1, y1, x2, y2).

    Spec: https://onnx.ai/onnx/operators/onnx__MaxRoiPool.html
    """
    result = xp.zeros((rois.shape[0], x.shape[1], *pooled_shape), x.dtype)
    for index, roi in enumerate(np.asarray(rois, np.float64)):
        left, top, right, bottom = (_half_away(float(edge) * spatial_scale) for edge in roi[1:])
        image = x[int(roi[0])]
        for i, (first, last) in enumerate(_bin_edges(top, bottom, pooled_shape[0], x.shape[2])):
            for j, (begin, end) in enumerate(_bin_edges(left, right, pooled_shape[1], x.shape[3])):
                if first < last and begin < end:
                    result[index, :, i, j] = image[:, first:last, begin:end].max(axis=(1, 2))
    return stored(xp, result, x.dtype, out)


def _crop_specs(x: Array, rois: Array, batch_indices: Array, crop_size: Array, **_: Any) -> Spec:
    sizes = integers(crop_size)
    if len(x.shape) != 4 or len(rois.shape) != 2 or rois.shape[1] != 4 or tuple(batch_indices.shape) != (rois.shape[0],):
        raise InvalidArgument(
            "CropAndResize: expected X (N, C, H, W), rois (count, 4) and batch_indices (count,), "
            f"got shapes {list(x.shape)}, {list(rois.shape)} and {list(batch_indices.shape)}"
        )
    if len(sizes) != 2 or min(sizes) < 1:
        raise InvalidArgument(f"CropAndResize: expected a positive height and width in crop_size, got {sizes}")
    return Spec((rois.shape[0], x.shape[1], *sizes), x.dtype)


def _crop_places(xp: Any, first: Array, last: Array, count: int, size: int) -> Array:
    """Where the elements of each crop lie along an axis of `size`, from the normalised ends of its region: (count of regions, count)."""
    first, last = first[:, None], last[:, None]
    if count == 1:
        return (first + last) * (size - 1) * 0.5
    return first * (size - 1) + xp.arange(count, dtype=first.dtype) * ((last - first) * (size - 1) / (count - 1))


def _known_crop_mode(operation: Operation) -> str | None:
    mode = operation.attributes.get("mode", "bilinear")
    return None if mode in ("bilinear", "nearest") else f"knows the modes bilinear and nearest, not {mode!r}"


@operator(
    "CropAndResize", domain="com.microsoft", specs=_crop_specs, host=("crop_size",), types=frozenset({"float"}), when=_known_crop_mode
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
    check_bounds(batch_indices, x.shape[0])
    sizes = integers(crop_size)
    places = [_crop_places(xp, rois[:, axis], rois[:, axis + 2], sizes[axis], x.shape[2 + axis]) for axis in (0, 1)]
    rows, columns = (xp.clip(place, 0, size - 1) for place, size in zip(places, x.shape[2:], strict=True))
    values = _nearest(xp, x, batch_indices, rows, columns) if mode == "nearest" else _bilinear(xp, x, batch_indices, rows, columns)
    inside = (rows == places[0])[:, :, None] & (columns == places[1])[:, None]
    return stored(xp, xp.moveaxis(xp.where(inside[..., None], values, x.dtype.type(extrapolation_value)), 3, 1), x.dtype, out)


def _elements(x: Array, images: Array, rows: Array, columns: Array) -> Array:
    """Elements at rows (R, H) and columns (R, W) of images (R,): (R, H, W, C)."""
    return x[images[:, None, None], :, rows.astype(np.int64)[:, :, None], columns.astype(np.int64)[:, None]]


def _nearest(xp: Any, x: Array, images: Array, rows: Array, columns: Array) -> Array:
    return _elements(x, images, xp.floor(rows + 0.5), xp.floor(columns + 0.5))


def _bilinear(xp: Any, x: Array, images: Array, rows: Array, columns: Array) -> Array:
    top, left = xp.floor(rows), xp.floor(columns)
    down, right = (rows - top)[:, :, None, None], (columns - left)[:, None, :, None]
    upper, lower = (
        _elements(x, images, row, left) * (1 - right) + _elements(x, images, row, xp.ceil(columns)) * right for row in (top, xp.ceil(rows))
    )
    return upper * (1 - down) + lower * down
