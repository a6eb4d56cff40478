"""Reading a tensor (N, C, spatial…) at fractional positions: GridSample, AffineGrid and DeformConv."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import Windows, spatial_sizes, windows_over

_CUBIC_COEFFICIENT = -0.75
_MODES = {"linear": "linear", "bilinear": "linear", "cubic": "cubic", "bicubic": "cubic", "nearest": "nearest"}


def _reflected(xp: Any, x: Array, low: float, high: float) -> Array:
    """`x` mirrored at both borders until it lies between them."""
    span = high - low
    if span <= 0:
        return xp.full_like(x, low)
    folded = xp.abs(x - low) % (2 * span)
    return xp.where(folded > span, 2 * span - folded, folded) + low


def _brought_inside(xp: Any, x: Array, size: int, padding: str, align_corners: int) -> Array:
    if padding == "border":
        return xp.clip(x, 0, size - 1)
    if padding == "reflection":
        return _reflected(xp, x, 0.0 if align_corners else -0.5, size - 1.0 if align_corners else size - 0.5)
    return x


def _cubic_weights(xp: Any, fraction: Array) -> list[Array]:
    a = _CUBIC_COEFFICIENT

    def near(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(fraction + 1), near(fraction), near(1 - fraction), far(2 - fraction)]


def _taps(xp: Any, x: Array, mode: str) -> list[tuple[Array, Array | None]]:
    """Positions (whole numbers, still floating) and weights that make up the value at `x`; None is a weight of 1."""
    if mode == "nearest":
        return [(xp.rint(x), None)]
    floor = xp.floor(x)
    fraction = x - floor
    if mode == "linear":
        return [(floor, 1 - fraction), (floor + 1, fraction)]
    return [(floor + shift, weight) for shift, weight in zip((-1, 0, 1, 2), _cubic_weights(xp, fraction), strict=True)]


def _gathered(xp: Any, x: Array, positions: Sequence[Array], padding: str, align_corners: int) -> Array:
    """`x` (N, C, spatial…) at whole positions (one array (N, P) an axis): (N, P, C), zero outside unless padding fills it."""
    flat, inside = xp.zeros(positions[0].shape, np.int64), xp.ones(positions[0].shape, bool)
    for position, size in zip(positions, x.shape[2:], strict=True):
        moved = _brought_inside(xp, position, size, padding, align_corners)
        inside &= (moved > -1) & (moved < size)
        flat = flat * size + xp.clip(moved, 0, size - 1).astype(np.int64)
    values = x.reshape(*x.shape[:2], -1)[xp.arange(x.shape[0])[:, None], :, flat]
    return values * inside[..., None] if padding == "zeros" else values


def sampled(xp: Any, x: Array, coordinates: Sequence[Array], mode: str, padding: str = "zeros", align_corners: int = 0) -> Array:
    """`x` (N, C, spatial…) at coordinates in elements, one array (N, P) for each axis: (N, P, C)."""
    sizes = x.shape[2:]
    inside = [xp.where(xp.isfinite(c), c, xp.full_like(c, -1e9 if padding == "zeros" else 0)) for c in coordinates]
    if mode != "cubic":  # whose taps are brought inside one by one
        inside = [_brought_inside(xp, c, size, padding, align_corners) for c, size in zip(inside, sizes, strict=True)]
    result = None
    for combination in product(*(_taps(xp, c, mode) for c in inside)):
        part = _gathered(xp, x, [position for position, _ in combination], padding, align_corners)
        weights = [weight for _, weight in combination if weight is not None]
        if weights:
            factor = weights[0]
            for weight in weights[1:]:
                factor = factor * weight
            part = part * factor[..., None]
        result = part if result is None else result + part
    return result


def _grid_specs(x: Array, grid: Array, **_: Any) -> Spec:
    sizes = spatial_sizes("GridSample", x)
    shape = tuple(grid.shape)
    if len(shape) != len(x.shape) or shape[0] != x.shape[0] or shape[-1] != len(sizes):
        raise InvalidArgument(
            f"GridSample: expected a grid of shape (N, out…, {len(sizes)}) with N = {x.shape[0]} for input {list(x.shape)}, "
            f"got {list(shape)}"
        )
    return Spec((*x.shape[:2], *shape[1:-1]), x.dtype)


@operator("GridSample", domain="com.microsoft", specs=_grid_specs)
@operator("GridSample", since=16, specs=_grid_specs)
def grid_sample(
    xp: Any, x: Array, grid: Array, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros", out: Array = None
) -> Array:
    """The input at the places that the grid names, in [-1, 1], last axis first.

    Spec: https://onnx.ai/onnx/operators/onnx__GridSample.html
    """
    if mode not in _MODES or padding_mode not in ("zeros", "border", "reflection"):
        raise InvalidArgument(
            f"GridSample: expected mode linear, nearest or cubic and padding_mode zeros, border or reflection, "
            f"got {mode!r} and {padding_mode!r}"
        )
    sizes, places = x.shape[2:], widened(grid).reshape(grid.shape[0], -1, grid.shape[-1])
    coordinates = []
    for axis, size in enumerate(sizes):
        place = places[..., len(sizes) - 1 - axis] + 1
        coordinates.append(place / 2 * (size - 1) if align_corners else (place * size - 1) / 2)
    if _MODES[mode] == "nearest":
        coordinates = [xp.rint(c) for c in coordinates]
    source = x if _MODES[mode] == "nearest" else widened(x)
    values = sampled(xp, source, coordinates, _MODES[mode], padding_mode, align_corners)
    return stored(xp, xp.moveaxis(values, 2, 1).reshape(*x.shape[:2], *grid.shape[1:-1]), x.dtype, out)


def _affine_specs(theta: Array, size: Any, **_: Any) -> Spec:
    sizes = [int(s) for s in size]
    if tuple(theta.shape) != (sizes[0], len(sizes) - 2, len(sizes) - 1):
        raise InvalidArgument(
            f"AffineGrid: expected theta of shape {[sizes[0], len(sizes) - 2, len(sizes) - 1]} for size {sizes}, got {list(theta.shape)}"
        )
    return Spec((sizes[0], *sizes[2:], len(sizes) - 2), theta.dtype)


@operator("AffineGrid", since=20, specs=_affine_specs, host=("size",))
def affine_grid(xp: Any, theta: Array, size: Array, *, align_corners: int = 0, out: Array = None) -> Array:
    """A grid for GridSample from affine maps (N, axes, axes + 1). Spec: https://onnx.ai/onnx/operators/onnx__AffineGrid.html"""
    spatial = [int(s) for s in size][2:]
    wide = widened(theta)
    steps = []
    for length in spatial:
        step = np.linspace(-1, 1, length) if align_corners else (np.arange(length) * 2 + 1) / length - 1
        steps.append(np.zeros(1) if align_corners and length == 1 else step)
    points = np.stack([*np.meshgrid(*steps, indexing="ij")[::-1], np.ones(spatial)], axis=-1)
    grid = xp.matmul(xp.asarray(points.reshape(-1, len(spatial) + 1).astype(wide.dtype)), xp.swapaxes(wide, 1, 2))
    return stored(xp, grid.reshape(theta.shape[0], *spatial, len(spatial)), theta.dtype, out)


def deform_windows(x: Array, w: Array, offset: Array, group: int, offset_group: int, attributes: dict[str, Any]) -> Windows:
    """The windows of a DeformConv before they are displaced.

    Raises:
        InvalidArgument: weights, offsets and groups do not fit together.
    """
    spatial = spatial_sizes("DeformConv", x)
    chosen: dict[str, Any] = {key: attributes.get(key) for key in ("strides", "dilations", "pads")}
    windows = windows_over("DeformConv", spatial, tuple(w.shape[2:]), **chosen)
    expected = (x.shape[0], offset_group * len(spatial) * int(np.prod(windows.kernel)), *windows.output)
    if tuple(offset.shape) != expected or x.shape[1] != w.shape[1] * group or x.shape[1] % offset_group:
        raise InvalidArgument(
            f"DeformConv: expected offset of shape {list(expected)} and {w.shape[1] * group} channels, "
            f"got {list(offset.shape)} and {x.shape[1]}"
        )
    return windows


def _deform_specs(
    x: Array, w: Array, offset: Array, b: Array = None, mask: Array = None, *, group: int = 1, offset_group: int = 1, **attributes: Any
) -> Spec:
    windows = deform_windows(x, w, offset, group, offset_group, attributes)
    return Spec((x.shape[0], w.shape[0], *windows.output), x.dtype)


def _deformed_columns(xp: Any, x: Array, offset: Array, mask: Array | None, windows: Windows, offset_group: int) -> Array:
    """The displaced windows as columns: (N, C, kernel, output positions)."""
    batch, channels, rank = x.shape[0], x.shape[1], len(windows.kernel)
    kernel, positions = int(np.prod(windows.kernel)), int(np.prod(windows.output))
    moves = offset.reshape(batch, offset_group, kernel, rank, positions)
    starts = np.indices(windows.output).reshape(rank, 1, positions) * np.array(windows.strides).reshape(rank, 1, 1)
    taps = np.indices(windows.kernel).reshape(rank, kernel, 1) * np.array(windows.dilations).reshape(rank, 1, 1)
    base = xp.asarray((starts + taps - np.array(windows.begin).reshape(rank, 1, 1)).astype(np.float32))
    step = channels // offset_group
    parts = []
    for g in range(offset_group):
        coordinates = [(base[a] + moves[:, g, :, a]).reshape(batch, -1) for a in range(rank)]
        values = sampled(xp, x[:, g * step : (g + 1) * step], coordinates, "linear")
        if mask is not None:
            values = values * mask.reshape(batch, offset_group, -1)[:, g, :, None]
        parts.append(xp.moveaxis(values, 2, 1))
    return xp.concatenate(parts, axis=1).reshape(batch, channels, kernel, positions)


@operator("DeformConv", since=19, specs=_deform_specs)
def deform_conv(
    xp: Any,
    x: Array,
    w: Array,
    offset: Array,
    b: Array = None,
    mask: Array = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """Convolution whose window elements are displaced. Spec: https://onnx.ai/onnx/operators/onnx__DeformConv.html"""
    windows = deform_windows(x, w, offset, group, offset_group, {"dilations": dilations, "pads": pads, "strides": strides})
    data = _deformed_columns(xp, widened(x), widened(offset), None if mask is None else widened(mask), windows, offset_group)
    data = data.reshape(x.shape[0], group, -1, data.shape[-1])
    result = xp.matmul(widened(w).reshape(group, w.shape[0] // group, -1), data).reshape(x.shape[0], w.shape[0], *windows.output)
    if b is not None:
        result = result + per_channel(widened(b), len(x.shape))
    return stored(xp, result, x.dtype, out)
