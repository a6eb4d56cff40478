"""Depthwise convolution at stride 1 as a sum of shifted planes, one pass over memory a tap.

The input is padded into planes whose rows are as far apart as the output's; then each tap of the window is a shifted view of the
same flat memory, and the sum over taps of weight·view is one call of `numpy.einsum`, whose inner loop multiplies and adds in one
pass (NumPy's ufuncs need two). It runs for a long time without the interpreter lock, so that two halves of the channels
really run side by side. Paired runs: half the time of multiply-then-add with ufuncs, and less than the banded product's (conv_depthwise.py)
where a plane has some thousand elements; on small planes the loop's start, 0.1 µs a tap and channel, dominates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.threads import scratch, share

_BLOCK_ELEMENTS = 1 << 20


class Shifted:
    """One window a channel (groups = channels = maps), stride 1."""

    layout = "as given"
    workspace = 0

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._width = p.columns.output + (p.columns.kernel - 1) * p.columns.dilation
        self._height = p.rows.output + (p.rows.kernel - 1) * p.rows.dilation
        self._length = p.rows.output * self._width
        self.cost = p.channels * (p.rows.kernel * p.columns.kernel * (1e-7 + 1.2e-10 * self._length) + 1e-9 * self._length)
        """Seconds an image on one core."""

    @staticmethod
    def suits(p: Problem) -> bool:
        """True at stride 1."""
        return p.rows.stride == 1 and p.columns.stride == 1

    def laid_out(self, weights: Array) -> Array:
        """See `conv_problem.Method`."""
        return weights

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem
        block = max(1, _BLOCK_ELEMENTS // (self._height * self._width))

        def part(start: int, stop: int) -> None:
            for channel in range(start, stop, block):
                chosen = slice(channel, min(channel + block, stop))
                for n in range(p.batch):
                    self._convolve(x[n, chosen], weights[chosen, 0], y[n, chosen])
                    extra = None if residual is None else residual[n, chosen].reshape(-1, p.pixels)
                    epilogue.apply_here(y[n, chosen].reshape(-1, p.pixels), None if bias is None else bias[chosen], extra)

        share(part, p.channels, seconds=self.cost * p.batch)

    def _convolve(self, x: Array, weights: Array, y: Array) -> None:
        p = self._problem
        channels = x.shape[0]
        size = self._height * self._width
        slack = (p.columns.kernel - 1) * p.columns.dilation
        flat = scratch(channels * size + slack, p.dtype, 1)
        self._pad(x, flat[: channels * size].reshape(channels, self._height, self._width))
        flat[channels * size :] = 0
        item = p.dtype.itemsize
        views: Any = np.ndarray(
            (channels, p.rows.kernel, p.columns.kernel, self._length),
            p.dtype,
            flat,
            0,
            (size * item, self._width * p.rows.dilation * item, p.columns.dilation * item, item),
        )
        wide = scratch(channels * self._length, p.dtype, 2).reshape(channels, self._length)
        # Output axes first and in Fortran order: einsum then runs along the plane in its inner loop and over taps in its outer one.
        np.einsum("cij,cijp->pc", weights, views, out=wide.T, order="F")
        np.copyto(y, wide.reshape(channels, p.rows.output, self._width)[:, :, : p.columns.output])

    def _pad(self, x: Array, padded: Array) -> None:
        p = self._problem
        top, left = p.rows.before, p.columns.before
        bottom, right = min(self._height, top + p.rows.size), min(self._width, left + p.columns.size)
        padded[:, :top] = 0
        padded[:, bottom:] = 0
        padded[:, top:bottom, :left] = 0
        padded[:, top:bottom, right:] = 0
        padded[:, top:bottom, left:right] = x[:, : bottom - top, : right - left]
