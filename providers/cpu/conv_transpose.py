"""ConvTranspose over one or two axes: one matrix product, whose rows are added into the output tap by tap (col2im)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.conv import planes_only
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.geometry import Axis, as_planes, windows
from onnxgpu.providers.cpu.registry import operator

FLOATS = frozenset({"float", "double"})
_TILE_ELEMENTS = 1 << 19


def _plain_sizes(operation: Operation) -> str | None:
    if operation.attributes.get("output_shape"):
        return "is fast without output_shape"
    if operation.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "is fast with explicit padding"
    return planes_only(operation)


@operator("ConvTranspose", types=FLOATS, when=_plain_sizes, absorbs=("w",))
class ConvTranspose:
    """Inputs X (N, C, [H,] W), W (C, M/group, [kh,] kw), optional B (M,). Spec: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html"""

    input_names = ("x", "w", "b")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        weights = operation.inputs[1]
        assert weights is not None
        self._attributes = operation.attributes
        self._groups = int(operation.attributes.get("group", 1))
        self._epilogue = Epilogue(operation.attributes)
        self._constant = weights.constant() if weights.constant else None
        self._matrix = None if self._constant is None else self._laid_out(as_planes(self._constant))
        self._shape = None if self._constant is None else self._constant.shape
        self._constant = None

    def _laid_out(self, weights: Array) -> Array:
        """(groups, kh·kw·maps/groups, channels/groups)."""
        channels, maps, rows, columns = weights.shape
        taps = weights.reshape(self._groups, channels // self._groups, maps, rows, columns).transpose(0, 3, 4, 2, 1)
        return np.ascontiguousarray(taps).reshape(self._groups, rows * columns * maps, channels // self._groups)

    def _axes(self, x: Sequence[int], w: Sequence[int]) -> tuple[Axis, Axis]:
        """The axes of the convolution whose transpose this is: `size` is Y's size, `output` X's."""
        if len(x) != len(w) or x[1] != w[0]:
            raise InvalidArgument(f"X has shape {list(x)}, W {list(w)}: expected X of (N, {w[0]}, …) with as many spatial axes as W")
        shape = windows(self._attributes, w[2:])
        extra = self._attributes.get("output_padding") or (0,) * shape.rank
        axes = []
        for i, size in enumerate(x[2:]):
            pads = (shape.pads[i], shape.pads[i + shape.rank]) if shape.auto_pad == "NOTSET" else (0, 0)
            full = (size - 1) * shape.strides[i] + extra[i] + (shape.kernel[i] - 1) * shape.dilations[i] + 1
            axes.append(Axis(full - sum(pads), shape.kernel[i], shape.strides[i], shape.dilations[i], *pads, size))
        if shape.rank == 1:
            axes.insert(0, Axis(1, 1, 1, 1, 0, 0, 1))
        return axes[0], axes[1]

    def _sizes(self, inputs: Sequence[Value]) -> tuple[int, Axis, Axis]:
        shape = self._shape or tuple(inputs[1].shape)
        return (shape[1] * self._groups, *self._axes(inputs[0].shape, shape))

    def _tile(self, maps: int, rows: Axis, columns: Axis) -> int:
        """How many input rows one product covers."""
        return min(rows.output, max(1, _TILE_ELEMENTS // max(1, maps * rows.kernel * columns.kernel * columns.output)))

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, [Ho,] Wo)."""
        maps, rows, columns = self._sizes(inputs)
        x = inputs[0]
        return (Spec((x.shape[0], maps, *(rows.size, columns.size)[-(x.ndim - 2) :]), x.dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """The product of one tile."""
        maps, rows, columns = self._sizes(inputs)
        size: int = self._tile(maps, rows, columns) * columns.output * maps * rows.kernel * columns.kernel * inputs[0].dtype.itemsize
        return size

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, given, bias = (*inputs, None)[:3]
        out = as_planes(outputs[0])
        if out.size == 0:
            return outputs
        maps, rows, columns = self._sizes(inputs)
        matrix = self._laid_out(as_planes(given)) if self._matrix is None else self._matrix
        images = as_planes(np.ascontiguousarray(x))
        out.fill(0)
        for n in range(out.shape[0]):
            image = images[n].reshape(self._groups, -1, rows.output * columns.output)
            self._transpose(
                image, matrix, out[n].reshape(self._groups, maps // self._groups, rows.size, columns.size), rows, columns, workspace
            )
            flat = out[n].reshape(maps, prod(out.shape[2:]))
            self._epilogue.apply(flat, None if bias is None else bias.reshape(-1, 1), None)
        return outputs

    def _transpose(self, image: Array, matrix: Array, out: Array, rows: Axis, columns: Axis, workspace: Array | None) -> None:
        height = self._tile(out.shape[0] * out.shape[1], rows, columns)
        for first in range(0, rows.output, height):
            last = min(first + height, rows.output)
            shape = (self._groups, matrix.shape[1], (last - first) * columns.output)
            spread: Any = np.ndarray(shape, image.dtype, workspace)
            matmul(matrix, image[:, :, first * columns.output : last * columns.output], spread)
            self._add_taps(
                spread.reshape(self._groups, rows.kernel, columns.kernel, out.shape[1], last - first, columns.output),
                out,
                rows,
                columns,
                first,
            )

    @staticmethod
    def _add_taps(spread: Array, out: Array, rows: Axis, columns: Axis, first: int) -> None:
        last = first + spread.shape[4]
        for i in range(rows.kernel):
            top, bottom = (min(max(edge, first), last) for edge in rows.valid(i))
            for j in range(columns.kernel):
                left, right = columns.valid(j)
                if top < bottom and left < right:
                    target = out[:, :, rows.input_slice(i, top, bottom), columns.input_slice(j, left, right)]
                    np.add(target, spread[:, i, j, :, top - first : bottom - first, left:right], out=target)
