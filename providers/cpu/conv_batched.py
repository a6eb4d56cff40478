"""Convolution of several small images at once: im2col for a group of images, then one batched matrix product.

On small maps the work of one image is less than what calling NumPy for it costs. Paired runs against one image at a
time, 3x3 windows on batches of 2 to 32: 0.4 to 0.8 of the time where the columns of one image have fewer than some
60,000 elements, the same or more above.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue

_MOST_COLUMN_ELEMENTS = 60_000
_GROUP_ELEMENTS = 1 << 18


class Batched:
    """Windows of any kind over small maps, without groups (see the module's docstring)."""

    layout = "as given"

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._depth = p.channels * p.rows.kernel * p.columns.kernel
        self._images = max(1, min(p.batch, _GROUP_ELEMENTS // max(1, self._depth * p.pixels)))
        self._padded = (
            self._images,
            p.channels,
            (p.rows.output - 1) * p.rows.stride + (p.rows.kernel - 1) * p.rows.dilation + 1,
            (p.columns.output - 1) * p.columns.stride + (p.columns.kernel - 1) * p.columns.dilation + 1,
        )
        self.workspace = (int(np.prod(self._padded)) + self._images * self._depth * p.pixels) * p.dtype.itemsize

    @staticmethod
    def suits(p: Problem) -> bool:
        """True for several small images in one group of channels."""
        columns = p.channels * p.rows.kernel * p.columns.kernel * p.pixels
        return p.batch > 1 and p.groups == 1 and columns <= _MOST_COLUMN_ELEMENTS

    def laid_out(self, weights: Array) -> Array:
        """See `conv_problem.Method`."""
        return weights

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem
        assert workspace is not None
        padded: Any = np.ndarray(self._padded, p.dtype, workspace)
        columns: Any = np.ndarray((self._images, self._depth, p.pixels), p.dtype, workspace, padded.nbytes)
        matrix = weights.reshape(p.maps, self._depth)
        padded[...] = 0
        for first in range(0, p.batch, self._images):
            count = min(self._images, p.batch - first)
            self._gather(x[first : first + count], padded[:count], columns[:count])
            matmul(
                np.broadcast_to(matrix, (count, *matrix.shape)), columns[:count], y[first : first + count].reshape(count, p.maps, p.pixels)
            )
            rows = y[first : first + count].reshape(-1, p.pixels)
            added = None if residual is None else residual[first : first + count].reshape(-1, p.pixels)
            epilogue.apply(rows, None if bias is None else np.tile(bias, (count, 1)), added)

    def _gather(self, images: Array, padded: Array, columns: Array) -> None:
        """Copy every window of `images` into a column; the border of `padded` is already zero."""
        p = self._problem
        rows = min(p.rows.size, padded.shape[2] - p.rows.before)
        width = min(p.columns.size, padded.shape[3] - p.columns.before)
        padded[:, :, p.rows.before : p.rows.before + rows, p.columns.before : p.columns.before + width] = images[:, :, :rows, :width]
        image, channel, row, column = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded,
            (len(images), p.channels, p.rows.kernel, p.columns.kernel, p.rows.output, p.columns.output),
            (
                image,
                channel,
                row * p.rows.dilation,
                column * p.columns.dilation,
                row * p.rows.stride,
                column * p.columns.stride,
            ),
        )
        np.copyto(columns.reshape(windows.shape), windows)
