"""Resize and Upsample: each axis resampled on its own, one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axes
from onnxgpu.providers.array_ops.precision import is_floating, stored
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.resampling import (
    FLOAT,
    AxisScale,
    antialias_taps,
    blended,
    cubic_taps,
    linear_taps,
    nearest_indices,
    original_coordinates,
)

Scales = Mapping[int, AxisScale]


def axis_scales(x: Array, roi: Any, scales: Any, sizes: Any, axes: Sequence[int] | None, policy: str) -> Scales:
    """How each named axis is resized, from the operator's host inputs.

    Raises:
        InvalidArgument: they do not fit the input.
    """
    rank = len(x.shape)
    named = normalized_axes(axes, rank, "Resize") if axes else tuple(range(rank))
    by_scale, by_size = scales is not None and len(scales) > 0, sizes is not None and len(sizes) > 0
    given = scales if by_scale else sizes
    if by_scale == by_size or len(given) != len(named):
        raise InvalidArgument(
            f"Resize: expected either scales or sizes, with {len(named)} numbers for an input of shape {list(x.shape)}, "
            f"got {'both' if by_scale and by_size else 'neither' if not by_scale and not by_size else [float(number) for number in given]}"
        )
    inputs = [int(x.shape[axis]) for axis in named]
    if by_scale:
        factors = [float(s) for s in scales]
        if any(factor <= 0 for factor in factors):
            raise InvalidArgument(f"Resize: expected positive scales, got {factors}")
        outputs = [int(np.floor(FLOAT(factor) * FLOAT(size))) for factor, size in zip(factors, inputs, strict=True)]
    else:
        outputs, factors = _by_sizes([int(size) for size in sizes], inputs, policy)
    region = _region(roi, len(named))
    return {axis: AxisScale(i, o, f, *r) for axis, i, o, f, r in zip(named, inputs, outputs, factors, region, strict=True)}


def _by_sizes(sizes: list[int], inputs: list[int], policy: str) -> tuple[list[int], list[float]]:
    ratios = [size / max(1, of) for size, of in zip(sizes, inputs, strict=True)]
    if policy == "stretch":
        return sizes, ratios
    if policy not in ("not_larger", "not_smaller"):
        raise InvalidArgument(f"Resize: expected keep_aspect_ratio_policy to be stretch, not_larger or not_smaller, got {policy!r}")
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [math.floor(ratio * of + 0.5) for of in inputs], [ratio] * len(inputs)


def _region(roi: Any, count: int) -> list[tuple[float, float]]:
    if roi is None or len(roi) != 2 * count:
        return [(0.0, 1.0)] * count
    return [(float(start), float(end)) for start, end in zip(roi[:count], roi[count:], strict=True)]


def _output_shape(x: Array, scales: Scales) -> tuple[int, ...]:
    return tuple(scales[axis].output if axis in scales else int(size) for axis, size in enumerate(x.shape))


def is_changed(axis: AxisScale, transformation: str) -> bool:
    """True if the axis does not stay as it is."""
    return axis.output != axis.size or axis.scale != 1 or (transformation == "tf_crop_and_resize" and (axis.start, axis.end) != (0.0, 1.0))


def _resampled(xp: Any, x: Array, scales: Scales, mode: str, transformation: str, options: Mapping[str, Any]) -> Array:
    """`x` resampled along its changed axes, in a floating type unless `mode` is nearest."""
    changed = {axis: scale for axis, scale in scales.items() if is_changed(scale, transformation)}
    if mode != "nearest" and (not is_floating(x.dtype) or x.dtype.itemsize < 4):
        x = x.astype(FLOAT)
    dtype = np.dtype(np.float64 if x.dtype == np.float64 and mode != "nearest" else FLOAT)
    for axis, scale in changed.items():
        coordinates = original_coordinates(transformation, scale, dtype)
        if mode == "nearest":
            x = xp.take(x, xp.asarray(nearest_indices(coordinates, options["nearest_mode"], scale)), axis=axis)
            continue
        a, exclude = options["cubic_coeff_a"], options["exclude_outside"]
        if options["antialias"]:
            taps = antialias_taps(coordinates, mode, scale, a, exclude)
        else:
            taps = cubic_taps(coordinates, scale, a, exclude) if mode == "cubic" else linear_taps(coordinates, scale)
        x = blended(xp, x, axis, taps)
    return x


def _extrapolated(xp: Any, x: Array, scales: Scales, value: float) -> Array:
    """`x` with `value` wherever tf_crop_and_resize reads outside of the input."""
    for axis, scale in scales.items():
        coordinates = original_coordinates("tf_crop_and_resize", scale)
        outside = (coordinates < 0) | (coordinates > scale.size - 1)
        if is_changed(scale, "tf_crop_and_resize") and outside.any():
            mask = xp.asarray(outside.reshape(-1, *(1,) * (len(x.shape) - 1 - axis)))
            x = xp.where(mask, xp.asarray(value, dtype=x.dtype), x)
    return x


def _as_type(xp: Any, result: Array, dtype: np.dtype, antialias: int) -> Array:
    """Integers are cut off, as onnxruntime does; after an antialiasing filter, as image libraries do, they are rounded."""
    if dtype.kind not in "iu" or result.dtype == dtype:
        return result
    limits = np.iinfo(dtype)
    return xp.clip(xp.floor(result + 0.5) if antialias else xp.trunc(result), limits.min, limits.max)


def _resize_specs(
    x: Array,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
    **_: Any,
) -> Spec:
    return Spec(_output_shape(x, axis_scales(x, roi, scales, sizes, axes, keep_aspect_ratio_policy)), x.dtype)


@operator("Resize", since=11, specs=_resize_specs, host=("roi", "scales", "sizes"))
def resize(
    xp: Any,
    x: Array,
    roi: Array = None,
    scales: Array = None,
    sizes: Array = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    out: Array = None,
) -> Array:
    """Resampled to new sizes or by factors. Spec: https://onnx.ai/onnx/operators/onnx__Resize.html"""
    if mode not in ("nearest", "linear", "cubic"):
        raise InvalidArgument(f"Resize: expected mode to be nearest, linear or cubic, got {mode!r}")
    changes = axis_scales(x, roi, scales, sizes, axes, keep_aspect_ratio_policy)
    if math.prod(_output_shape(x, changes)) == 0:
        return stored(xp, xp.empty(_output_shape(x, changes), x.dtype), x.dtype, out)
    options = {"nearest_mode": nearest_mode, "cubic_coeff_a": cubic_coeff_a, "exclude_outside": exclude_outside, "antialias": antialias}
    result = _resampled(xp, x, changes, mode, coordinate_transformation_mode, options)
    if coordinate_transformation_mode == "tf_crop_and_resize":
        result = _extrapolated(xp, result, changes, extrapolation_value)
    return stored(xp, _as_type(xp, result, x.dtype, antialias), x.dtype, out)


def _scales_specs(x: Array, scales: Any, **_: Any) -> Spec:
    return Spec(_output_shape(x, axis_scales(x, None, scales, None, None, "stretch")), x.dtype)


def _upsampled(xp: Any, x: Array, scales: Any, mode: str, out: Array | None) -> Array:
    """The resampling of the opsets before 11: coordinates divided by the factor, cut off or (downsampling) rounded up."""
    if mode not in ("nearest", "linear", "bilinear"):
        raise InvalidArgument(f"Upsample: expected mode to be nearest or linear, got {mode!r}")
    options = {"nearest_mode": "simple", "cubic_coeff_a": -0.75, "exclude_outside": 0, "antialias": 0}
    changes = axis_scales(x, None, scales, None, None, "stretch")
    result = _resampled(xp, x, changes, "nearest" if mode == "nearest" else "linear", "asymmetric", options)
    return stored(xp, _as_type(xp, result, x.dtype, 0), x.dtype, out)


@operator("Resize", since=10, specs=_scales_specs, host=("scales",))
def resize_by_scales(xp: Any, x: Array, scales: Array, *, mode: str = "nearest", out: Array = None) -> Array:
    """Resampled by factors. Spec: https://onnx.ai/onnx/operators/onnx__Resize.html (opset 10)"""
    return _upsampled(xp, x, scales, mode, out)


@operator("Upsample", since=9, specs=_scales_specs, host=("scales",))
def upsample(xp: Any, x: Array, scales: Array, *, mode: str = "nearest", out: Array = None) -> Array:
    """Resampled by factors. Spec: https://onnx.ai/onnx/operators/onnx__Upsample.html"""
    return _upsampled(xp, x, scales, mode, out)


def _attribute_specs(x: Array, *, scales: Sequence[float], **_: Any) -> Spec:
    return _scales_specs(x, scales)


@operator("Upsample", since=7, specs=_attribute_specs)
def upsample_by_attribute(xp: Any, x: Array, *, scales: Sequence[float], mode: str = "nearest", out: Array = None) -> Array:
    """Resampled by factors. Spec: https://onnx.ai/onnx/operators/onnx__Upsample.html (opset 7)"""
    return _upsampled(xp, x, scales, mode, out)


def _image_specs(x: Array, *, height_scale: float, width_scale: float, **_: Any) -> Spec:
    return _scales_specs(x, (1.0, 1.0, height_scale, width_scale))


@operator("Upsample", since=1, specs=_image_specs)
def upsample_image(xp: Any, x: Array, *, height_scale: float, width_scale: float, mode: str = "nearest", out: Array = None) -> Array:
    """Images resampled by two factors. Spec: https://onnx.ai/onnx/operators/onnx__Upsample.html (opset 1)"""
    return _upsampled(xp, x, (1.0, 1.0, height_scale, width_scale), mode, out)
