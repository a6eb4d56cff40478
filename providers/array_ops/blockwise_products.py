"""MatMulNBits: a product with weights packed in 2, 4 or 8 bits, one scale and zero point for each block of a column.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator


def unpacked(xp: Any, packed: Array, bits: int) -> Array:
    """The numbers in the bytes of `packed` along its last axis, lowest bits first, as uint8."""
    if bits == 8:
        return packed
    shifts = xp.arange(0, 8, bits, dtype=packed.dtype)
    return ((packed[..., None] >> shifts) & ((1 << bits) - 1)).reshape(*packed.shape[:-1], -1)


def dequantized_blocks(
    xp: Any,
    packed: Array,
    scales: Array,
    zero_points: Array | None,
    group_index: Array | None,
    rows: int,
    columns: int,
    block: int,
    bits: int,
) -> Array:
    """Weights (rows, columns) of packed blocks (rows, blocks, bytes), in the accumulation dtype of the scales."""
    blocks = -(-columns // block)
    values = unpacked(xp, packed.reshape(rows, blocks, -1), bits)[..., :block]
    factor = widened(scales).reshape(rows, blocks)
    if zero_points is None:
        zero = xp.full((rows, blocks), 1 << (bits - 1), factor.dtype)
    elif zero_points.dtype == packed.dtype:
        zero = unpacked(xp, zero_points.reshape(rows, -1), bits)[:, :blocks].astype(factor.dtype)
    else:
        zero = widened(zero_points).reshape(rows, blocks).astype(factor.dtype)
    if group_index is None:
        return ((values.astype(factor.dtype) - zero[..., None]) * factor[..., None]).reshape(rows, -1)[:, :columns]
    flat = values.reshape(rows, -1)[:, :columns].astype(factor.dtype)
    return (flat - zero[:, group_index]) * factor[:, group_index]


@operator("MatMulNBits", domain="com.microsoft", absorbs=("b", "scales", "zero_points", "g_idx"))
class MatMulNBits:
    """A times the transpose of packed weights (N, K); constant weights are unpacked once."""

    input_names = ("a", "b", "scales", "zero_points", "g_idx", "bias")
    required_inputs = 3

    def __init__(self, xp: Any, operation: Operation) -> None:
        attributes = operation.attributes
        self._xp = xp
        self._rows, self._columns = int(attributes["N"]), int(attributes["K"])
        self._block, self._bits = int(attributes["block_size"]), int(attributes.get("bits", 4))
        if self._bits not in (2, 4, 8):
            raise InvalidArgument(f"MatMulNBits: expected bits to be 2, 4 or 8, got {self._bits}")
        packing = [None if value is None else value.constant for value in [*operation.inputs[1:5], None, None][:4]]
        wanted = [value is not None for value in [*operation.inputs[1:5], None, None][:4]]
        constant = all(load is not None for load, needed in zip(packing, wanted, strict=True) if needed)
        self._weights = self._unpack([None if load is None else xp.asarray(load()) for load in packing]) if constant else None

    def _unpack(self, inputs: Sequence[Value]) -> Array:
        packed, scales, zero_points, group_index = inputs
        return dequantized_blocks(self._xp, packed, scales, zero_points, group_index, self._rows, self._columns, self._block, self._bits)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """A's shape with N as its last size."""
        a = inputs[0]
        if not a.shape or a.shape[-1] != self._columns:
            raise InvalidArgument(f"MatMulNBits: expected A with a last size of K = {self._columns}, got shape {list(a.shape)}")
        return (Spec((*a.shape[:-1], self._rows), a.dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None = None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        given = [*inputs, *(None,) * (6 - len(inputs))]
        a, bias = given[0], given[5]
        weights = self._unpack(given[1:5]) if self._weights is None else self._weights
        wide = widened(a)
        result = self._xp.matmul(wide, weights.T.astype(wide.dtype, copy=False))
        result = result if bias is None else result + widened(bias)
        return (stored(self._xp, result, a.dtype, outputs[0] if outputs else None),)
