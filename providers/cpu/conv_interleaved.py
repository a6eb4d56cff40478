"""Depthwise convolution with the channels last, as one pass over memory a tap.

A few rows of the input are padded and turned so that the channels of a pixel are neighbours. Each tap of the window is then a strided
view of the same memory, and the sum over taps of weight·view is one call of `numpy.einsum`, whose inner loop multiplies and
adds all channels of a pixel. Unlike `Shifted` (conv_shifted.py) it takes any stride, and small planes cost it
nothing extra. Paired runs, turning included: 0.3 to 0.9 of the banded product's time (conv_depthwise.py) on planes of 7x7 and
14x14, the less the larger the window's stride and the more the channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.threads import scratch, share

_TILE_ELEMENTS = 1 << 17
_TURNED_ELEMENTS, _FEW_CHANNELS = 1 << 14, 32
_SECONDS_A_PIXEL, _SECONDS_A_TAP, _SECONDS_A_MULTIPLICATION, _SECONDS_A_COPY = 1e-7, 1.2e-8, 1.55e-10, 7e-10


class Interleaved:
    """One window a channel (groups = channels = maps)."""

    layout = "channels last"
    workspace = 0

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._width = (p.columns.output - 1) * p.columns.stride + (p.columns.kernel - 1) * p.columns.dilation + 1
        height = _TILE_ELEMENTS // (p.channels * self._width * p.rows.stride)
        self._height = max(1, min(p.rows.output, height - (p.rows.kernel - 1) * p.rows.dilation // p.rows.stride))
        taps = p.rows.kernel * p.columns.kernel
        self.cost = p.pixels * (_SECONDS_A_PIXEL + taps * (_SECONDS_A_TAP + _SECONDS_A_MULTIPLICATION * p.channels))
        self.cost += _SECONDS_A_COPY * p.channels * (self._reach(self._height) * self._width / self._height * p.rows.output + p.pixels)
        """Seconds an image on one core."""

    def _reach(self, height: int) -> int:
        """How many rows of the padded input `height` rows of the output depend on."""
        rows = self._problem.rows
        return (height - 1) * rows.stride + (rows.kernel - 1) * rows.dilation + 1

    def laid_out(self, weights: Array) -> Array:
        """(rows, columns, channels)."""
        return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0))

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem

        def part(start: int, stop: int) -> None:
            for n in range(p.batch):
                for row in range(start, stop, self._height):
                    rows = slice(row, min(row + self._height, stop))
                    turned = self._convolved(x[n], weights, rows)
                    pixels = turned.reshape(-1, p.channels)
                    added = None if residual is None else residual[n, :, rows].transpose(1, 2, 0).reshape(pixels.shape)
                    epilogue.apply_here(pixels, None if bias is None else bias.reshape(-1), added)
                    _turn(turned.transpose(2, 0, 1), y[n, :, rows])

        seconds = self.cost + epilogue.seconds(p.channels * p.pixels, bias, residual)
        share(part, p.rows.output, seconds=seconds * p.batch)

    def _convolved(self, x: Array, weights: Array, rows: slice) -> Array:
        """Some rows of the result, (rows, columns, channels), in scratch memory."""
        p = self._problem
        channels, height, width = p.channels, rows.stop - rows.start, p.columns.output
        padded = scratch(self._reach(height) * self._width * channels, p.dtype, 1).reshape(-1, self._width, channels)
        self._pad(x, rows.start * p.rows.stride - p.rows.before, padded)
        down, right, item = padded.strides
        windows: Any = np.ndarray(
            (height, width, p.rows.kernel, p.columns.kernel, channels),
            p.dtype,
            padded,
            0,
            (down * p.rows.stride, right * p.columns.stride, down * p.rows.dilation, right * p.columns.dilation, item),
        )
        turned = scratch(height * width * channels, p.dtype, 2).reshape(height, width, channels)
        np.einsum("hwijc,ijc->hwc", windows, weights, out=turned)
        return turned

    def _pad(self, x: Array, top: int, padded: Array) -> None:
        """Copy the input's rows from `top` on, and its columns from the padding's edge on, into `padded`, zeros around."""
        p = self._problem
        left = p.columns.before
        low, high = max(0, -top), max(0, min(padded.shape[0], p.rows.size - top))
        right = min(padded.shape[1], left + p.columns.size)
        padded[:low] = 0
        padded[high:] = 0
        padded[low:high, :left] = 0
        padded[low:high, right:] = 0
        if low < high and left < right:
            _turn(x[:, top + low : top + high, : right - left], padded[low:high, left:right].transpose(2, 0, 1))


def _turn(source: Array, target: Array) -> None:
    """Copy (channels, rows, columns) between memory with the channels first and last, so few at a time that lines of both stay in cache."""
    channels, height, width = source.shape
    step = max(_FEW_CHANNELS, _TURNED_ELEMENTS // (height * width))
    for channel in range(0, channels, step):
        np.copyto(target[channel : channel + step], source[channel : channel + step])
