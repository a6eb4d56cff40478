"""Convolution as matrix products: 1x1 directly, others over columns that are gathered for a few output rows at a time.

For a tile of output rows, the input is gathered once for each tap of the window's width only: kw copies of the
channels, whose rows are the output's width. Every tap row of the window is then a shifted view of the same
gathered memory, so that

    rows      adds up kh products W[:, tap row] @ view; no further copy
    columns   copies the kh views under each other and makes one product

`rows` copies 1/kh of what im2col copies and pays kh-1 additions over the output; `columns` is im2col, for windows over
few channels (the first layer) and for small maps, where the products are too thin to be fast. Paired runs against
each other and against plain im2col, flat shifted GEMM (kn2row) and Winograd F(4x4, 3x3) by GEMM, on the 3x3 layers of a
residual network: `rows` was the fastest on maps from 14x14 up, `columns` on 7x7; Winograd's transforms cost in NumPy
what its products save.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.threads import share

_TILE_ELEMENTS = 1 << 19
_SMALL_MAP = 100


class Pointwise:
    """1x1 windows without padding: the input is the matrix."""

    layout = "as given"

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._strided = p.rows.stride > 1 or p.columns.stride > 1
        self.workspace = p.channels * p.pixels * p.dtype.itemsize if self._strided else 0

    @staticmethod
    def suits(p: Problem) -> bool:
        """True for 1x1 windows without padding."""
        return all(axis.kernel == 1 and not axis.before and not axis.after for axis in (p.rows, p.columns))

    def laid_out(self, weights: Array) -> Array:
        """See `conv_problem.Method`."""
        return weights

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem
        matrix = weights.reshape(p.groups, p.maps // p.groups, -1)
        for n in range(p.batch):
            image = x[n]
            if self._strided:
                assert workspace is not None
                picked = _taken(workspace, (p.channels, p.rows.output, p.columns.output), p.dtype)
                np.copyto(picked, image[:, :: p.rows.stride, :: p.columns.stride])
                image = picked
            _product(matrix, image.reshape(p.groups, -1, p.pixels), y[n].reshape(p.groups, -1, p.pixels))
            epilogue.apply(y[n].reshape(p.maps, p.pixels), bias, None if residual is None else residual[n].reshape(p.maps, p.pixels))


class Gathered:
    """Windows of any size, stride, dilation and padding (see the module's docstring)."""

    layout = "taps first"

    def __init__(self, problem: Problem) -> None:
        self._problem = p = problem
        self._phases = sorted({(i * p.rows.dilation) % p.rows.stride for i in range(p.rows.kernel)})
        self._reach = (p.rows.kernel - 1) * p.rows.dilation // p.rows.stride
        self._stacked = p.rows.kernel > 1 and (
            p.pixels <= _SMALL_MAP or p.rows.kernel * p.columns.kernel * p.channels < 1.5 * (p.rows.kernel - 1) * p.maps
        )
        self._height = self._tile_height()
        self._gathered_shape = (
            len(self._phases),
            p.groups,
            p.columns.kernel,
            p.channels // p.groups,
            self._height + self._reach,
            p.columns.output,
        )
        tile = self._height * p.columns.output
        depth = p.channels * p.columns.kernel * p.rows.kernel
        second = depth if self._stacked else p.maps if p.rows.kernel > 1 else 0
        self.workspace = (int(np.prod(self._gathered_shape)) + second * tile) * p.dtype.itemsize

    def _tile_height(self) -> int:
        p = self._problem
        depth = len(self._phases) * p.channels * p.columns.kernel * (p.rows.kernel if self._stacked else 1)
        height = _TILE_ELEMENTS // max(1, depth * p.columns.output)
        least = max(2 * self._reach, 256 // p.columns.output, 1)
        tiles = max(1, -(-p.rows.output // max(height, least)))
        return -(-p.rows.output // tiles)

    def laid_out(self, weights: Array) -> Array:
        """(groups, maps/groups, kh, kw·channels/groups)."""
        p = self._problem
        taps = weights.reshape(p.groups, p.maps // p.groups, p.channels // p.groups, p.rows.kernel, p.columns.kernel)
        return np.ascontiguousarray(taps.transpose(0, 1, 3, 4, 2)).reshape(p.groups, p.maps // p.groups, p.rows.kernel, -1)

    def run(
        self, x: Array, weights: Array, y: Array, epilogue: Epilogue, bias: Array | None, residual: Array | None, workspace: Array | None
    ) -> None:
        """See `conv_problem.Method`."""
        p = self._problem
        assert workspace is not None
        gathered = _taken(workspace, self._gathered_shape, p.dtype)
        rest = workspace[gathered.nbytes :]
        for n in range(p.batch):
            image = x[n].reshape(p.groups, p.channels // p.groups, p.rows.size, p.columns.size)
            flat = y[n].reshape(p.maps, p.pixels)
            added = None if residual is None else residual[n].reshape(p.maps, p.pixels)
            for start in range(0, p.rows.output, self._height):
                height = min(self._height, p.rows.output - start)
                self._gather(image, start, height + self._reach, gathered)
                columns = slice(start * p.columns.output, (start + height) * p.columns.output)
                out = y[n].reshape(p.groups, -1, p.pixels)[:, :, columns]
                self._multiply(weights, gathered, out, rest)
                epilogue.apply(flat[:, columns], bias, None if added is None else added[:, columns])

    def _gather(self, image: Array, start: int, height: int, gathered: Array) -> None:
        p = self._problem
        cost = p.channels * p.columns.kernel * height * p.columns.output * len(self._phases)

        def part(first: int, last: int) -> None:
            chosen = (slice(first, last), slice(None)) if p.groups > 1 else (slice(None), slice(first, last))
            for place, phase in enumerate(self._phases):
                for tap in range(p.columns.kernel):
                    target = gathered[place, :, tap] if p.groups == 1 else gathered[place, first:last, tap]
                    self._copy_tap(image[chosen], start, height, phase, tap, target if p.groups > 1 else target[:, first:last])

        share(part, p.groups if p.groups > 1 else p.channels, cost)

    def _copy_tap(self, image: Array, start: int, height: int, phase: int, tap: int, target: Array) -> None:
        p = self._problem
        base = start * p.rows.stride + phase - p.rows.before
        low = min(height, max(0, -(base // p.rows.stride)))
        high = max(low, min(height, (p.rows.size - 1 - base) // p.rows.stride + 1))
        left, right = p.columns.valid(tap)
        if low:
            target[:, :, :low] = 0
        if high < target.shape[2]:
            target[:, :, high:] = 0
        if left:
            target[:, :, low:high, :left] = 0
        if right < p.columns.output:
            target[:, :, low:high, right:] = 0
        if low < high and left < right:
            first = base + low * p.rows.stride
            rows = slice(first, first + (high - low - 1) * p.rows.stride + 1, p.rows.stride)
            target[:, :, low:high, left:right] = image[:, :, rows, p.columns.input_slice(tap, left, right)]

    def _multiply(self, weights: Array, gathered: Array, out: Array, rest: Array) -> None:
        p = self._problem
        views = [self._tap_view(gathered, i, out.shape[2]) for i in range(p.rows.kernel)]
        if self._stacked:
            depth = views[0].shape[1]
            stack = _taken(rest, (p.groups, depth * p.rows.kernel, out.shape[2]), p.dtype)
            for i, view in enumerate(views):
                np.copyto(stack[:, i * depth : (i + 1) * depth], view)
            _product(weights.reshape(p.groups, p.maps // p.groups, -1), stack, out)
            return
        _product(weights[:, :, 0], views[0], out)
        for i, view in enumerate(views[1:], 1):
            addend = _taken(rest, out.shape, p.dtype)
            _product(weights[:, :, i], view, addend)
            np.add(out, addend, out=out)

    def _tap_view(self, gathered: Array, tap: int, pixels: int) -> Array:
        p = self._problem
        offset = tap * p.rows.dilation
        place = self._phases.index(offset % p.rows.stride)
        first = offset // p.rows.stride * p.columns.output
        plane: Array = gathered[place].reshape(p.groups, p.columns.kernel * p.channels // p.groups, -1)
        return plane[:, :, first : first + pixels]


def _taken(memory: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    array: Any = np.ndarray(shape, dtype, memory)
    return array


def _product(a: Array, b: Array, out: Array) -> None:
    if a.shape[0] == 1:
        matmul(a[0], b[0], out[0])
    else:
        matmul(a, b, out)
