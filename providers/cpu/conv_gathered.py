"""Convolution as matrix products over columns that are gathered for a few output rows at a time.

For a tile of output rows, the input is gathered once for each tap of the window's width only: kw copies of the
channels, whose rows are the output's width. Every tap row of the window is then a shifted view of the same
gathered memory, so that

    rows      adds up kh products W[:, tap row] @ view; no further copy
    columns   gathers all kh·kw taps and makes one product

`rows` copies 1/kh of what im2col copies and pays kh-1 additions over the output; `columns` is im2col, for windows over
few channels (the first layer) and for small maps, where the products are too thin to be fast. Paired runs against
each other and against plain im2col, flat shifted GEMM (kn2row) and Winograd F(4x4, 3x3) by GEMM, on the 3x3 layers of a
residual network: `rows` was the fastest on maps from 14x14 up, `columns` on 7x7; Winograd's transforms cost in NumPy
what its products save.

Threads share output rows (of a single row its columns), each with a gathered tile of its own; of maps of few pixels, where
products over a part of them are too thin, they share the channels of the output, and one thread gathers. What is gathered
comes in one long copy out of a padded input: a thread that makes many short calls hardly ever leaves the interpreter lock to
another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import product_seconds, single_threaded
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.geometry import Axis
from onnxgpu.providers.cpu.threads import scratch, share

_TILE_ELEMENTS, _LEAST_PIXELS = 1 << 19, 256
_SMALL_MAP, _FEW_PIXELS, _LONG_ROW = 100, 256, 28
_SECONDS_A_COPY = 5e-10
_PADDED, _GATHERED, _STACKED, _ADDEND = 1, 2, 3, 4
"""Slots of scratch memory."""


class Gathered:
    """Windows of any size, stride, dilation and padding (see the module's docstring)."""

    layout = "taps first"
    workspace = 0

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._phases = sorted({(i * p.rows.dilation) % p.rows.stride for i in range(p.rows.kernel)})
        self._reach = (p.rows.kernel - 1) * p.rows.dilation // p.rows.stride
        self._stacked = p.rows.kernel > 1 and (
            p.pixels <= _SMALL_MAP or p.rows.kernel * p.columns.kernel * p.channels < 1.5 * (p.rows.kernel - 1) * p.maps
        )
        self._shares_maps = p.groups == 1 and p.pixels <= _FEW_PIXELS
        self._tiles_columns = p.rows.output == 1
        self._length = self._tile_length()
        self._is_padded = any((p.rows.before, p.rows.after, p.columns.before, p.columns.after))
        copies = p.columns.kernel * (p.rows.kernel if self._stacked else len(self._phases)) + self._is_padded
        self._gather_seconds = _SECONDS_A_COPY * copies * p.channels * p.pixels

    def _tile_length(self) -> int:
        """How many rows of the output, or columns of a single row, are worked on at a time."""
        p = self._problem
        count, width = (p.columns.output, 1) if self._tiles_columns else (p.rows.output, p.columns.output)
        depth = len(self._phases) * p.channels * p.columns.kernel * (p.rows.kernel if self._stacked else 1)
        least = max(1, _LEAST_PIXELS // width, 0 if self._tiles_columns else 2 * self._reach)
        tiles = max(1, -(-count // max(_TILE_ELEMENTS // max(1, depth * width), least)))
        return -(-count // tiles)

    def laid_out(self, weights: Array) -> Array:
        """(groups, maps/groups, kh, kw·channels/groups)."""
        p = self._problem
        taps = weights.reshape(p.groups, p.maps // p.groups, p.channels // p.groups, p.rows.kernel, p.columns.kernel)
        return np.ascontiguousarray(taps.transpose(0, 1, 3, 4, 2)).reshape(p.groups, p.maps // p.groups, p.rows.kernel, -1)

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        with single_threaded():
            for n in range(self._problem.batch):
                self._convolve(x[n], weights, y[n], epilogue, bias, None if residual is None else residual[n])

    def _convolve(self, image: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None) -> None:
        p = self._problem
        out, flat = y.reshape(p.groups, -1, p.pixels), y.reshape(p.maps, p.pixels)
        added = None if residual is None else residual.reshape(flat.shape)
        seconds = product_seconds(p.multiplications // p.batch) + epilogue.seconds(flat.size, bias, residual)

        def finish(taps: Sequence[Array], columns: slice, maps: slice) -> None:
            self._multiply(weights[:, maps], taps, out[:, maps, columns])
            epilogue.apply_here(flat[maps, columns], None if bias is None else bias[maps], None if added is None else added[maps, columns])

        def tiles(first: int, last: int) -> None:
            for start in range(first, last, self._length):
                stop = min(start + self._length, last)
                if self._tiles_columns:
                    finish(self._gather(image, (0, 1), (start, stop)), slice(start, stop), slice(None))
                else:
                    taps = self._gather(image, (start, stop), (0, p.columns.output))
                    finish(taps, slice(start * p.columns.output, stop * p.columns.output), slice(None))

        if self._shares_maps:
            everything = self._gather(image, (0, p.rows.output), (0, p.columns.output))
            share(lambda first, last: finish(everything, slice(None), slice(first, last)), p.maps, seconds=seconds)
        else:
            share(tiles, p.columns.output if self._tiles_columns else p.rows.output, seconds=seconds + self._gather_seconds)

    def _gather(self, image: Array, rows: tuple[int, int], columns: tuple[int, int]) -> list[Array]:
        """The taps of some output rows and columns, (groups, taps, pixels) for each row of the window, or one for all of them.

        They lie in scratch memory.
        """
        p = self._problem
        height, breadth = rows[1] - rows[0], columns[1] - columns[0]
        source, at = self._padded(image, rows, columns), 0
        if source is image:
            at = rows[0] * p.rows.stride * p.columns.size + columns[0] * p.columns.stride
        channels, width = p.channels // p.groups, source.shape[2]
        down, right, plane = p.rows.dilation * width, p.columns.dilation, source.shape[1] * width

        def view(offset: int, sizes: tuple[int, ...], steps: tuple[int, ...]) -> Array:
            """(groups, *sizes, breadth) of the source."""
            strides = tuple(step * p.dtype.itemsize for step in (channels * plane, *steps, p.columns.stride))
            found: Any = np.ndarray((p.groups, *sizes, breadth), p.dtype, source, (at + offset) * p.dtype.itemsize, strides)
            return found

        if self._stacked and (self._reach == 0 or breadth >= _LONG_ROW):
            every = view(0, (p.rows.kernel, p.columns.kernel, channels, height), (down, right, plane, p.rows.stride * width))
            stack = scratch(every.size, p.dtype, _STACKED).reshape(every.shape)
            np.copyto(stack, every)
            return [stack.reshape(p.groups, -1, height * breadth)]
        shape = (len(self._phases), p.groups, p.columns.kernel, channels, height + self._reach, breadth)
        gathered = scratch(prod(shape), p.dtype, _GATHERED).reshape(shape)
        offsets = [tap * p.rows.dilation for tap in range(p.rows.kernel)]
        for place, phase in enumerate(self._phases):
            reach = max(offset // p.rows.stride for offset in offsets if offset % p.rows.stride == phase)
            wanted = view(phase * width, (p.columns.kernel, channels, height + reach), (right, plane, p.rows.stride * width))
            np.copyto(gathered[place][:, :, :, : height + reach], wanted)
        planes = gathered.reshape(len(self._phases), p.groups, p.columns.kernel * channels, -1)
        starts = [(self._phases.index(o % p.rows.stride), o // p.rows.stride * breadth) for o in offsets]
        taps = [planes[place, :, :, first : first + height * breadth] for place, first in starts]
        if not self._stacked:
            return taps
        stack = scratch(p.rows.kernel * taps[0].size, p.dtype, _STACKED).reshape(p.groups, p.rows.kernel, -1, height * breadth)
        for i, tap in enumerate(taps):
            np.copyto(stack[:, i], tap)
        return [stack.reshape(p.groups, -1, height * breadth)]

    def _padded(self, image: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        """What of the padded input the output's rows and columns depend on; `image` itself where nothing is padded."""
        if not self._is_padded:
            return image
        p = self._problem
        height, inside, lines = _reached(p.rows, *rows)
        width, within, dots = _reached(p.columns, *columns)
        padded = scratch(p.channels * height * width, p.dtype, _PADDED).reshape(p.channels, height, width)
        if (inside, within) != (slice(0, height), slice(0, width)):
            padded.fill(0)
        padded[:, inside, within] = image[:, lines, dots]
        return padded

    @staticmethod
    def _multiply(weights: Array, taps: Sequence[Array], out: Array) -> None:
        if len(taps) == 1:
            _product(weights.reshape(*weights.shape[:2], -1), taps[0], out)
            return
        _product(weights[:, :, 0], taps[0], out)
        addend = scratch(out.size, out.dtype, _ADDEND).reshape(out.shape)
        for i, tap in enumerate(taps[1:], 1):
            _product(weights[:, :, i], tap, addend)
            np.add(out, addend, out=out)


def _reached(axis: Axis, start: int, stop: int) -> tuple[int, slice, slice]:
    """How many padded positions some outputs depend on, which of these lie in the input, and where in it."""
    size = (stop - start - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
    begin = start * axis.stride - axis.before
    low = min(size, max(0, -begin))
    high = max(low, min(size, axis.size - begin))
    return size, slice(low, high), slice(begin + low, begin + high)


def _product(a: Array, b: Array, out: Array) -> None:
    """Batches of one are no batches: NumPy calls the BLAS for them only if the arrays are laid out as for a matrix."""
    if len(a) == 1:
        np.matmul(a[0], b[0], out=out[0])
    else:
        np.matmul(a, b, out=out)
