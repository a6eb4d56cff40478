"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: one scale a tensor, a channel or a block.

Formulas run over cache-sized pieces in float32, whatever the 8-, 4- or 2-bit type.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from onnxgpu.array_module import is_numpy
from onnxgpu.dtypes import dtype_named, dtype_of, is_integer
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.cast import converted
from onnxgpu.providers.array_ops.elementwise import PIECE
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.array_ops.registry import operator

FLOAT = np.dtype(np.float32)
UINT8 = np.dtype(np.uint8)
Region = tuple[slice, slice]


def quantized_specs(x: Array, scale: Array, zero_point: Array = None, *, output_dtype: int = 0, **_: Any) -> Spec:
    """The shape of x in the quantised type."""
    return Spec(tuple(x.shape), quantized_dtype(zero_point, output_dtype))


def quantized_dtype(zero_point: Array, output_dtype: int) -> np.dtype:
    """The element type of the quantised tensor: the zero point's, or the attribute's, or uint8."""
    if zero_point is not None:
        dtype: np.dtype = zero_point.dtype
        return dtype
    return dtype_of(output_dtype) if output_dtype else UINT8


@operator("QuantizeLinear", domain="com.microsoft", specs=quantized_specs)
@operator("QuantizeLinear", since=10, specs=quantized_specs)
def quantize_linear(
    xp: Any,
    x: Array,
    y_scale: Array,
    y_zero_point: Array = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    out: Array = None,
) -> Array:
    """saturate(round(x / y_scale) + y_zero_point), halves to even. Spec: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html

    The quotient has the precision of `precision`, or of y_scale where that is a floating type other than float8e8m0.
    """
    dtype = quantized_dtype(y_zero_point, output_dtype)
    out = xp.empty(x.shape, dtype) if out is None else out
    division = dtype_of(precision) if precision else division_dtype(y_scale.dtype)
    scale, zero, shape = _laid_out(xp, x, y_scale, y_zero_point, axis, block_size)
    scale = scale.astype(division)
    zero = None if zero is None else zero.astype(FLOAT)
    source, target = x.reshape(shape), out.reshape(shape)
    for region in _regions(xp, shape, scale.shape):
        quotient = xp.divide(source[region].astype(division, copy=False), _part(scale, region))
        _store_quantized(xp, quotient, None if zero is None else _part(zero, region), bool(saturate), target[region])
    return out


def division_dtype(scale: np.dtype) -> np.dtype:
    """What a quotient by such a scale is computed in."""
    if scale.kind == "i":
        return np.dtype(np.float64)
    return FLOAT if scale == dtype_named("float8e8m0") else scale


def _store_quantized(xp: Any, quotient: Array, zero: Array | None, saturate: bool, target: Array) -> None:
    """Round, add the zero point, hold in the target's range and store; `quotient` is overwritten.

    NaN becomes the least integer, as in onnxruntime.
    """
    if quotient.dtype.itemsize < 4:
        quotient = quotient.astype(FLOAT)
    if is_integer(target.dtype):
        xp.rint(quotient, out=quotient)
    if zero is not None:
        xp.add(quotient, zero, out=quotient)
    if not is_integer(target.dtype):
        converted(xp, quotient, target.dtype, saturate, "up", target)
        return
    least, greatest = _integer_range(target.dtype)
    xp.fmax(quotient, least, out=quotient)
    xp.minimum(quotient, greatest, out=quotient)
    target[...] = quotient


@cache
def _integer_range(dtype: np.dtype) -> tuple[int, int]:
    import ml_dtypes

    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(info.min), int(info.max)


def dequantized_specs(x: Array, scale: Array, *_: Any, output_dtype: int = 0, **__: Any) -> Spec:
    """The shape of x in the type of the scale, or of `output_dtype`."""
    return Spec(tuple(x.shape), dequantized_dtype(scale, output_dtype))


def dequantized_dtype(scale: Array, output_dtype: int) -> np.dtype:
    """The element type of the restored tensor."""
    return dtype_of(output_dtype) if output_dtype else division_dtype(scale.dtype)


@operator("DequantizeLinear", domain="com.microsoft", specs=dequantized_specs)
@operator("DequantizeLinear", since=10, specs=dequantized_specs)
def dequantize_linear(
    xp: Any,
    x: Array,
    x_scale: Array,
    x_zero_point: Array = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    out: Array = None,
) -> Array:
    """(x - x_zero_point) x_scale. Spec: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html"""
    out = xp.empty(x.shape, dequantized_dtype(x_scale, output_dtype)) if out is None else out
    scale, zero, shape = _laid_out(xp, x, x_scale, x_zero_point, axis, block_size)
    scale = scale.astype(FLOAT)
    zero = None if zero is None else zero.astype(FLOAT)
    source, target = x.reshape(shape), out.reshape(shape)
    for region in _regions(xp, shape, scale.shape):
        values = source[region].astype(FLOAT)
        if zero is not None:
            xp.subtract(values, _part(zero, region), out=values)
        if target.dtype == FLOAT:
            xp.multiply(values, _part(scale, region), out=target[region])
        else:
            target[region] = xp.multiply(values, _part(scale, region), out=values)
    return out


def _laid_out(
    xp: Any, x: Array, scale: Array, zero: Array | None, axis: int, block_size: int
) -> tuple[Array, Array | None, tuple[int, ...]]:
    """Scale and zero point with three axes, and x's shape with the same three: before, along and behind the quantized axis.

    Raises:
        InvalidArgument: the scale fits no granularity.
    """
    rank = len(x.shape)
    if scale.size == 1 and not block_size:
        return scale.reshape(1, 1, 1), None if zero is None else zero.reshape(1, 1, 1), (int(x.size), 1, 1)
    position = min(axis + rank if axis < 0 else axis, rank - 1)
    sizes = tuple(x.shape)
    shape = (int(np.prod(sizes[:position])), sizes[position], int(np.prod(sizes[position + 1 :])))
    if not block_size:
        if scale.size != shape[1]:
            raise InvalidArgument(f"scale has {scale.size} elements, axis {axis} of shape {list(sizes)} has {shape[1]}")
        return scale.reshape(1, -1, 1), None if zero is None else zero.reshape(1, -1, 1), shape

    def spread(parameter: Array) -> Array:
        blocks = parameter.reshape(shape[0], -1, shape[2])
        return xp.repeat(blocks, block_size, axis=1)[:, : shape[1]]

    return spread(scale), None if zero is None else spread(zero), shape


def _regions(xp: Any, shape: tuple[int, ...], scale_shape: tuple[int, ...]) -> Iterator[Region]:
    """Parts of the first two of three axes, about `PIECE` elements each; one part on a device."""
    outer, channels, inner = shape
    if 0 in shape:
        return
    if not is_numpy(xp):
        yield slice(None), slice(None)
    elif channels * inner <= PIECE:
        rows = PIECE // (channels * inner)
        for start in range(0, outer, rows):
            yield slice(start, start + rows), slice(None)
    else:
        step = max(1, PIECE // inner)
        for row in range(outer):
            for start in range(0, channels, step):
                yield slice(row, row + 1), slice(start, start + step)


def _part(parameter: Array, region: Region) -> Array:
    """The part of a scale or zero point that belongs to `region`: an axis of size 1 is used whole."""
    return parameter[tuple(slice(None) if size == 1 else part for size, part in zip(parameter.shape, region, strict=False))]


def dynamic_specs(x: Array, **_: Any) -> tuple[Spec, Spec, Spec]:
    """x as uint8, its scale and its zero point."""
    return Spec(tuple(x.shape), UINT8), Spec((), FLOAT), Spec((), UINT8)


@operator("DynamicQuantizeLinear", since=11, specs=dynamic_specs)
def dynamic_quantize_linear(xp: Any, x: Array, *, out: tuple[Array, Array, Array] | None = None) -> tuple[Array, Array, Array]:
    """x as uint8, with the scale and zero point its own range gives. Spec: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html"""
    y, y_scale, y_zero_point = out or (xp.empty(x.shape, UINT8), xp.empty((), FLOAT), xp.empty((), UINT8))
    least = xp.minimum(x.min(), 0) if x.size else xp.zeros((), FLOAT)
    greatest = xp.maximum(x.max(), 0) if x.size else xp.zeros((), FLOAT)
    scale = (greatest - least) / FLOAT.type(255)
    y_scale[...] = xp.where(scale == 0, FLOAT.type(1), scale)
    y_zero_point[...] = xp.rint(xp.clip(-least / y_scale, 0, 255))
    quantize_linear(xp, x, y_scale, y_zero_point, out=y)
    return y, y_scale, y_zero_point


def requantized(xp: Any, scaled: Array, zero_point: Array, out: Array | None = None) -> Array:
    """`scaled` rounded half to even, shifted by the zero point and clipped to its type."""
    least, greatest = _integer_range(zero_point.dtype)
    zero = zero_point.astype(FLOAT)
    shifted = xp.rint(scaled)
    shifted = shifted + (zero.reshape(()) if zero.size == 1 else zero)
    return stored(xp, xp.clip(shifted, least, greatest), zero_point.dtype, out)
