"""GatherBlockQuantized: rows of a table that is quantised in blocks, dequantised after they are gathered (domain com.microsoft).

Spec: onnxruntime's operator schemas
"""

from __future__ import annotations

from typing import Any

from onnxgpu.dtypes import is_integer, name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.packed_weights import FLOAT, unpacked
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_NAME = "GatherBlockQuantized"


def unpacked_shape(data: Array, bits: int) -> tuple[int, ...]:
    """The shape of a table's numbers: bytes hold several along the last axis."""
    shape = tuple(data.shape)
    return (*shape[:-1], shape[-1] * (8 // bits)) if name_of(data.dtype) == "uint8" else shape


def gather_quantized_specs(data: Array, indices: Array, scales: Array, *_: Any, bits: int = 4, gather_axis: int = 0, **__: Any) -> Spec:
    """The shape of the indices in place of the axis, in the type of the scales."""
    shape = unpacked_shape(data, bits)
    axis = normalized_axis(gather_axis, len(shape), _NAME)
    return Spec((*shape[:axis], *indices.shape, *shape[axis + 1 :]), scales.dtype)


@operator("GatherBlockQuantized", domain="com.microsoft", specs=gather_quantized_specs)
def gather_block_quantized(
    xp: Any,
    data: Array,
    indices: Array,
    scales: Array,
    zero_points: Array = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
    out: Array = None,
) -> Array:
    """(data - zero_point) * scale for the slices at `indices` along gather_axis; zeros where an index lies outside.

    data is int4, uint4, float8 or float4, or uint8 with 8 / `bits` numbers a byte along its last axis, lowest bits first.
    """
    packed = name_of(data.dtype) == "uint8"
    shape, rank = unpacked_shape(data, bits), len(data.shape)
    gathered, quantized = (normalized_axis(axis, rank, _NAME) for axis in (gather_axis, quantize_axis))
    check_quantized_table(data, scales, zero_points, packed, bits, block_size, gathered, quantized)
    block = block_size or shape[quantized]
    size = shape[gathered]
    places = xp.where(indices < 0, indices + size, indices)
    inside = (places >= 0) & (places < size)
    places = xp.where(inside, places, xp.zeros_like(places))

    def taken(table: Array, count: int) -> Array:
        """The slices of a table whose gathered axis has `count` entries: one for all, one an index, or one a block of indices."""
        if count == 1:
            return xp.take(table, xp.zeros_like(places), axis=gathered)
        return xp.take(table, places if gathered != quantized else places // block, axis=gathered)

    values = xp.take(data, places, axis=gathered)
    values = (unpacked(xp, values, bits) if packed else values).astype(FLOAT)
    factor = _spread(xp, taken(widened(scales), scales.shape[gathered]), values, gathered, quantized, block, places.ndim)
    default = float(1 << (bits - 1)) if packed else 0.0
    if zero_points is not None:
        zeros = taken(zero_points, zero_points.shape[gathered])
        zeros = (unpacked(xp, zeros, bits)[..., : scales.shape[-1]] if packed else zeros).astype(FLOAT)
        values = values - _spread(xp, zeros, values, gathered, quantized, block, places.ndim)
    elif default:
        values = values - FLOAT.type(default)
    keep = inside.reshape(*(1,) * gathered, *inside.shape, *(1,) * (rank - gathered - 1))
    return stored(xp, xp.where(keep, values * factor, FLOAT.type(0)), scales.dtype, out)


def _spread(xp: Any, parameter: Array, values: Array, gathered: int, quantized: int, block: int, index_rank: int) -> Array:
    """Scales or zero points of blocks repeated for each element, unless the gathered axis is the one in blocks."""
    if gathered == quantized:
        return parameter
    axis = quantized if quantized < gathered else quantized + index_rank - 1
    if parameter.shape[axis] == 1:
        return parameter
    repeated = xp.repeat(parameter, block, axis=axis)
    return repeated[tuple(slice(values.shape[i]) if i == axis else slice(None) for i in range(repeated.ndim))]


def check_quantized_table(
    data: Array, scales: Array, zero_points: Array | None, packed: bool, bits: int, block: int, gathered: int, quantized: int
) -> None:
    """Raise InvalidArgument where the schema's rules are broken."""
    whole = packed or is_integer(data.dtype)
    if packed and (bits not in (2, 4, 8) or gathered != 0 or (bits < 8 and quantized == gathered)):
        raise InvalidArgument(
            f"{_NAME}: expected bits of 2, 4 or 8, gather_axis 0 and another quantize_axis for uint8 data, "
            f"got bits={bits}, gather_axis={gathered}, quantize_axis={quantized}"
        )
    if (block or whole) and (block < 16 or block & (block - 1)):
        raise InvalidArgument(f"{_NAME}: expected block_size to be a power of two from 16 on, got {block}")
    if zero_points is not None and not whole:
        raise InvalidArgument(f"{_NAME}: expected no zero_points for data of type {name_of(data.dtype)}")
    if len(scales.shape) != len(data.shape):
        raise InvalidArgument(f"{_NAME}: expected scales of rank {len(data.shape)} like the data, got shape {list(scales.shape)}")
