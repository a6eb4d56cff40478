"""Convolution of a few elements: all taps of all windows taken at once, then one matrix product.

What NumPy's calls cost outweighs their work here, and these are the fewest. Paired runs against the other methods, windows of 3x3
over maps of 4x4 to 14x14 and of 32 over 576: 0.14 to 0.48 of the time up to some 28,000 taps; one filter a channel: the same at 28,000.
"""

from __future__ import annotations

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import FEW_MULTIPLICATIONS, matmul
from onnxgpu.providers.cpu.conv_pointwise import Pointwise
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.taps import PADDING, tap_positions

_MOST_TAPS = 20_000


class Taken:
    """Windows of any kind, with few taps in all (see the module's docstring)."""

    layout = "as given"
    workspace = 0

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        pixels = p.rows.size * p.columns.size
        channels = p.channels // p.groups
        table = tap_positions(p.rows, p.columns).T
        self._nowhere = channels * pixels
        self._has_padding = bool((table == PADDING).any())
        starts = np.arange(channels).reshape(-1, 1, 1) * pixels
        self.is_short = p.multiplications <= FEW_MULTIPLICATIONS
        """Whether NumPy's calls are all there is to it."""
        self._positions = np.where(table == PADDING, self._nowhere, starts + table).reshape(-1, p.pixels)

    @staticmethod
    def suits(p: Problem) -> bool:
        """True for few taps, unless they lie in order and there is something to multiply."""
        taps = p.batch * p.channels * p.rows.kernel * p.columns.kernel * p.pixels
        return 0 < taps <= _MOST_TAPS and (p.batch > 1 or not Pointwise.suits(p) or p.multiplications <= FEW_MULTIPLICATIONS)

    def laid_out(self, weights: Array) -> Array:
        """See `conv_problem.Method`."""
        return weights

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem
        images = x.reshape(p.batch * p.groups, self._nowhere)
        if self._has_padding:
            images = np.concatenate([images, np.zeros((p.batch * p.groups, 1), p.dtype)], axis=1)
        columns = np.take(images, self._positions, axis=1, mode="wrap")
        depth = len(self._positions)
        if self.is_short and len(images) == 1:
            np.dot(weights.reshape(p.maps, depth), columns.reshape(depth, p.pixels), out=y.reshape(p.maps, p.pixels))
        else:
            (np.matmul if self.is_short else matmul)(
                weights.reshape(p.groups, p.maps // p.groups, depth),
                columns.reshape(p.batch, p.groups, depth, p.pixels),
                y.reshape(p.batch, p.groups, p.maps // p.groups, p.pixels),
            )
        rows = (p.batch * p.maps, p.pixels)
        epilogue.apply(
            y.reshape(rows),
            bias if bias is None or p.batch == 1 else np.tile(bias, (p.batch, 1)),
            None if residual is None else residual.reshape(rows),
        )
