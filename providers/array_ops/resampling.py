"""One axis resampled: where each output element lies in the input, and which input elements it blends.

Coordinates are float32, as in onnxruntime, so that ties round the same way; float64 where float64 numbers are blended.
Spec: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array

FLOAT = np.float32
SINGLE = np.dtype(FLOAT)
_MOST_TAPS = 4
_HALF = 0.5 + 1e-6


@dataclass(frozen=True, slots=True)
class AxisScale:
    """How one axis is resized: its sizes, the factor, and the part of the input that is taken (in units of its length)."""

    size: int
    output: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class Taps:
    """For each output element the input elements it blends and their weights, both (output, taps)."""

    indices: np.ndarray
    weights: np.ndarray


def original_coordinates(mode: str, axis: AxisScale, dtype: np.dtype = SINGLE) -> np.ndarray:
    """The position in the input of each output element, by `coordinate_transformation_mode`, in `dtype`.

    tf_half_pixel_for_nn is opset 11's; tf2onnx writes it at every opset and onnxruntime takes it. As there, an axis that is
    not scaled stays as it is.

    Raises:
        InvalidArgument: no such mode.
    """
    x: np.ndarray = np.arange(axis.output, dtype=dtype)
    scale, size, output = np.asarray(axis.scale, dtype), np.asarray(axis.size, dtype), axis.output
    if scale == 1 and output == axis.size and mode != "tf_crop_and_resize":
        return x
    half: np.ndarray = (x + 0.5) / scale - 0.5
    if mode == "half_pixel":
        return half
    if mode == "asymmetric":
        return np.asarray(x / scale)
    if mode == "tf_half_pixel_for_nn":
        return np.asarray((x + 0.5) / scale)
    if mode == "pytorch_half_pixel":
        return half if output > 1 else np.zeros_like(x)
    if mode == "align_corners":
        last = np.asarray(aligned_end(axis), dtype)
        return x * (size - 1) / last if output > 1 and last != 0 else np.zeros_like(x)
    if mode == "half_pixel_symmetric":
        return np.asarray(size / 2 * (1 - output / (scale * size)) + half)
    if mode == "tf_crop_and_resize":
        start, end = np.asarray(axis.start, dtype), np.asarray(axis.end, dtype)
        if output > 1:
            return np.asarray(start * (size - 1) + x * (end - start) * (size - 1) / (output - 1))
        return np.full_like(x, 0.5 * (start + end) * (size - 1))
    raise InvalidArgument(
        "Resize: expected coordinate_transformation_mode to be half_pixel, half_pixel_symmetric, pytorch_half_pixel, tf_half_pixel_for_nn, "
        f"align_corners, asymmetric or tf_crop_and_resize, got {mode!r}"
    )


def aligned_end(axis: AxisScale) -> float:
    """The coordinate of the last output element where corners are aligned: that of the length, which need not be whole."""
    length = axis.scale * axis.size
    return (axis.output if math.isclose(length, axis.output, rel_tol=1e-6) else length) - 1


def nearest_indices(coordinates: np.ndarray, mode: str, axis: AxisScale) -> np.ndarray:
    """The input element for each output element; "simple" is the rounding of the opsets before 11.

    Halves are those within 1e-6 of one, as in onnxruntime, since the coordinates are rounded.

    Raises:
        InvalidArgument: no such mode.
    """
    roundings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda x: np.ceil(x.astype(np.float64) - _HALF),
        "round_prefer_ceil": lambda x: np.floor(x.astype(np.float64) + _HALF),
        "floor": np.floor,
        "ceil": np.ceil,
        "simple": np.ceil if axis.scale < 1 else np.floor,
    }
    if mode not in roundings:
        raise InvalidArgument(f"Resize: expected nearest_mode to be round_prefer_floor, round_prefer_ceil, floor or ceil, got {mode!r}")
    rounded = roundings[mode](coordinates).astype(np.int64)
    return np.clip(rounded, 0, axis.size - 1)


def linear_taps(coordinates: np.ndarray, axis: AxisScale) -> Taps:
    """The two neighbours of each coordinate, which is moved into the input first."""
    inside = np.clip(coordinates, 0, axis.size - 1)
    left = np.floor(inside).astype(np.int64)
    right_weight = inside - left
    return Taps(np.stack([left, np.minimum(left + 1, axis.size - 1)], 1), np.stack([1 - right_weight, right_weight], 1))


def cubic_weight(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with free parameter `a`."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def cubic_taps(coordinates: np.ndarray, axis: AxisScale, a: float, exclude_outside: int) -> Taps:
    """The four neighbours of each coordinate; those outside repeat the edge, or do not count."""
    indices = np.floor(coordinates).astype(np.int64)[:, None] + np.arange(-1, 3)
    return _at_edges(indices, cubic_weight(indices - coordinates[:, None], a), axis, exclude_outside)


def antialias_taps(coordinates: np.ndarray, mode: str, axis: AxisScale, a: float, exclude_outside: int) -> Taps:
    """The neighbours under a filter widened by the downsampling factor."""
    shrink = min(axis.scale, 1.0)
    reach = (2 if mode == "cubic" else 1) / shrink
    indices = np.floor(coordinates).astype(np.int64)[:, None] + np.arange(-int(np.ceil(reach)), int(np.ceil(reach)) + 2)
    distance = (indices - coordinates[:, None].astype(np.float64)) * shrink
    weights = cubic_weight(distance, a) if mode == "cubic" else np.maximum(0, 1 - np.abs(distance))
    return _at_edges(indices, weights / weights.sum(axis=1, keepdims=True), axis, exclude_outside)


def _at_edges(indices: np.ndarray, weights: np.ndarray, axis: AxisScale, exclude_outside: int) -> Taps:
    if exclude_outside:
        weights = np.where((indices >= 0) & (indices < axis.size), weights, 0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return Taps(np.clip(indices, 0, axis.size - 1), weights)


def blended(xp: Any, x: Array, axis: int, taps: Taps) -> Array:
    """`x` with `axis` resampled: a sum over few taps, a matrix product over many."""
    weights = taps.weights.astype(x.dtype)
    output, count = weights.shape
    if count <= _MOST_TAPS:
        shape = (-1, *(1,) * (len(x.shape) - 1 - axis))
        parts = (xp.take(x, xp.asarray(taps.indices[:, t]), axis=axis) * xp.asarray(weights[:, t].reshape(shape)) for t in range(count))
        result = next(parts)
        for part in parts:
            result += part
        return result
    matrix = np.zeros((x.shape[axis], output), weights.dtype)
    np.add.at(matrix, (taps.indices, np.arange(output)[:, None]), weights)
    return xp.moveaxis(xp.matmul(xp.moveaxis(x, axis, -1), xp.asarray(matrix)), -1, axis)
