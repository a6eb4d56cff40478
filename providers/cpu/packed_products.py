"""Products with packed weights on the host: pieces are unpacked into each thread's cache and multiplied there.

Processor time over onnxruntime's, paired runs on AVX2, 4096 x 4096 weights in blocks of 32, for 1, 16 and 128 rows: 5.5, 2.4 and 1.4 in 4 bits
(14, 4 and 1.7 where it may round A to 8 bits), 0.1, 0.2 and 0.4 in 8 bits, 0.1, 0.2 and 0.5 in 2 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops import dequantized_products, packed_products
from onnxgpu.providers.array_ops.packed_weights import FLOAT, PackedWeights
from onnxgpu.providers.cpu.blas import single_threaded
from onnxgpu.providers.cpu.matmul import product
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.providers.cpu.threads import scratch, share

_MS = "com.microsoft"
_ROWS, _COLUMNS = 512, 1024
"""Weights of one piece. Smaller ones stay in the second-level cache, but the calls for them cost more than that saves."""
_SECONDS_A_WEIGHT = 8e-10
_SECONDS_A_MULTIPLICATION = 2.3e-11
_BYTE = np.dtype(np.uint8)


def multiplied(a: Array, weights: PackedWeights) -> Array:
    """a (M, depth) times the weights, float32 (M, N)."""
    parts = weights.arranged(np, a)
    rows, columns = weights.data.shape
    out = np.empty((a.shape[0], columns), FLOAT)
    taken = weights.correction(np, parts)
    panels = -(-columns // _COLUMNS)

    def work(first: int, last: int) -> None:
        for panel in range(first, last):
            chosen = slice(panel * _COLUMNS, min(columns, (panel + 1) * _COLUMNS))
            _panel(parts, weights, chosen, out)
            if taken is not None:
                np.subtract(out[:, chosen], taken[:, chosen], out=out[:, chosen])

    seconds = rows * columns * len(parts) * (_SECONDS_A_WEIGHT + _SECONDS_A_MULTIPLICATION * a.shape[0])
    with single_threaded():
        share(work, panels, seconds=seconds)
    return out


def _panel(parts: Array, weights: PackedWeights, columns: slice, out: Array) -> None:
    """The product of all depth with some columns."""
    rows, width = weights.data.shape[0], columns.stop - columns.start
    step = weights.rows_a_block * max(1, _ROWS // weights.rows_a_block)
    total: Any = np.zeros((parts.shape[1], width), FLOAT)
    for start in range(0, rows, step):
        chosen = slice(start, min(start + step, rows))
        for slot, part in enumerate(parts):
            total += part[:, chosen] @ _piece(weights, slot, chosen, columns)
    out[:, columns] = total


def _piece(weights: PackedWeights, slot: int, rows: slice, columns: slice) -> Array:
    """`PackedWeights.piece` in scratch memory."""
    data, bits = weights.data[rows, columns], weights.bits
    values = scratch(data.size, FLOAT, 3).reshape(data.shape)
    codes = data
    if slot:
        codes = np.right_shift(data, slot * bits, out=scratch(data.size, _BYTE, 4).reshape(data.shape))
    if slot < 8 // bits - 1:
        codes = np.bitwise_and(codes, (1 << bits) - 1, out=scratch(data.size, _BYTE, 4).reshape(data.shape))
    if weights.levels is not None:
        np.take(weights.levels, codes, out=values, mode="clip")
    else:
        signed = scratch(data.size, _BYTE, 4).reshape(data.shape)
        np.subtract(codes, _BYTE.type(1 << (bits - 1)), out=signed)
        np.copyto(values, signed.view(np.int8))
    blocks = slice(rows.start // weights.rows_a_block, rows.stop // weights.rows_a_block)
    scaled = values.reshape(-1, weights.rows_a_block, values.shape[1])
    np.multiply(scaled, weights.scales[blocks, None, columns], out=scaled)
    return values


class Shared(packed_products.PackedProduct):
    """Multiplies with this provider's threads."""

    def _multiplied(self, a: Array, weights: packed_products.Weights) -> Array:
        return multiplied(a, weights) if isinstance(weights, PackedWeights) else super()._multiplied(a, weights)

    def _dense(self, a: Array, weights: Array) -> Array:
        out = np.empty((a.shape[0], weights.shape[1]), FLOAT)
        product(a, weights, out)
        return out


@operator("MatMulNBits", domain=_MS, absorbs=("b", "scales", "zero_points", "g_idx"), when=packed_products.not_prepacked)
class MatMulNBits(Shared, packed_products.MatMulNBits):
    """Spec: onnxruntime's operator schemas"""


@operator("MatMulBnb4", domain=_MS, absorbs=("b", "absmax"))
class MatMulBnb4(Shared, packed_products.MatMulBnb4):
    """Spec: onnxruntime's operator schemas"""


@operator("MatMulFpQ4", domain=_MS, host=("b_shape",), absorbs=("b",))
class MatMulFpQ4(Shared, packed_products.MatMulFpQ4):
    """Spec: onnxruntime's operator schemas"""


@operator("DequantizedMatMul", domain="onnxgpu", types=frozenset({"float"}), absorbs=("b", "scale", "zero_point"))
class DequantizedMatMul(Shared, dequantized_products.DequantizedMatMul):
    """See `array_ops.dequantized_products`."""
