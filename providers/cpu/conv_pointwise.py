"""Convolution by windows of 1x1: the input is the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.conv_problem import Problem
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.finished_products import finished_product


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
                picked: Any = np.ndarray((p.channels, p.rows.output, p.columns.output), p.dtype, workspace)
                np.copyto(picked, image[:, :: p.rows.stride, :: p.columns.stride])
                image = picked
            out = y[n].reshape(p.maps, p.pixels)
            added = None if residual is None else residual[n].reshape(p.maps, p.pixels)
            if p.groups == 1:
                finished_product(matrix[0], image.reshape(-1, p.pixels), out, epilogue, bias, added)
            else:
                matmul(matrix, image.reshape(p.groups, -1, p.pixels), y[n].reshape(p.groups, -1, p.pixels))
                epilogue.apply(out, bias, added)
