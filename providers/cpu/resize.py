"""Resize of the last two axes: linear as two matrix products, nearest by repeating or by index.

Linear interpolation along one axis is a sparse matrix with two entries a row. As a dense product it costs more
arithmetic than gathering, but the BLAS does forty times more arithmetic a second than NumPy gathers elements; it wins up to
an input size of some hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.registry import operator

FLOATS = frozenset({"float", "double"})
_LARGEST_SIZE = 512
_Sizes = tuple[tuple[int, int], tuple[float, float]]
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDING: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _plan(operation: Operation) -> _Sizes | str:
    """The output sizes and scales of the last two axes, or why this node is not for these kernels."""
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


def _from_sizes(given: Array, shape: Sequence[Any], height: int, width: int) -> _Sizes | str:
    if tuple(given[:2]) != tuple(shape[:2]):
        return "is fast where batch and channels keep their size"
    return _checked((int(given[2]), int(given[3])), (given[2] / height, given[3] / width), height, width)


def _from_scales(given: Array, height: int, width: int) -> _Sizes | str:
    if given[0] != 1 or given[1] != 1:
        return "is fast where batch and channels keep their size"
    return _checked((int(np.floor(height * given[2])), int(np.floor(width * given[3]))), (float(given[2]), float(given[3])), height, width)


def _checked(sizes: tuple[int, int], scales: tuple[float, float], height: int, width: int) -> _Sizes | str:
    if max(height, width) > _LARGEST_SIZE or min(*sizes, height, width) < 1:
        return f"is fast for sizes from 1 to {_LARGEST_SIZE}"
    return sizes, scales


def _coordinates(mode: str, size: int, output: int, scale: float) -> Array:
    """Where on the input axis each output position lies."""
    at = np.arange(output, dtype=np.float64)
    if mode == "align_corners":
        return at * (size - 1) / (output - 1) if output > 1 else at * 0
    if mode == "asymmetric":
        return at / scale
    return at * 0 if mode == "pytorch_half_pixel" and output == 1 else (at + 0.5) / scale - 0.5


def _weights(size: int, at: Array, dtype: np.dtype) -> Array:
    """The (output, size) matrix of linear interpolation."""
    clipped = np.clip(at, 0, size - 1)
    low = np.floor(clipped).astype(np.int64)
    part = clipped - low
    matrix = np.zeros((len(at), size))
    rows = np.arange(len(at))
    matrix[rows, low] += 1 - part
    matrix[rows, np.minimum(low + 1, size - 1)] += part
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
        plan = _plan(operation)
        x = operation.inputs[0]
        assert not isinstance(plan, str) and x is not None and x.shape is not None
        self._sizes, scales = plan
        self._linear = operation.attributes.get("mode", "nearest") == "linear"
        mode = operation.attributes.get("coordinate_transformation_mode", "half_pixel")
        at = [_coordinates(mode, int(size), output, scale) for size, output, scale in zip(x.shape[2:], self._sizes, scales, strict=True)]  # type: ignore[arg-type]
        if self._linear:
            dtype = np.dtype(x.dtype or np.float32)
            self._rows, columns = (_weights(int(size), a, dtype) for size, a in zip(x.shape[2:], at, strict=True))  # type: ignore[arg-type]
            self._columns = np.ascontiguousarray(columns.T)
        else:
            rounded = _ROUNDING[operation.attributes.get("nearest_mode", "round_prefer_floor")]
            self._picked = [np.clip(rounded(a), 0, int(size) - 1).astype(np.int64) for size, a in zip(x.shape[2:], at, strict=True)]  # type: ignore[arg-type]
            self._repeats = [_repeat(index, int(size)) for index, size in zip(self._picked, x.shape[2:], strict=True)]  # type: ignore[arg-type]

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
