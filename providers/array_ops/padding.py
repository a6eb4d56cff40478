"""Pad and CenterCropPad: the input in a larger or smaller frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axes
from onnxgpu.providers.array_ops.host_values import braced, integers
from onnxgpu.providers.array_ops.registry import operator

Widths = list[tuple[int, int]]
"""Elements to add before and after each axis; negative ones are taken away."""


def pad_widths(x: Array, pads: Sequence[int], axes: Sequence[int] | None) -> Widths:
    """Elements to add before and after each axis, from the operator's `pads` and `axes`."""
    named = range(x.ndim) if axes is None else normalized_axes(axes, x.ndim, "Pad")
    count = len(named)
    if len(pads) != 2 * count:
        raise Fail(f"Pads tensor size should be equal to twice the number of axes: expected {2 * count}, got {len(pads)}")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(named):
        widths[axis] = (int(pads[i]), int(pads[i + count]))
    return widths


def padded_spec(x: Array, widths: Widths) -> Spec:
    """The shape with its pads.

    Raises:
        Fail: more is taken away than there is.
    """
    shape = tuple(size + before + after for size, (before, after) in zip(x.shape, widths, strict=True))
    if min(shape, default=0) < 0:
        raise Fail(
            f"Pad: expected pads that leave sizes of at least 0, got output shape {braced(shape)} from input shape {braced(x.shape)}"
        )
    return Spec(shape, x.dtype)


def _padded(xp: Any, x: Array, widths: Widths, mode: str, value: Any, out: Array) -> Array:
    result = xp.empty(padded_spec(x, widths).shape, x.dtype) if out is None else out
    kept = x[tuple(slice(max(-b, 0), size - max(-a, 0)) for size, (b, a) in zip(x.shape, widths, strict=True))]
    added = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "constant":
        if any(map(any, added)):
            result.fill(value)
    else:
        check_pad_mode(kept.shape, added, mode, x.shape)
    interior = tuple(slice(before, before + size) for (before, _), size in zip(added, kept.shape, strict=True))
    result[interior] = kept
    if mode != "constant":
        for axis in range(x.ndim):
            _extend(xp, result, interior, axis, mode)
    return result


def check_pad_mode(kept: tuple[int, ...], added: Widths, mode: str, shape: tuple[int, ...]) -> None:
    """Check what is left of the input and what is added against the mode.

    Raises:
        InvalidArgument: the mode is unknown, or a reflection needs more than there is.
        Fail: there is nothing to repeat.
    """
    if mode not in ("reflect", "edge", "wrap"):
        raise InvalidArgument(f"Pad: expected mode 'constant', 'reflect', 'edge' or 'wrap', got {mode!r}")
    for axis, (size, (before, after)) in enumerate(zip(kept, added, strict=True)):
        if not before and not after:
            continue
        if size == 0:
            raise Fail(f"Cannot use '{mode}' mode to pad dimension with a value of 0. Input shape:{braced(shape)}")
        if mode != "reflect":
            continue
        if size == 1:
            raise InvalidArgument(f"Pad reflect requires axis length >= 2 after slicing. Input shape:{braced(shape)}")
        for name, width in (("pre", before), ("post", after)):
            if width > size - 1:
                raise InvalidArgument(
                    f"Pad reflect: {name}-pad ({width}) exceeds maximum allowed ({size - 1}) for axis {axis}. Input shape:{braced(shape)}"
                )


def _extend(xp: Any, result: Array, interior: tuple[slice, ...], axis: int, mode: str) -> None:
    """Fill what lies before and after the interior along `axis`; earlier axes are filled already, later ones are not."""
    start, stop = interior[axis].start, interior[axis].stop
    frame = (slice(None),) * axis
    for band in (range(start), range(stop, result.shape[axis])):
        if len(band):
            source = start + _source_positions(np.arange(band.start, band.stop) - start, stop - start, mode)
            rest = interior[axis + 1 :]
            filled = result[(*frame, slice(None), *rest)]
            result[(*frame, slice(band.start, band.stop), *rest)] = xp.take(filled, xp.asarray(source), axis=axis)


def _source_positions(positions: np.ndarray, size: int, mode: str) -> Array:
    if mode == "edge":
        return np.clip(positions, 0, size - 1)
    if mode == "wrap":
        return positions % size
    return np.where(positions < 0, -positions, 2 * (size - 1) - positions)


def pad_value(x: Array, value: Array | None) -> Any:
    """What mode "constant" adds."""
    if value is not None:
        return value.reshape(-1)[0]
    return "" if x.dtype.kind == "O" else 0


def pad_1_spec(x: Array, *, paddings: Sequence[int], **_: Any) -> Spec:
    """The shape with its pads, from `paddings`."""
    return padded_spec(x, pad_widths(x, paddings, None))


@operator("Pad", specs=pad_1_spec)
def pad_1(xp: Any, x: Array, *, paddings: Sequence[int], mode: str = "constant", value: float = 0.0, out: Array = None) -> Array:
    """The input with elements added around it. Spec: https://onnx.ai/onnx/operators/onnx__Pad.html"""
    return _padded(xp, x, pad_widths(x, paddings, None), mode, value, out)


def pad_2_spec(x: Array, *, pads: Sequence[int], **_: Any) -> Spec:
    """The shape with its pads, from an attribute."""
    return padded_spec(x, pad_widths(x, pads, None))


@operator("Pad", since=2, specs=pad_2_spec)
def pad_2(xp: Any, x: Array, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0, out: Array = None) -> Array:
    """The input with elements added around it, or taken away. Spec: https://onnx.ai/onnx/operators/onnx__Pad.html"""
    return _padded(xp, x, pad_widths(x, pads, None), mode, value, out)


def pad_spec(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, **_: Any) -> Spec:
    """The shape with its pads, from an input."""
    return padded_spec(x, pad_widths(x, integers(pads), None if axes is None else integers(axes)))


@operator("Pad", domain="com.microsoft", specs=pad_spec, host=("pads", "value"))
@operator("Pad", since=11, specs=pad_spec, host=("pads", "value", "axes"))
def pad(
    xp: Any, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, *, mode: str = "constant", out: Array = None
) -> Array:
    """The input with elements added around it, or taken away, along `axes` (all by default).

    Args:
        xp: array module.
        x: any shape and dtype.
        pads: int64 [2n], elements before each of the n axes, then after each; a negative number crops, before padding.
        value: one element of the dtype of `x`, for mode "constant"; zero, false or "" by default.
        axes: integers [n].
        mode: "constant", "reflect", "edge" or "wrap".
        out: memory for the result.

    Spec: https://onnx.ai/onnx/operators/onnx__Pad.html
    """
    widths = pad_widths(x, integers(pads), None if axes is None else integers(axes))
    return _padded(xp, x, widths, mode, pad_value(x, value), out)


def centred_widths(x: Array, shape: Array, axes: Sequence[int] | None) -> Widths:
    """Elements to add or take away on both sides of each axis."""
    named = range(x.ndim) if not axes else normalized_axes(axes, x.ndim, "CenterCropPad")
    sizes = integers(shape)
    if len(sizes) != len(named):
        raise InvalidArgument(f"CenterCropPad: expected {len(named)} values in 'shape', one per axis, got {len(sizes)}")
    widths = [(0, 0)] * x.ndim
    for axis, target in zip(named, sizes, strict=True):
        more = target - x.shape[axis]
        before = more // 2 if more >= 0 else -(-more // 2)
        widths[axis] = (before, more - before)
    return widths


def centred_spec(x: Array, shape: Array, *, axes: Sequence[int] | None = None) -> Spec:
    """The sizes asked for."""
    return padded_spec(x, centred_widths(x, shape, axes))


@operator("CenterCropPad", since=18, specs=centred_spec, host=("shape",))
def center_crop_pad(xp: Any, x: Array, shape: Array, *, axes: Sequence[int] | None = None, out: Array = None) -> Array:
    """The middle of the input, or the input in the middle of zeros. Spec: https://onnx.ai/onnx/operators/onnx__CenterCropPad.html"""
    return _padded(xp, x, centred_widths(x, shape, axes), "constant", pad_value(x, None), out)
