"""Products with a constant matrix of 4- or 8-bit integers; a scale is for all, a column, or a block of one (internal operator)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation, Value
from onnxgpu.providers.array_ops.packed_products import PackedProduct, Weights
from onnxgpu.providers.array_ops.packed_weights import FLOAT, PackedWeights, consecutive
from onnxgpu.providers.array_ops.registry import operator

_FEW_WEIGHTS = 1 << 18
"""Up to so many weights, 1 MiB as float32, are dequantised once."""


@operator("DequantizedMatMul", domain="onnxgpu", types=frozenset({"float"}), absorbs=("b", "scale", "zero_point"))
class DequantizedMatMul(PackedProduct):
    """A times (B - zero_point) scale, plus C; B is (K, N), or (N, K) with transB, in blocks of `block_size` along K if it is not 0."""

    input_names = ("a", "b", "scale", "zero_point", "c")
    bias_index = 4

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._transposed = bool(operation.attributes.get("transB", 0))
        super().__init__(xp, operation, (1, 2, 3))

    def _sizes(self, inputs: Sequence[Value]) -> tuple[int, int]:
        first, second = self._weights.spec(1, inputs).shape
        return (second, first) if self._transposed else (first, second)

    def _packed(self, *inputs: Array) -> Weights:
        xp = self._xp
        b, scale, zero = (None if x is None else (x.T if self._transposed and len(x.shape) == 2 else x) for x in inputs)
        assert b is not None and scale is not None
        depth, columns = b.shape
        block = int(self._attributes.get("block_size", 0)) or depth
        bits = 4 if name_of(b.dtype) in ("int4", "uint4") else 8
        slots = 8 // bits
        factor, shift = (None if x is None else self._by_block(x.astype(FLOAT), columns) for x in (scale, zero))
        assert factor is not None
        if b.size <= _FEW_WEIGHTS or depth % block or block % slots:
            spread = [None if x is None else xp.repeat(x, block, axis=0)[:depth] for x in (factor, shift)]
            wide = b.astype(FLOAT)
            return (wide if spread[1] is None else wide - spread[1]) * spread[0]
        middle = 1 << (bits - 1)
        signed = name_of(b.dtype).startswith("int")
        codes = (b.astype(np.int16) + (middle if signed else 0)).astype(np.uint8)
        offset = (0 if shift is None else shift) - FLOAT.type(0 if signed else middle)
        data = codes if slots == 1 else codes[0::2] | (codes[1::2] << 4)
        offsets = None if shift is None and signed else xp.ascontiguousarray(xp.broadcast_to(factor * offset, factor.shape))
        return PackedWeights(xp.ascontiguousarray(data), consecutive(slots, depth // slots), bits, depth, factor, offsets)

    def _by_block(self, parameter: Array, columns: int) -> Array:
        """A scale or zero point as (blocks, N)."""
        rows = parameter if len(parameter.shape) == 2 else parameter.reshape(1, -1)
        return self._xp.ascontiguousarray(self._xp.broadcast_to(rows, (rows.shape[0], columns)))
