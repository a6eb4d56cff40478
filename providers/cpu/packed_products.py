"""Products with packed weights on the host: pieces are unpacked into each thread's cache and multiplied there.

Processor time over onnxruntime's, paired runs on AVX2, 4096 x 4096 weights in blocks of 32, for 1, 16 and 128 rows: 2.4, 1.8 and 1.3
in 4 bits, 0.1, 0.2 and 0.4 in 8 bits, 0.1, 0.2 and 0.5 in 2 bits; with blocks of 128 and accuracy level 4, where it rounds A to 8 bits,
8.8, 3.1 and 1.6. Twelve such layers in 4 bits, a file of 120 MiB, take 226 MiB above what the imports take, 219 MiB in onnxruntime; as
float32 they were 768 MiB.
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
_WEIGHTS_A_SUM = 4
"""Scaling a sum, which is written and read once more, costs as much as scaling so many weights."""
_SECONDS_A_WEIGHT = 5e-10
_SECONDS_A_MULTIPLICATION = 2.3e-11
_BYTE = np.dtype(np.uint8)


def multiplied(a: Array, weights: PackedWeights) -> Array:
    """a (M, depth) times the weights, float32 (M, N)."""
    rows, columns = weights.data.shape
    out = np.empty((a.shape[0], columns), FLOAT)
    if not out.size:
        return out
    parts = weights.arranged(np, a)
    taken = weights.correction(np, parts)
    if weights.levels is None:
        parts *= np.exp2(-weights.bits * np.arange(len(parts), dtype=FLOAT))[:, None, None]
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
    """The product of all depth with some columns. For few rows of A it is cheaper to scale the sums of each block than the weights."""
    rows, height = weights.data.shape[0], weights.rows_a_block
    step = height * max(1, _ROWS // height)
    few = parts.shape[1] * _WEIGHTS_A_SUM <= height
    total: Any = np.zeros((parts.shape[1], columns.stop - columns.start), FLOAT)
    for start in range(0, rows, step):
        chosen = slice(start, min(start + step, rows))
        scales = weights.scales[chosen.start // height : chosen.stop // height, columns]
        for slot, part in enumerate(parts):
            piece = _piece(weights, slot, chosen, columns)
            blocks = piece.reshape(-1, height, piece.shape[1])
            if few:
                inputs = part[:, chosen].reshape(len(part), -1, height).transpose(1, 0, 2)
                total += np.einsum("bmn,bn->mn", inputs @ blocks, scales)
            else:
                np.multiply(blocks, scales[:, None], out=blocks)
                total += part[:, chosen] @ piece
    out[:, columns] = total


def _piece(weights: PackedWeights, slot: int, rows: slice, columns: slice) -> Array:
    """The weights in one slot of some byte rows, not scaled, in scratch memory.

    Codes stay where they are in the byte, so that the weights are 2**(slot * bits) times too large: masking is faster than shifting.
    """
    data, bits = weights.data[rows, columns], weights.bits
    values = scratch(data.size, FLOAT, 3).reshape(data.shape)
    codes = scratch(data.size, _BYTE, 4).reshape(data.shape)
    if weights.levels is not None:
        np.right_shift(data, slot * bits, out=codes)
        np.bitwise_and(codes, (1 << bits) - 1, out=codes)
        return np.take(weights.levels, codes, out=values, mode="clip")
    middle = _BYTE.type(1 << (slot * bits + bits - 1))
    if bits == 8:
        np.subtract(data, middle, out=codes)
    else:
        np.bitwise_and(data, _BYTE.type(((1 << bits) - 1) << (slot * bits)), out=codes)
        np.subtract(codes, middle, out=codes)
    np.copyto(values, codes.view(np.int8))
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
