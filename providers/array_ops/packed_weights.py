"""Weights of a few bits that stay packed: bytes, a scale for each block, and the products with what is unpacked piece by piece.

A matrix (K, N) lies in bytes (K / slots, N), `slots` weights a byte, each in a slot of its own. For one slot the weights of some
byte rows are a dense piece of the matrix, of which the product takes the input's columns that belong there (`order`); nothing is
interleaved. Along N, which is contiguous, a piece has one scale, so that it is scaled in long rows. Zero points are left out of the
pieces: the sum of q - z over a block is that of q, minus z times the sum of the block's inputs, a product with (K / block) rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.precision import widened

FLOAT = np.dtype(np.float32)
_PIECE = 1 << 22
"""Weights that are unpacked at once on a device."""


@dataclass(frozen=True)
class PackedWeights:
    """A matrix (depth, N) of packed weights.

    Attributes:
        data: bytes (rows, N).
        order: (slots, rows): which row of the matrix lies in a slot of a byte row; `depth` and above for padding.
        bits: bits of a weight; slot i has bits i * bits and up.
        depth: rows of the matrix.
        scales: float32 (blocks, N); as many byte rows have one scale as there are rows a block.
        offsets: float32 (blocks, N), what to take off every weight of a block, its scale included; or None.
        levels: float32 (2**bits,), what the codes mean; or None: code - 2**(bits - 1).
    """

    data: Array
    order: np.ndarray
    bits: int
    depth: int
    scales: Array
    offsets: Array | None = None
    levels: Array | None = None

    @property
    def columns(self) -> int:
        """N."""
        return int(self.data.shape[1])

    @property
    def rows_a_block(self) -> int:
        """Byte rows with one scale."""
        return int(self.data.shape[0] // self.scales.shape[0])

    def arranged(self, xp: Any, a: Array) -> Array:
        """The columns of `a` (M, depth) for each slot, as float32 (slots, M, rows)."""
        slots, rows = self.order.shape
        if slots * rows == self.depth:
            chosen = widened(a).astype(FLOAT, copy=False)
        else:
            chosen = xp.zeros((a.shape[0], int(self.order.max()) + 1), FLOAT)
            chosen[:, : self.depth] = a
        return xp.ascontiguousarray(xp.moveaxis(chosen[:, self.order], 1, 0))

    def correction(self, xp: Any, parts: Array) -> Array | None:
        """What the product of the arranged input with pieces has too much, (M, N)."""
        if self.offsets is None:
            return None
        slots, count, rows = parts.shape
        sums = parts.reshape(slots, count, len(self.scales), rows // len(self.scales)).sum(axis=(0, 3))
        return xp.matmul(sums, self.offsets)

    def piece(self, xp: Any, slot: int, rows: slice, columns: slice) -> Array:
        """The weights in one slot of some byte rows, whole blocks, scaled: float32 (rows, columns)."""
        codes = self.data[rows, columns]
        if self.bits < 8:
            codes = (codes >> (slot * self.bits)) & ((1 << self.bits) - 1)
        if self.levels is None:
            values = (codes - np.uint8(1 << (self.bits - 1))).view(np.int8).astype(FLOAT)
        else:
            values = self.levels[codes]
        blocks = slice(rows.start // self.rows_a_block, rows.stop // self.rows_a_block)
        scaled = values.reshape(-1, self.rows_a_block, values.shape[1]) * self.scales[blocks, None, columns]
        return scaled.reshape(values.shape)

    def product(self, xp: Any, a: Array) -> Array:
        """a (M, depth) times the matrix: float32 (M, N)."""
        parts = self.arranged(xp, a)
        total, rows = xp.zeros((a.shape[0], self.columns), FLOAT), self.data.shape[0]
        step = self.rows_a_block * max(1, _PIECE // max(1, self.rows_a_block * self.columns))
        for start in range(0, rows, step):
            chosen = slice(start, min(start + step, rows))
            for slot, part in enumerate(parts):
                total += xp.matmul(part[:, chosen], self.piece(xp, slot, chosen, slice(0, self.columns)))
        taken = self.correction(xp, parts)
        return total if taken is None else total - taken


def consecutive(slots: int, rows: int) -> np.ndarray:
    """The order of weights that lie side by side, lowest bits first."""
    return np.arange(slots * rows).reshape(rows, slots).T


def unpacked(xp: Any, packed: Array, bits: int) -> Array:
    """The numbers in the bytes of `packed` along its last axis, lowest bits first, as uint8."""
    if bits == 8:
        return packed
    shifts = xp.arange(0, 8, bits, dtype=packed.dtype)
    return ((packed[..., None] >> shifts) & ((1 << bits) - 1)).reshape(*packed.shape[:-1], -1)
