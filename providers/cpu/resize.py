"""Resize of the last two axes: linear as two matrix products, nearest by repeating or by index.

Linear interpolation along one axis is a sparse matrix with two entries a row. As a dense product it costs more
arithmetic than gathering, but the BLAS does forty times more arithmetic a second than NumPy gathers elements; it wins up to
an input size of some hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.resampling import SINGLE, AxisScale, Taps, linear_taps, nearest_indices, original_coordinates
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.registry import operator

FLOATS = frozenset({"float", "double"})
_LARGEST_SIZE = 512
_Axes = tuple[AxisScale, AxisScale]
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "align_corners", "asymmetric")


def _plan(operation: Operation) -> _Axes | str:
    """How the last two axes are resized, or why this node is not for these kernels."""
    x, attributes = operation.inputs[0], operation.attributes
    if x is None or x.shape is None or len(x.shape) != 4 or sum(isinstance(size, int) for size in x.shape[2:]) != 2:
        return "is fast over two spatial axes of known size"
    coordinates = attributes.get("coordinate_transformation_mode", "half_pixel")
    if attributes.get("mode", "nearest") not in ("linear", "nearest") or coordinates not in _COORDINATES:
        return "is fast for modes linear and nearest with common coordinates"
    if (
        any(attributes.get(name) for name in ("antialias", "axes", "exclude_outside"))
        or attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        return "is fast without antialias, axes, exclude_outside and keep_aspect_ratio_policy"
    height, width = (size for size in x.shape[2:] if isinstance(size, int))
    for position, name in ((3, "sizes"), (2, "scales")):
        value = operation.inputs[position] if len(operation.inputs) > position else None
        if value is None:
            continue
        if value.constant is None:
            return f"is fast with constant {name}"
        given = value.constant()
        if given.size == 4:
            return _from_sizes(given, x.shape, height, width) if name == "sizes" else _from_scales(given, height, width)
    return "is fast with constant scales or sizes of four axes"


def _from_sizes(given: Array, shape: Sequence[Any], height: int, width: int) -> _Axes | str:
    if tuple(given[:2]) != tuple(shape[:2]):
        return "is fast where batch and channels keep their size"
    rows, columns = int(given[2]), int(given[3])
    return _checked(AxisScale(height, rows, rows / height), AxisScale(width, columns, columns / width))


def _from_scales(given: Array, height: int, width: int) -> _Axes | str:
    if given[0] != 1 or given[1] != 1:
        return "is fast where batch and channels keep their size"
    rows, columns = int(height * given[2]), int(width * given[3])  # products in float32: 18 times 25/18 is 25
    return _checked(AxisScale(height, rows, float(given[2])), AxisScale(width, columns, float(given[3])))


def _checked(vertical: AxisScale, horizontal: AxisScale) -> _Axes | str:
    if not all(1 <= axis.size <= _LARGEST_SIZE and axis.output >= 1 for axis in (vertical, horizontal)):
        return f"is fast for sizes from 1 to {_LARGEST_SIZE}"
    return vertical, horizontal


def _weights(taps: Taps, size: int, dtype: np.dtype) -> Array:
    """The (output, size) matrix of a blend."""
    matrix = np.zeros((len(taps.indices), size))
    np.add.at(matrix, (np.arange(len(matrix))[:, None], taps.indices), taps.weights)
    return matrix.astype(dtype)


def _reason(operation: Operation) -> str | None:
    plan = _plan(operation)
    return plan if isinstance(plan, str) else None


@operator("Resize", since=11, types=FLOATS, when=_reason, host=("roi", "scales", "sizes"))
class Resize:
    """Resize the last two axes of (N, C, H, W). Spec: https://onnx.ai/onnx/operators/onnx__Resize.html"""

    input_names = ("x", "roi", "scales", "sizes")
    required_inputs = 1

    def __init__(self, xp: Any, operation: Operation) -> None:
        axes = _plan(operation)
        x, attributes = operation.inputs[0], operation.attributes
        assert not isinstance(axes, str) and x is not None
        self._sizes = tuple(axis.output for axis in axes)
        self._linear = attributes.get("mode", "nearest") == "linear"
        mode, dtype = attributes.get("coordinate_transformation_mode", "half_pixel"), np.dtype(x.dtype or np.float32)
        at = [original_coordinates(mode, axis, dtype if self._linear else SINGLE) for axis in axes]
        if self._linear:
            self._rows, columns = (_weights(linear_taps(a, axis), axis.size, dtype) for a, axis in zip(at, axes, strict=True))
            self._columns = np.ascontiguousarray(columns.T)
        else:
            rounding = attributes.get("nearest_mode", "round_prefer_floor")
            self._picked = [nearest_indices(a, rounding, axis) for a, axis in zip(at, axes, strict=True)]
            self._repeats = [_repeat(index, axis.size) for index, axis in zip(self._picked, axes, strict=True)]

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, C, Ho, Wo)."""
        return (Spec((*inputs[0].shape[:2], *self._sizes), inputs[0].dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """Linear: the array after its first axis is done."""
        x = inputs[0]
        size: int = x.shape[0] * x.shape[1] * x.shape[2] * self._sizes[1] * x.dtype.itemsize if self._linear else 0
        return size

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        x, out = inputs[0], outputs[0]
        if out.size == 0:
            return outputs
        if self._linear:
            wide: Any = np.ndarray((*x.shape[:3], self._sizes[1]), x.dtype, workspace)
            matmul(x.reshape(-1, x.shape[3]), self._columns, wide.reshape(-1, self._sizes[1]))
            matmul(self._rows, wide, out)
        elif all(self._repeats):
            height, width = self._repeats
            np.copyto(out.reshape(*x.shape[:3], height, x.shape[3], width), x[:, :, :, None, :, None])
        else:
            np.copyto(out, x[:, :, self._picked[0]][:, :, :, self._picked[1]])
        return outputs


def _repeat(index: Array, size: int) -> int:
    """How often each element is repeated, if the same for all; 0 if not."""
    times = len(index) // size
    return times if len(index) == times * size and np.array_equal(index, np.repeat(np.arange(size), times)) else 0
