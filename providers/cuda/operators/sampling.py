"""GridSample, AffineGrid and DeformConv: a thread an element; DeformConv's windows are columns of a matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.precision import accumulation_dtype, widened
from onnxgpu.providers.array_ops.sampling import deform_windows
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.products import product
from onnxgpu.providers.cuda.registry import array_specs, operator

GRID = Template("sampling.cu", "sample_grid<{T}>", "pppsliib", T=FLOATS)
AFFINE = Template("sampling.cu", "fill_affine_grid<{T}>", "ppsb", T=FLOATS)
WINDOWS = Template("sampling.cu", "deform_windows<{T}>", "ppppss", T=FLOATS)

_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
_PADDINGS = ("zeros", "border", "reflection")
_MOST_AXES = 3


def _in_front(values: Sequence[int], filler: int = 1) -> list[int]:
    return [filler] * (_MOST_AXES - len(values)) + [int(value) for value in values]


def _structure(batch: int, channels: int, spatial: Sequence[int]) -> np.ndarray:
    """The kernels' structure Sampled."""
    return np.array([batch, channels, *_in_front(spatial), len(spatial)], np.int64)


def _one_type_and_few_axes(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if any(value.dtype != values[0].dtype for value in values):
        return "takes inputs of one element type"
    if values[0].shape is None or not 3 <= len(values[0].shape) <= 2 + _MOST_AXES:
        return f"needs to know that there are 1 to {_MOST_AXES} spatial axes"
    return None


def _grid_refusal(operation: Operation) -> str | None:
    mode, padding = operation.attributes.get("mode", "linear"), operation.attributes.get("padding_mode", "zeros")
    if mode not in _TAPS or padding not in _PADDINGS:
        return f"knows the modes {', '.join(_TAPS)} and the paddings {', '.join(_PADDINGS)}, not {mode!r} and {padding!r}"
    return _one_type_and_few_axes(operation)


@operator("GridSample", domain="com.microsoft", specs=array_specs("GridSample"), types=FLOAT_NAMES, when=_grid_refusal)
@operator("GridSample", since=16, specs=array_specs("GridSample"), types=FLOAT_NAMES, when=_grid_refusal)
def grid_sample(
    xp: Any, x: Array, grid: Array, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros", out: Array = None
) -> Array:
    """The input at the places that the grid names, in [-1, 1], last axis first.

    Spec: https://onnx.ai/onnx/operators/onnx__GridSample.html
    """
    y = xp.empty((*x.shape[:2], *grid.shape[1:-1]), x.dtype) if out is None else out
    settings = prod(grid.shape[1:-1]), _TAPS[mode], _PADDINGS.index(padding_mode), bool(align_corners)
    shape = _structure(x.shape[0], x.shape[1], x.shape[2:])
    GRID.instance(T=x.dtype).launch(blocks_for(y.size), THREADS, dense(xp, x), dense(xp, grid), y, shape, *settings)
    return y


@operator("AffineGrid", since=20, specs=array_specs("AffineGrid"), host=("size",), types=FLOAT_NAMES)
def affine_grid(xp: Any, theta: Array, size: Array, *, align_corners: int = 0, out: Array = None) -> Array:
    """A grid for GridSample from affine maps (N, axes, axes + 1). Spec: https://onnx.ai/onnx/operators/onnx__AffineGrid.html"""
    batch, _, *spatial = integers(size)
    y = xp.empty((batch, *spatial, len(spatial)), theta.dtype) if out is None else out
    shape = _structure(batch, 1, spatial)
    AFFINE.instance(T=theta.dtype).launch(blocks_for(y.size), THREADS, dense(xp, theta), y, shape, bool(align_corners))
    return y


@operator("DeformConv", since=19, specs=array_specs("DeformConv"), types=FLOAT_NAMES, when=_one_type_and_few_axes)
def deform_conv(
    xp: Any,
    x: Array,
    w: Array,
    offset: Array,
    b: Array = None,
    mask: Array = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """Convolution whose window elements are displaced. Spec: https://onnx.ai/onnx/operators/onnx__DeformConv.html"""
    windows = deform_windows(x, w, offset, group, offset_group, {"dilations": dilations, "pads": pads, "strides": strides})
    batch, channels, (maps, each) = x.shape[0], x.shape[1], w.shape[:2]
    positions, elements = prod(windows.output), prod(windows.kernel)
    wide = accumulation_dtype(x.dtype)
    columns = xp.empty((batch, group, each * elements, positions), wide)
    fields = (windows.kernel, windows.strides, windows.dilations, windows.begin, windows.output)
    how = np.array([*(n for field in fields for n in _in_front(field)), offset_group], np.int64)
    inputs = dense(xp, x), dense(xp, offset), None if mask is None else dense(xp, mask)
    shape = _structure(batch, channels, x.shape[2:])
    WINDOWS.instance(T=x.dtype).launch(blocks_for(columns.size), THREADS, *inputs, columns, shape, how)
    y = xp.empty((batch, maps, *windows.output), x.dtype) if out is None else out
    result = y if wide == x.dtype else xp.empty(y.shape, wide)
    bias = None if b is None else widened(b).reshape(1, group, maps // group, 1)
    product(xp, widened(w).reshape(group, maps // group, -1), columns, result.reshape(batch, group, maps // group, positions), c=bias)
    if result is not y:
        y[...] = result
    return y
