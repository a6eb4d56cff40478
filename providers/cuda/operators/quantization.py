"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear for every integer of up to 16 bits and every float of up to 8."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import code_of, dtype_of, name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.quantization import (
    dequantized_dtype,
    dequantized_specs,
    division_dtype,
    dynamic_specs,
    quantized_dtype,
    quantized_specs,
)
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Function, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for

_FLOATS = ("float", "float16", "bfloat16")
_SCALES = frozenset({*_FLOATS, "float8e8m0"})
INTEGERS = {
    "uint8": (8, False), "int8": (8, True), "uint16": (16, False), "int16": (16, True), "int32": (32, True),
    "uint4": (4, False), "int4": (4, True), "uint2": (2, False), "int2": (2, True),
}  # fmt: skip
"""Integer types: their bits, and whether they have a sign."""

_QUANTIZED = frozenset({*INTEGERS, "float4e2m1", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"})
_PRECISE = frozenset({*_FLOATS, "int32"})

_RESTORED = [C_TYPES[name] for name in _FLOATS]
_SOURCES = [C_TYPES[name] for name in sorted(_PRECISE)]
_SMALL_FLOATS = [C_TYPES[name] for name in sorted(_QUANTIZED - INTEGERS.keys())]

TO_INTEGERS = Template("quantize.cu", "quantize_to_integers<{S}, {bytes}>", "ppppsiiibl", S=_SOURCES, bytes=("1", "2"))
TO_FLOATS = Template("quantize.cu", "quantize_to_floats<{S}, {T}>", "ppppsiibl", S=_SOURCES, T=_SMALL_FLOATS)
FROM_INTEGERS = Template("quantize.cu", "dequantize_integers<{bytes}, {T}>", "ppppsiibl", bytes=("1", "2", "4"), T=_RESTORED)
FROM_FLOATS = Template("quantize.cu", "dequantize_floats<{S}, {T}>", "ppppsil", S=_SMALL_FLOATS, T=_RESTORED)
RANGE = Template("dynamic_quantize.cu", "range_of_parts", "ppl")
DYNAMIC = Template("dynamic_quantize.cu", "quantize_dynamically", "pppppil")

_MOST_PARTS = 256


def _quantize_refusal(operation: Operation) -> str | None:
    x, scale, zero = (*operation.inputs, None)[:3]
    if x is None or scale is None or x.dtype is None or scale.dtype is None:
        return "needs to know the types of its inputs"
    code = operation.attributes.get("precision", 0)
    target = zero.dtype if zero is not None else dtype_of(operation.attributes.get("output_dtype", 0) or 2)
    if name_of(scale.dtype) not in _SCALES or (code and name_of(dtype_of(code)) not in _FLOATS):
        return f"divides by scales of {', '.join(sorted(_SCALES))}"
    targets = _QUANTIZED - {"int32"}
    return None if target is not None and name_of(target) in targets else f"quantizes to {', '.join(sorted(targets))}"


def _dequantize_refusal(operation: Operation) -> str | None:
    scale = operation.inputs[1]
    if scale is None or scale.dtype is None or name_of(scale.dtype) not in _SCALES:
        return f"multiplies by scales of {', '.join(sorted(_SCALES))}"
    code = operation.attributes.get("output_dtype", 0)
    return None if not code or name_of(dtype_of(code)) in _FLOATS else f"restores {', '.join(_FLOATS)}"


def granularity(x: Array, scale: Array, axis: int, block_size: int) -> np.ndarray:
    """The structure `Granularity` of `quantize.cuh`.

    Raises:
        InvalidArgument: the scale fits no granularity.
    """
    if scale.size == 1 and not block_size:
        return np.array([1, 1, 1, 0, 0, 0, 16], np.int64)
    sizes = tuple(x.shape)
    position = min(normalized_axis(axis, len(sizes), "QuantizeLinear") if axis < 0 else axis, len(sizes) - 1)
    channels, inner = sizes[position], prod(sizes[position + 1 :])
    if not block_size:
        if scale.size != channels:
            raise InvalidArgument(f"scale has {scale.size} elements, axis {axis} of shape {list(sizes)} has {channels}")
        return np.array([channels, inner, 1, 0, 1, 0, inner], np.int64)
    blocks = -(-channels // block_size)
    if scale.size != prod(sizes[:position]) * blocks * inner:
        raise InvalidArgument(f"scale has shape {list(scale.shape)}: no blocks of {block_size} along axis {axis} of {list(sizes)}")
    run = block_size if inner == 1 and channels % block_size == 0 else 1
    return np.array([channels, inner, block_size, blocks * inner, inner, 1, run], np.int64)


@operator("QuantizeLinear", domain="com.microsoft", specs=quantized_specs, types=_PRECISE, when=_quantize_refusal)
@operator("QuantizeLinear", since=10, specs=quantized_specs, types=_PRECISE, when=_quantize_refusal)
@takes_narrow
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
    """saturate(round(x / y_scale) + y_zero_point). Spec: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html"""
    dtype = quantized_dtype(y_zero_point, output_dtype)
    result = result_for(xp, Spec(tuple(x.shape), dtype), out)
    division = dtype_of(precision) if precision else division_dtype(y_scale.dtype)
    kinds = code_of(y_scale.dtype), code_of(division)
    integer = INTEGERS.get(name_of(dtype))
    further: tuple[Any, ...]
    if integer is None:
        kernel, further = TO_FLOATS.instance(S=x.dtype, T=dtype), (*kinds, bool(saturate))
    else:
        kernel, further = TO_INTEGERS.instance(S=x.dtype, bytes=dtype.itemsize), (*kinds, *integer)
    _launch(xp, kernel, x, y_scale, y_zero_point, result, granularity(x, y_scale, axis, block_size), further)
    return result


@operator("DequantizeLinear", domain="com.microsoft", specs=dequantized_specs, types=_QUANTIZED, when=_dequantize_refusal)
@operator("DequantizeLinear", since=10, specs=dequantized_specs, types=_QUANTIZED, when=_dequantize_refusal)
@takes_narrow
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
    dtype = dequantized_dtype(x_scale, output_dtype)
    result = result_for(xp, Spec(tuple(x.shape), dtype), out)
    integer, kind = INTEGERS.get(name_of(x.dtype)), code_of(x_scale.dtype)
    further: tuple[Any, ...]
    if integer is None:
        kernel, further = FROM_FLOATS.instance(S=x.dtype, T=dtype), (kind,)
    else:
        kernel, further = FROM_INTEGERS.instance(bytes=x.dtype.itemsize, T=dtype), (kind, *integer)
    _launch(xp, kernel, x, x_scale, x_zero_point, result, granularity(x, x_scale, axis, block_size), further)
    return result


def _launch(
    xp: Any, kernel: Function, x: Array, scale: Array, zero: Array | None, result: Array, by: np.ndarray, further: tuple[Any, ...]
) -> None:
    source, target = dense(xp, bits_of(x)), bits_of(result)
    parameters = dense(xp, bits_of(scale)), None if zero is None else dense(xp, bits_of(zero))
    blocks = blocks_for(-(-x.size // (16 // max(source.itemsize, target.itemsize))))
    kernel.launch(blocks, THREADS, source, *parameters, target, by, *further, x.size)


@operator("DynamicQuantizeLinear", since=11, types=frozenset({"float"}))
class DynamicQuantizeLinear:
    """x as uint8, with the scale and zero point that its own range gives.

    Spec: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
    """

    input_names = ("x",)

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp = xp

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """x as uint8, its scale and its zero point."""
        return dynamic_specs(inputs[0])

    def workspace(self, inputs: Sequence[Value]) -> int:
        """The range of each part."""
        return 8 * _parts(inputs[0].size)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x = dense(self._xp, inputs[0])
        parts = _parts(x.size)
        RANGE.instance().launch(parts, THREADS, x, workspace, x.size)
        DYNAMIC.instance().launch(max(1, blocks_for(-(-x.size // 4))), THREADS, x, workspace, *outputs, parts, x.size)
        return outputs


def _parts(count: int) -> int:
    return max(1, min(_MOST_PARTS, blocks_for(-(-count // 4))))
