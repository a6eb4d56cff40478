"""MaxPool, AveragePool, LpPool, their global forms and MaxUnpool, over 1 to 3 spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.unpooling import pooled_shape
from onnxgpu.providers.array_ops.windows import spatial_sizes, windows_over
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, FLOATS, MOST_BLOCKS, THREADS, Template, blocks_for, dense, whole_warps
from onnxgpu.providers.cuda.operators.reductions import reduced
from onnxgpu.providers.cuda.registry import array_specs, operator
from onnxgpu.providers.cuda.windows import MOST_WINDOW_AXES, NO_AXIS, UNITS, structure_of_windows

Numbers = Sequence[int] | None

_MAXIMA_OF = FLOAT_NAMES | {"int8", "uint8"}
_NORMS = {1.0: "AbsoluteNorm", 2.0: "EuclideanNorm"}
_SIDES = (2, 3, 5)
"""Square windows of two axes that have kernels of their own, which load all elements of a window at once."""
_INDICES = ("int", "long long")
_WINDOWS = ("long long, 0", "int, 0", *(f"int, {side}" for side in _SIDES))
_MAXIMA = tuple(C_TYPES[name] for name in sorted(_MAXIMA_OF))
_SUMS = (*(f"Mean, {windows}" for windows in _WINDOWS), *(f"{norm}, {i}, 0" for norm in (*_NORMS.values(), "PowerNorm") for i in _INDICES))
MAXIMA = Template("pooling.cu", "pool_maxima<{T}, {windows}>", "ppsl", T=_MAXIMA, windows=_WINDOWS)
MAXIMA_WITH_INDICES = Template("pooling.cu", "pool_maxima_with_indices<{T}, {index}>", "pppslb", T=_MAXIMA, index=_INDICES)
SUMS = Template("pooling.cu", "pool_sums<{T}, {sums}>", "ppsldb", T=FLOATS, sums=_SUMS)
POWER_NORMS = Template("power_norms.cu", "power_norms<{T}>", "pplld", T=FLOATS)
UNPOOL = Template("pooling.cu", "scatter_maxima<{unit}>", "pppsl", unit=tuple(UNITS.values()))

_MANY = 1 << 29
"""Fewer elements, and fewer elements' places in padding, are counted in 32 bits."""


def _refusal(operation: Operation) -> str | None:
    axes = len(operation.attributes.get("kernel_shape", ()))
    return None if 1 <= axes <= MOST_WINDOW_AXES else f"pools over at most {MOST_WINDOW_AXES} spatial axes, not {axes}"


@dataclass(frozen=True)
class _Windows:
    """Where the windows of a pool lie.

    Args:
        shape: of the result.
        rows: the kernels' structure Windows, an axis a row.
    """

    shape: tuple[int, ...]
    rows: np.ndarray

    def kind(self, x: Array) -> tuple[str, int, np.ndarray]:
        """The type that counts elements, the side if the windows are squares with kernels of their own, else 0, and the structure."""
        if max(x.size, prod(self.shape), int(self.rows.max())) >= _MANY:
            return "long long", 0, self.rows
        _, height, width = self.rows[:, 1]
        is_square = x.size and tuple(self.rows[0]) == NO_AXIS and height == width and width in _SIDES
        return "int", int(width) if is_square else 0, self.rows.astype(np.int32)


def _windows(name: str, x: Array, kernel_shape: Sequence[int], *settings: Any) -> _Windows:
    found = windows_over(name, spatial_sizes(name, x), kernel_shape, *settings)
    return _Windows((*x.shape[:2], *found.output), structure_of_windows(found))


@operator("MaxPool", since=1, specs=array_specs("MaxPool"), types=_MAXIMA_OF, when=_refusal)
def max_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Numbers = None,
    pads: Numbers = None,
    storage_order: int = 0,
    strides: Numbers = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """The greatest element of each window, and its index in the flattened input. Spec: https://onnx.ai/onnx/operators/onnx__MaxPool.html"""
    windows = _windows("MaxPool", x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if out is None:
        out = (xp.empty(windows.shape, x.dtype), xp.empty(windows.shape, np.int64))[:output_count]
    results = out if isinstance(out, tuple) else (out,)
    y, indices = (*results, None)[:2]
    index, side, structure = windows.kind(x)
    grid = blocks_for(y.size), THREADS
    if indices is None:
        MAXIMA.instance(T=x.dtype, windows=f"{index}, {side}").launch(*grid, dense(xp, x), y, structure, y.size)
    else:
        kernel = MAXIMA_WITH_INDICES.instance(T=x.dtype, index=index)
        kernel.launch(*grid, dense(xp, x), y, indices, structure, y.size, bool(storage_order))
    return results


def _sums(xp: Any, x: Array, windows: _Windows, norm: str, exponent: float, counts_padding: int, out: Array | None) -> Array:
    y = xp.empty(windows.shape, x.dtype) if out is None else out
    index, side, structure = windows.kind(x)
    kernel = SUMS.instance(T=x.dtype, sums=f"{norm}, {index}, {side if norm == 'Mean' else 0}")
    kernel.launch(blocks_for(y.size), THREADS, dense(xp, x), y, structure, y.size, exponent, bool(counts_padding))
    return y


@operator("AveragePool", since=1, specs=array_specs("AveragePool"), types=FLOAT_NAMES, when=_refusal)
def average_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """The mean of each window, padding left out unless asked for. Spec: https://onnx.ai/onnx/operators/onnx__AveragePool.html"""
    windows = _windows("AveragePool", x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _sums(xp, x, windows, "Mean", 0.0, count_include_pad, out)


@operator("LpPool", since=1, specs=array_specs("LpPool"), types=FLOAT_NAMES, when=_refusal)
def lp_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Numbers = None,
    p: float = 2,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """The Lp norm of each window. Spec: https://onnx.ai/onnx/operators/onnx__LpPool.html"""
    windows = _windows("LpPool", x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _sums(xp, x, windows, _NORMS.get(p, "PowerNorm"), float(p), 0, out)


def _spatial_axes(x: Array) -> tuple[int, ...]:
    return tuple(range(2, len(x.shape)))


@operator("GlobalAveragePool", since=1, specs=array_specs("GlobalAveragePool"), types=FLOAT_NAMES)
def global_average_pool(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The mean of each channel. Spec: https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html"""
    return reduced(xp, "ReduceMean", x, _spatial_axes(x), 1, out)


@operator("GlobalMaxPool", since=1, specs=array_specs("GlobalMaxPool"), types=FLOAT_NAMES)
def global_max_pool(xp: Any, x: Array, *, out: Array = None) -> Array:
    """The greatest element of each channel. Spec: https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html"""
    return reduced(xp, "ReduceMax", x, _spatial_axes(x), 1, out)


@operator("GlobalLpPool", since=1, specs=array_specs("GlobalLpPool"), types=FLOAT_NAMES)
def global_lp_pool(xp: Any, x: Array, *, p: float = 2, out: Array = None) -> Array:
    """The Lp norm of each channel. Spec: https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html"""
    if p in (1, 2):
        return reduced(xp, f"ReduceL{p:.0f}", x, _spatial_axes(x), 1, out)
    y = xp.empty((*x.shape[:2], *(1 for _ in _spatial_axes(x))), x.dtype) if out is None else out
    count = prod(x.shape[2:])
    POWER_NORMS.instance(T=x.dtype).launch(min(y.size, MOST_BLOCKS), whole_warps(count, 512), dense(xp, x), y, y.size, count, p)
    return y


@operator("MaxUnpool", since=9, specs=array_specs("MaxUnpool"), host=("output_shape",), types=FLOAT_NAMES, when=_refusal)
def max_unpool(
    xp: Any,
    x: Array,
    indices: Array,
    output_shape: Array = None,
    *,
    kernel_shape: Sequence[int],
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """Zeros with `x` at `indices` of the flattened pooled shape, at the front of `output_shape`; indices outside are left out.

    Spec: https://onnx.ai/onnx/operators/onnx__MaxUnpool.html
    """
    pooled = pooled_shape(x, kernel_shape, pads, strides)
    if out is None:
        out = xp.empty(pooled if output_shape is None else tuple(int(size) for size in output_shape), x.dtype)
    out.data.memset_async(0, out.nbytes)
    sizes = np.ones((2, 5), np.int64)
    sizes[0, -len(pooled) :], sizes[1, -len(pooled) :] = pooled, out.shape
    kernel = UNPOOL.instance(unit=UNITS[x.dtype.itemsize])
    kernel.launch(blocks_for(x.size) if prod(pooled) else 0, THREADS, dense(xp, x), dense(xp, indices), out, sizes, x.size)
    return out
