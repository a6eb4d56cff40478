"""Conv: windows laid out as columns, then one matrix product for each group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import Windows, padded, spatial_sizes, windows_over

_COLUMN_BYTES = 1 << 26
"""Columns are laid out for as many samples at once as stay within this size."""


def convolution_windows(name: str, x: Array, w: Array, attributes: dict[str, Any]) -> Windows:
    """The windows of a convolution.

    Raises:
        InvalidArgument: ranks, channels, groups or attributes do not fit.
    """
    spatial = spatial_sizes(name, x)
    if len(w.shape) != len(x.shape):
        raise InvalidArgument(f"{name}: expected weights of rank {len(x.shape)} like the input, got shape {list(w.shape)}")
    group = attributes.get("group", 1)
    if group < 1 or w.shape[0] % group or x.shape[1] != w.shape[1] * group:
        raise InvalidArgument(
            f"{name}: expected {w.shape[1] * group} input channels for weights of shape {list(w.shape)} and group {group}, "
            f"got input shape {list(x.shape)}"
        )
    kernel = attributes.get("kernel_shape") or w.shape[2:]
    if tuple(kernel) != tuple(w.shape[2:]):
        raise InvalidArgument(f"{name}: expected kernel_shape {list(w.shape[2:])} like the weights, got {list(kernel)}")
    chosen: dict[str, Any] = {key: attributes.get(key) for key in ("strides", "dilations", "pads")}
    return windows_over(name, spatial, kernel, auto_pad=attributes.get("auto_pad") or "NOTSET", **chosen)


def columns(xp: Any, x: Array, windows: Windows, group: int) -> Array:
    """All windows of a padded `x` (N, C, …) as columns: (N, group, C / group * kernel, output positions)."""
    strides = x.strides
    spatial = strides[2:]
    steps = tuple(s * d for s, d in zip(spatial, windows.dilations, strict=True)) + tuple(
        s * t for s, t in zip(spatial, windows.strides, strict=True)
    )
    view = xp.lib.stride_tricks.as_strided(x, (*x.shape[:2], *windows.kernel, *windows.output), (*strides[:2], *steps))
    return view.reshape(x.shape[0], group, x.shape[1] // group * math.prod(windows.kernel), math.prod(windows.output))


def convolved(xp: Any, x: Array, w: Array, windows: Windows, group: int) -> Array:
    """The convolution of `x` (N, C, …) with `w` (M, C / group, …), both in the dtype to compute in: (N, M, …)."""
    batch, maps = x.shape[0], w.shape[0]
    if x.shape[1] == group == maps:
        return _depthwise(xp, padded(xp, x, windows, 0), w, windows)
    result = xp.empty((batch, group, maps // group, math.prod(windows.output)), x.dtype)
    weights = w.reshape(group, maps // group, math.prod(w.shape[1:]))
    source = padded(xp, x, windows, 0)
    for samples in _chunks(batch, x.shape[1] * math.prod(windows.kernel) * math.prod(windows.output) * x.dtype.itemsize):
        xp.matmul(weights, _laid_out(xp, source[samples], windows, group), out=result[samples])
    return result.reshape(batch, maps, *windows.output)


def _laid_out(xp: Any, x: Array, windows: Windows, group: int) -> Array:
    if all(k == 1 for k in windows.kernel) and all(s == 1 for s in windows.strides):
        return x.reshape(x.shape[0], group, x.shape[1] // group, math.prod(windows.output))
    return columns(xp, x, windows, group)


def _chunks(batch: int, sample_bytes: int) -> Iterator[slice]:
    step = max(1, _COLUMN_BYTES // max(1, sample_bytes))
    for start in range(0, batch, step):
        yield slice(start, start + step)


def _depthwise(xp: Any, x: Array, w: Array, windows: Windows) -> Array:
    result = xp.zeros((*x.shape[:2], *windows.output), x.dtype)
    for element, covered in windows.positions():
        result += x[(..., *covered)] * per_channel(w[(slice(None), 0, *element)], len(x.shape))
    return result


def conv_specs(x: Array, w: Array, b: Array = None, **attributes: Any) -> Spec:
    """(N, M, windows…), checked against the sizes of weights and bias."""
    windows = convolution_windows("Conv", x, w, attributes)
    if b is not None and tuple(b.shape) != (w.shape[0],):
        raise InvalidArgument(f"Conv: expected a bias of shape [{w.shape[0]}], got {list(b.shape)}")
    return Spec((x.shape[0], w.shape[0], *windows.output), x.dtype)


@operator("Conv", since=1, specs=conv_specs)
def conv(
    xp: Any,
    x: Array,
    w: Array,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """Convolution over any number of spatial axes. Spec: https://onnx.ai/onnx/operators/onnx__Conv.html"""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    result = convolved(xp, widened(x), widened(w), convolution_windows("Conv", x, w, attributes), group)
    if b is not None:
        result += per_channel(widened(b), len(x.shape))
    return stored(xp, result, x.dtype, out)
