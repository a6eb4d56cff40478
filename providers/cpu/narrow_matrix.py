"""Large right sides of 8-bit products: they stay in 8 bits, and pieces are widened in each thread's cache when they are multiplied.

Processor time over that of the matrix kept as float32, paired runs on AVX2, 4096 x 4096 for 1, 8, 32 and 128 rows: 3.3, 1.4, 1.2 and 1.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.exact_sums import FLOAT, INT32, Multiply, exact_blocks, reach
from onnxgpu.providers.array_ops.integer_products import IntegerMatrix, along_columns, along_rows
from onnxgpu.providers.cpu.blas import single_threaded
from onnxgpu.providers.cpu.threads import scratch, share

MANY = 1 << 22
"""From so many elements on, 16 MiB as float32, a matrix is kept narrow."""
_ROWS, _COLUMNS = 512, 1024
_SECONDS_AN_ELEMENT = 3e-10
_SECONDS_A_MULTIPLICATION = 2.3e-11


class NarrowMatrix(IntegerMatrix):
    """b - b_zero for a matrix b (K, N) of 8-bit integers, which is kept as it is."""

    def __init__(self, b: Array, b_zero: Array | None) -> None:
        self._b = np.ascontiguousarray(b)
        self._zero = None if b_zero is None else np.broadcast_to(along_columns(b_zero, FLOAT), b.shape[1])
        self._panels = [slice(start, min(start + _COLUMNS, b.shape[1])) for start in range(0, b.shape[1], _COLUMNS)]
        self._cuts: dict[int, list[list[slice]]] = {}

    def times(self, a: Array, a_zero: Array | None, multiply: Multiply) -> Array:
        """See `IntegerMatrix`."""
        left = a.astype(FLOAT)
        if a_zero is not None:
            left -= along_rows(a_zero, FLOAT)
        rows = left.reshape(-1, left.shape[-1])
        cuts = self._blocks_of_panels(reach(np, a.dtype, a_zero))
        out: Any = np.empty((len(rows), self._b.shape[1]), FLOAT if all(len(blocks) == 1 for blocks in cuts) else INT32)

        def work(first: int, last: int) -> None:
            for panel, blocks in zip(self._panels[first:last], cuts[first:last], strict=True):
                if out.dtype == FLOAT:
                    out[:, panel] = self._sums(rows, blocks[0], panel)
                else:
                    out[:, panel] = sum(self._sums(rows, block, panel).astype(INT32) for block in blocks)

        with single_threaded():
            share(work, len(self._panels), seconds=self._b.size * (_SECONDS_AN_ELEMENT + _SECONDS_A_MULTIPLICATION * len(rows)))
        return np.asarray(out.reshape(*a.shape[:-1], -1))

    def _blocks_of_panels(self, bound: int) -> list[list[slice]]:
        if bound not in self._cuts:
            depth = self._b.shape[0]
            self._cuts[bound] = [exact_blocks(np, self._widened(slice(0, depth), panel), bound) for panel in self._panels]
        return self._cuts[bound]

    def _sums(self, rows: Array, depth: slice, columns: slice) -> Array:
        """Sums over some of the depth, exact however they are cut."""
        total: Any = np.zeros((len(rows), columns.stop - columns.start), FLOAT)
        for start in range(depth.start, depth.stop, _ROWS):
            chosen = slice(start, min(start + _ROWS, depth.stop))
            total += rows[:, chosen] @ self._widened(chosen, columns)
        return np.asarray(total)

    def _widened(self, rows: slice, columns: slice) -> Array:
        """A piece of b - b_zero in scratch memory."""
        piece = self._b[rows, columns]
        values = scratch(piece.size, FLOAT, 3).reshape(piece.shape)
        np.copyto(values, piece)
        if self._zero is not None:
            np.subtract(values, self._zero[columns], out=values)
        return values
