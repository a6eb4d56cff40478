"""Depthwise convolution as one small matrix product a channel.

A strip of neighbouring outputs of one row depends on kh short runs of the input. These runs, under each other for each
strip, make a matrix (strips, kh·run); the channel's window, laid along diagonals, makes a banded matrix
(kh·run, strip). Their product is the output in its final order. Most of the banded matrix is zero, and still: paired runs
against multiply-then-add of shifted planes gave the banded product 1.1 to 2 times the speed for 3x3 windows and 2 to 10
times for 5x5 and 7x7. Strips of about 14 were the best of 7, 8, 14, 28 and 56. On large maps at stride 1 `Shifted`
(conv_shifted.py) is faster still, on small ones `Interleaved` (conv_interleaved.py); the `cost` of each decides.

Each product is below the size at which the BLAS uses threads of its own, so that channels can be shared by the cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import seconds_a_multiplication
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.threads import scratch, share

_STRIP = 16
_BLOCK_ELEMENTS = 1 << 19
_LARGEST_PRODUCT = 250_000
_SECONDS_A_CHANNEL, _SECONDS_A_COPY = 1.2e-7, 5e-10
_SECONDS_A_WEIGHT = 2e-10
"""Banded matrices are large, and no longer in cache when a model comes to them again."""
_THIN = 1.6
"""How many times as long as in a large product a multiplication takes in a product as thin as these."""


class Banded:
    """One window a channel (groups = channels = maps)."""

    workspace = 0

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._strips = -(-p.columns.output // _STRIP)
        self._strip = -(-p.columns.output // self._strips)
        self._run = (self._strip - 1) * p.columns.stride + (p.columns.kernel - 1) * p.columns.dilation + 1
        self._depth = p.rows.kernel * self._run
        self._width = (self._strips - 1) * self._strip * p.columns.stride + self._run
        self._height = self._tile_height()
        self.layout = f"banded {self._strip} {self._run}"
        gathered = p.rows.output * self._strips * self._depth
        multiplication = _THIN * seconds_a_multiplication()
        self.cost = p.channels * (_SECONDS_A_CHANNEL + gathered * (_SECONDS_A_COPY + multiplication * self._strip))
        self.cost += p.channels * self._depth * self._strip * _SECONDS_A_WEIGHT
        """Seconds an image on one core, by the number of products, of gathered elements, of multiplications and of weights."""

    def _tile_height(self) -> int:
        p = self._problem
        row = self._strips * self._depth
        most = max(1, min(_LARGEST_PRODUCT // (row * self._strip), _BLOCK_ELEMENTS // row))
        tiles = -(-p.rows.output // most)
        return -(-p.rows.output // tiles)

    def laid_out(self, weights: Array) -> Array:
        """(channels, kh·run, strip): output j of a strip reads the window from position j·stride of the run on."""
        p = self._problem
        banded = np.zeros((p.channels, p.rows.kernel, self._run, self._strip), weights.dtype)
        for tap in range(p.columns.kernel):
            at = tap * p.columns.dilation
            for j in range(self._strip):
                banded[:, :, j * p.columns.stride + at, j] = weights[:, 0, :, tap]
        return banded.reshape(p.channels, self._depth, self._strip)

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem
        reach = (self._height - 1) * p.rows.stride + (p.rows.kernel - 1) * p.rows.dilation + 1
        block = max(1, _BLOCK_ELEMENTS // max(self._height * self._strips * self._depth, reach * self._width))

        def part(start: int, stop: int) -> None:
            for channel in range(start, stop, block):
                chosen = slice(channel, min(channel + block, stop))
                for n in range(p.batch):
                    for row in range(0, p.rows.output, self._height):
                        self._tile(x[n, chosen], weights[chosen], y[n, chosen], row, reach)
                    extra = None if residual is None else residual[n, chosen].reshape(-1, p.pixels)
                    epilogue.apply_here(y[n, chosen].reshape(-1, p.pixels), None if bias is None else bias[chosen], extra)

        share(part, p.channels, seconds=self.cost * p.batch)

    def _tile(self, x: Array, weights: Array, y: Array, row: int, reach: int) -> None:
        p = self._problem
        channels = x.shape[0]
        height = min(self._height, p.rows.output - row)
        padded = scratch(channels * reach * self._width, p.dtype, 1).reshape(channels, reach, self._width)
        self._pad(x, row * p.rows.stride - p.rows.before, padded)
        steps = padded.strides
        windows: Any = np.ndarray(
            (channels, height, self._strips, p.rows.kernel, self._run),
            p.dtype,
            padded,
            0,
            (steps[0], steps[1] * p.rows.stride, steps[2] * self._strip * p.columns.stride, steps[1] * p.rows.dilation, steps[2]),
        )
        matrix = scratch(windows.size, p.dtype, 2).reshape(windows.shape)
        np.copyto(matrix, windows)
        matrix = matrix.reshape(channels, height * self._strips, self._depth)
        target = y[:, row : row + height]
        width = self._strips * self._strip
        if width == p.columns.output:
            np.matmul(matrix, weights, out=target.reshape(channels, height * self._strips, self._strip))
            return
        wide = scratch(channels * height * width, p.dtype, 3).reshape(channels, height * self._strips, self._strip)
        np.matmul(matrix, weights, out=wide)
        np.copyto(target, wide.reshape(channels, height, width)[:, :, : p.columns.output])

    def _pad(self, x: Array, top: int, padded: Array) -> None:
        """Copy the input's rows from `top` on, and its columns from the padding's edge on, into `padded`, zeros around."""
        p = self._problem
        left = p.columns.before
        low, high = max(0, -top), min(padded.shape[1], p.rows.size - top)
        right = min(padded.shape[2], left + p.columns.size)
        if low > 0 or left > 0 or high < padded.shape[1] or right < padded.shape[2]:
            padded.fill(0)
        if low < high:
            padded[:, low:high, left:right] = x[:, top + low : top + high, : right - left]
