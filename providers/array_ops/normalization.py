"""Normalisation by the statistics of some axes of one tensor: layer, RMS, instance, group, Lp, mean-variance, LRN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axes, normalized_axis
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first


def standardized(xp: Any, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """`x` with mean 0 and variance 1 along `axes`, the mean, and 1 / sqrt(variance + epsilon), in `x`'s own dtype."""
    mean = xp.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    inverse = 1 / xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + epsilon)
    centred *= inverse
    return centred, mean, inverse


def scaled_by_root_mean_square(xp: Any, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """`x` over its root mean square along `axes`, and 1 / sqrt(mean square + epsilon), in `x`'s own dtype."""
    inverse = 1 / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + epsilon)
    return x * inverse, inverse


def per_channel(x: Array, rank: int) -> Array:
    """A vector of one number a channel, shaped to broadcast over (N, C, …) of `rank`."""
    return x.reshape(1, -1, *(1,) * (rank - 2))


def _last_axes(x: Array, axis: int, name: str) -> tuple[int, ...]:
    rank = len(x.shape)
    return tuple(range(normalized_axis(axis, rank, name), rank))


def _check_parameter(x: Array, parameter: Array | None, name: str) -> None:
    """Raise InvalidArgument unless a scale or bias broadcasts to the input's shape."""
    shape = tuple(x.shape)
    if parameter is None:
        return
    given = tuple(parameter.shape)
    if len(given) > len(shape) or any(size not in (1, whole) for size, whole in zip(given[::-1], shape[::-1], strict=False)):
        raise InvalidArgument(
            f"{name}: expected a scale and bias that broadcast to the input's shape {list(shape)}, got shape {list(given)}"
        )


def layer_specs(
    x: Array, scale: Array, bias: Array = None, *, axis: int = -1, stash_type: int = 1, output_count: int = 1, **_: Any
) -> tuple[Spec, ...]:
    """Of `layer_normalization`: the result, like `x`, then mean and inverse standard deviation in `stash_type`.

    Raises:
        InvalidArgument: `axis` is out of range, or `scale` or `bias` does not broadcast to `x`.
    """
    axes = _last_axes(x, axis, "LayerNormalization")
    _check_parameter(x, scale, "LayerNormalization")
    _check_parameter(x, bias, "LayerNormalization")
    statistics = Spec(tuple(1 if i in axes else size for i, size in enumerate(x.shape)), dtype_of(stash_type))
    return (Spec(tuple(x.shape), x.dtype, may_reuse=(0,)), statistics, statistics)[:output_count]


@operator("LayerNormalization", since=1, specs=layer_specs)
def layer_normalization(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Normalised over the axes from `axis` on; also mean and inverse standard deviation.

    Registered from opset 1 because exporters wrote it into domain ai.onnx before opset 17 defined it there.
    Spec: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
    """
    result, mean, inverse = standardized(xp, widened(x), _last_axes(x, axis, "LayerNormalization"), epsilon)
    result *= widened(scale)
    if bias is not None:
        result += widened(bias)
    outputs = (out,) if output_count == 1 else out or (None,) * output_count
    dtypes = (x.dtype, dtype_of(stash_type), dtype_of(stash_type))
    return tuple(stored(xp, value, dtype, place) for value, dtype, place in zip((result, mean, inverse), dtypes, outputs, strict=False))


def root_mean_square_specs(x: Array, scale: Array, **_: Any) -> Spec:
    """Of `rms_normalization`: like `x`.

    Raises:
        InvalidArgument: `scale` does not broadcast to `x`.
    """
    _check_parameter(x, scale, "RMSNormalization")
    return like_first(x)


@operator("RMSNormalization", since=23, specs=root_mean_square_specs)
def rms_normalization(
    xp: Any, x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, out: Array = None
) -> Array:
    """Over the root mean square of the axes from `axis` on. Spec: https://onnx.ai/onnx/operators/onnx__RMSNormalization.html"""
    result, _ = scaled_by_root_mean_square(xp, widened(x), _last_axes(x, axis, "RMSNormalization"), epsilon)
    return stored(xp, result * widened(scale), x.dtype, out)


def simplified_specs(x: Array, scale: Array, *, axis: int = -1, output_count: int = 1, **_: Any) -> tuple[Spec, ...]:
    """Of `simplified_layer_normalization`."""
    axes = _last_axes(x, axis, "SimplifiedLayerNormalization")
    _check_parameter(x, scale, "SimplifiedLayerNormalization")
    statistics = Spec(tuple(1 if i in axes else size for i, size in enumerate(x.shape)), np.dtype(np.float32))
    return (Spec(tuple(x.shape), x.dtype, may_reuse=(0,)), statistics)[:output_count]


def simplified_layer_normalization(
    xp: Any, x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, output_count: int = 1, out: Any = None
) -> tuple[Array, ...]:
    """Over the root mean square of the axes from `axis` on, and its inverse. Spec: onnxruntime's ContribOperators.md"""
    result, inverse = scaled_by_root_mean_square(xp, widened(x), _last_axes(x, axis, "SimplifiedLayerNormalization"), epsilon)
    first_out, second_out = (out, None) if output_count == 1 else out or (None, None)
    first = stored(xp, result * widened(scale), x.dtype, first_out)
    return (first,) if output_count == 1 else (first, stored(xp, inverse, np.dtype(np.float32), second_out))


for _domain in ("", "com.microsoft"):
    operator("SimplifiedLayerNormalization", domain=_domain, specs=simplified_specs)(simplified_layer_normalization)


def checked_channels(x: Array, vectors: Sequence[Array], expected: int, name: str) -> None:
    """Raise InvalidArgument unless `x` is (N, C, …) and each vector has the `expected` size."""
    if len(x.shape) < 2:
        raise InvalidArgument(f"{name}: expected an input of shape (N, C, …), got shape {list(x.shape)}")
    for vector in vectors:
        if tuple(vector.shape) != (expected,):
            raise InvalidArgument(
                f"{name}: expected parameters of shape [{expected}] for an input of shape {list(x.shape)}, got {list(vector.shape)}"
            )


def _spatial_axes(x: Array) -> tuple[int, ...]:
    return tuple(range(2, len(x.shape)))


@operator("InstanceNormalization", since=1, specs=like_first)
def instance_normalization(
    xp: Any, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5, consumed_inputs: Any = None, out: Array = None
) -> Array:
    """Each channel of each sample normalised over its spatial axes.

    Spec: https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html
    """
    checked_channels(x, (scale, bias), x.shape[1] if len(x.shape) > 1 else 0, "InstanceNormalization")
    result, _, _ = standardized(xp, widened(x), _spatial_axes(x), epsilon)
    rank = len(x.shape)
    return stored(xp, result * per_channel(widened(scale), rank) + per_channel(widened(bias), rank), x.dtype, out)


def _grouped(xp: Any, x: Array, groups: int, epsilon: float) -> Array:
    batch, channels = x.shape[:2]
    if groups < 1 or channels % groups:
        raise InvalidArgument(f"GroupNormalization: expected num_groups to divide the {channels} channels, got {groups}")
    inner = math.prod(x.shape[1:]) // groups
    result, _, _ = standardized(xp, widened(x).reshape(batch, groups, inner), (2,), epsilon)
    return result


@operator("GroupNormalization", since=18, specs=like_first)
def group_normalization_by_group(
    xp: Any, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5, out: Array = None
) -> Array:
    """Groups of channels normalised, one scale and bias a group. Spec: https://onnx.ai/onnx/operators/onnx__GroupNormalization.html"""
    checked_channels(x, (scale, bias), num_groups, "GroupNormalization")
    result = _grouped(xp, x, num_groups, epsilon) * per_channel(widened(scale), 3) + per_channel(widened(bias), 3)
    return stored(xp, result.reshape(x.shape), x.dtype, out)


@operator("GroupNormalization", since=21, specs=like_first)
def group_normalization(
    xp: Any, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1, out: Array = None
) -> Array:
    """Groups of channels normalised, one scale and bias a channel. Spec: https://onnx.ai/onnx/operators/onnx__GroupNormalization.html"""
    checked_channels(x, (scale, bias), x.shape[1] if len(x.shape) > 1 else 0, "GroupNormalization")
    result = _grouped(xp, x, num_groups, epsilon).reshape(x.shape)
    rank = len(x.shape)
    return stored(xp, result * per_channel(widened(scale), rank) + per_channel(widened(bias), rank), x.dtype, out)


@operator("LpNormalization", since=1, specs=like_first)
def lp_normalization(xp: Any, x: Array, *, axis: int = -1, p: int = 2, out: Array = None) -> Array:
    """Over the Lp norm (p is 1 or 2) of one axis; zero vectors stay zero.

    Spec: https://onnx.ai/onnx/operators/onnx__LpNormalization.html
    """
    if p not in (1, 2):
        raise InvalidArgument(f"LpNormalization: expected p to be 1 or 2, got {p}")
    axis = normalized_axis(axis, len(x.shape), "LpNormalization")
    wide = widened(x)
    powers = xp.abs(wide) if p == 1 else wide * wide
    norm = xp.sum(powers, axis=axis, keepdims=True)
    norm = norm if p == 1 else xp.sqrt(norm)
    return stored(xp, wide / xp.where(norm == 0, xp.ones_like(norm), norm), x.dtype, out)


@operator("MeanVarianceNormalization", since=9, specs=like_first)
def mean_variance_normalization(xp: Any, x: Array, *, axes: Sequence[int] = (0, 2, 3), out: Array = None) -> Array:
    """(x - mean) / (standard deviation + 1e-9). Spec: https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html"""
    over = normalized_axes(axes, len(x.shape), "MeanVarianceNormalization")
    wide = widened(x)
    centred = wide - xp.mean(wide, axis=over, keepdims=True)
    deviation = xp.sqrt(xp.mean(centred * centred, axis=over, keepdims=True))
    return stored(xp, centred / (deviation + 1e-9), x.dtype, out)


@operator("LRN", since=1, specs=like_first)
def local_response_normalization(
    xp: Any, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, out: Array = None
) -> Array:
    """Over (bias + alpha / size * sum of squares of the `size` channels around) ** beta.

    Spec: https://onnx.ai/onnx/operators/onnx__LRN.html
    """
    if len(x.shape) < 2 or size < 1:
        raise InvalidArgument(f"LRN: expected an input of shape (N, C, …) and a positive size, got shape {list(x.shape)} and size {size}")
    wide = widened(x)
    squares = wide * wide
    channels, before = x.shape[1], (size - 1) // 2
    total = xp.zeros_like(squares)
    for shift in range(-before, size - before):
        start, end = max(0, -shift), min(channels, channels - shift)
        if start < end:
            total[:, start:end] += squares[:, start + shift : end + shift]
    return stored(xp, wide / (bias + alpha / size * total) ** beta, x.dtype, out)
