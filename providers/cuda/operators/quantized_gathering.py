"""GatherBlockQuantized (domain com.microsoft): only the gathered slices of a table are dequantised, in one launch."""

from __future__ import annotations

from math import prod
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.quantized_gathering import check_quantized_table, gather_quantized_specs, unpacked_shape
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.operators.gathering import is_wide, other_indices
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import MOST_AXES, dense_strides, structure_of

_NAME = "GatherBlockQuantized"
_TABLES = ("uint8", "uint4", "int4", "float4e2m1", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
_SCALES = ("float", "float16", "bfloat16")

GATHER = Template(
    "gather_quantized.cu", "gather_quantized<{S}, {T}>", "pppppsbifllll", S=[C_TYPES[n] for n in _TABLES], T=[C_TYPES[n] for n in _SCALES]
)


def _refusal(operation: Operation) -> str | None:
    data, scales = operation.inputs[0], operation.inputs[2]
    if data is None or data.shape is None or len(data.shape) > MOST_AXES:
        return f"needs to know that its table has at most {MOST_AXES} dimensions"
    is_float = scales is not None and scales.dtype is not None and name_of(scales.dtype) in _SCALES
    return other_indices(operation) if is_float else f"takes scales of {', '.join(_SCALES)}"


@operator(_NAME, domain="com.microsoft", specs=gather_quantized_specs, types=frozenset(_TABLES), when=_refusal)
@takes_narrow
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

    Spec: onnxruntime's operator schemas
    """
    packed = name_of(data.dtype) == "uint8"
    shape, rank = unpacked_shape(data, bits), data.ndim
    gathered, quantized = (normalized_axis(axis, rank, _NAME) for axis in (gather_axis, quantize_axis))
    check_quantized_table(data, scales, zero_points, packed, bits, block_size, gathered, quantized)
    result = result_for(xp, gather_quantized_specs(data, indices, scales, bits=bits, gather_axis=gather_axis), out)
    zero_shape = scales.shape if zero_points is None else unpacked_shape(zero_points, bits)
    blocks = [(block_size or size) if i == quantized else 1 for i, size in enumerate(shape)]
    steps = (
        [0 if size == 1 else step for size, step in zip(scales.shape, dense_strides(sizes, 1), strict=True)]
        for sizes in (scales.shape, zero_shape)
    )
    sources = [dense(xp, bits_of(x)) for x in (data, indices, scales)]
    zeros = None if zero_points is None else dense(xp, bits_of(zero_points))
    table = structure_of(shape, blocks, *steps)
    middle = float(1 << (bits - 1)) if packed else 0.0
    sizes = shape[gathered], indices.size, prod(shape[gathered + 1 :]), result.size
    GATHER.instance(S=data.dtype, T=scales.dtype).launch(
        blocks_for(result.size), THREADS, *sources, zeros, result, table, is_wide(indices), bits, middle, *sizes
    )
    return result
