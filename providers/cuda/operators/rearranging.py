"""Operators that give the same elements in another order, or several times: each is one strided copy, or a view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.blocks import depth_to_space_spec, space_to_depth_spec, unfold_specs
from onnxgpu.providers.array_ops.concatenation import tile_1_spec, tile_spec
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.reshaping import flatten as flattened
from onnxgpu.providers.array_ops.reshaping import reshaped
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow, typed
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import MOST_AXES, copied, copy_axes, dense_strides


def _permutation(rank: int, perm: Sequence[int] | None) -> list[int]:
    if not perm:
        return list(range(rank))[::-1]
    if len(perm) != rank:
        raise InvalidArgument(f"perm size: {len(perm)} does not match input rank: {rank}")
    found = [axis + rank if axis < 0 else axis for axis in perm]
    if sorted(found) != list(range(rank)):
        raise InvalidArgument(f"Transpose: expected each of the axes 0 to {rank - 1} once in perm, got {list(perm)}")
    return found


def _transpose_spec(data: Array, *, perm: Sequence[int] | None = None) -> Spec:
    return Spec(tuple(data.shape[i] for i in _permutation(data.ndim, perm)), data.dtype)


def _stays_a_view(operation: Operation) -> str | None:
    """Why a transpose needs no kernel: its readers do as well without one."""
    value = operation.inputs[0]
    if value is None or value.shape is None or len(value.shape) > MOST_AXES:
        return f"needs to know that its input has at most {MOST_AXES} dimensions"
    rank = len(value.shape)
    try:
        order = _permutation(rank, operation.attributes.get("perm"))
    except InvalidArgument as problem:
        return problem.message
    if order == [*range(rank - 2), rank - 1, rank - 2]:
        return "swaps the last two axes, which matrix products read where they lie"
    moved = [i for i in order if value.shape[i] != 1]
    return "moves no element" if moved == sorted(moved) else None


@operator("Transpose", specs=_transpose_spec, when=_stays_a_view)
@takes_narrow
def transpose(xp: Any, data: Array, *, perm: Sequence[int] | None = None, out: Array = None) -> Array:
    """Dimension i of the output is dimension `perm[i]` of the input. Spec: https://onnx.ai/onnx/operators/onnx__Transpose.html"""
    spec = _transpose_spec(data, perm=perm)
    result, source = result_for(xp, spec, out), bits_of(data)
    strides = [source.strides[i] for i in _permutation(data.ndim, perm)]
    copy_axes(result, source, spec.shape, bits_of(result).strides, strides)
    return result


def _in_rows(xp: Any, x: Array) -> Array:
    """x itself, or a copy if its neighbours in memory are not neighbours in its last axis: CuPy's own copy would read it in leaps."""
    axes = [abs(step) for step, size in zip(x.strides, x.shape, strict=True) if size != 1 and step]
    return copied(xp, x) if axes and axes[-1] != min(axes) else x


@operator("Reshape", since=5, view=True, host=("shape",))
@takes_narrow
def reshape(xp: Any, data: Array, shape: Array, *, allowzero: int = 0, out: Array = None) -> Array:
    """The same elements in the shape `shape`, int64. Spec: https://onnx.ai/onnx/operators/onnx__Reshape.html"""
    if out is None:
        return typed(reshaped(_in_rows(xp, bits_of(data)), integers(shape), bool(allowzero)), data.dtype)
    return _copied_into(out, data)


@operator("Flatten", view=True)
@takes_narrow
def flatten(xp: Any, x: Array, *, axis: int = 1, out: Array = None) -> Array:
    """A matrix: dimensions before `axis` by those from it on. Spec: https://onnx.ai/onnx/operators/onnx__Flatten.html"""
    return typed(flattened(xp, _in_rows(xp, bits_of(x)), axis=axis), x.dtype) if out is None else _copied_into(out, x)


def _copied_into(out: Array, data: Array) -> Array:
    """`out`, dense, with the elements of `data` in C order."""
    source = bits_of(data)
    copy_axes(out, source, source.shape, dense_strides(source.shape, source.itemsize), source.strides)
    return out


def _few_axes(operation: Operation) -> str | None:
    """Each axis of a tiled array may become two."""
    value = operation.inputs[0]
    is_small = value is not None and value.shape is not None and 2 * len(value.shape) <= MOST_AXES
    return None if is_small else f"needs to know that its input has at most {MOST_AXES // 2} dimensions"


def _tiled(xp: Any, x: Array, spec: Spec, out: Array) -> Array:
    result, source = result_for(xp, spec, out), bits_of(x)
    shape, to, start = [], [], []
    for size, total, step, target_step in zip(x.shape, spec.shape, source.strides, bits_of(result).strides, strict=True):
        shape += [total // size if size else 0, size]
        to += [size * target_step, target_step]
        start += [0, step]
    copy_axes(result, source, shape, to, start)
    return result


@operator("Tile", since=6, specs=tile_spec, host=("repeats",), when=_few_axes)
@takes_narrow
def tile(xp: Any, x: Array, repeats: Array, *, out: Array = None) -> Array:
    """The input repeated `repeats[i]` times along dimension i. Spec: https://onnx.ai/onnx/operators/onnx__Tile.html"""
    return _tiled(xp, x, tile_spec(x, repeats), out)


@operator("Tile", specs=tile_1_spec, host=("tiles", "axis"), when=_few_axes)
@takes_narrow
def tile_1(xp: Any, x: Array, tiles: Array, axis: Array, *, out: Array = None) -> Array:
    """The input repeated `tiles` times along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Tile.html"""
    return _tiled(xp, x, tile_1_spec(x, tiles, axis), out)


def _copied_blocks(deep: Array, wide: Array, blocksize: int, mode: str, *, to_wide: bool) -> None:
    """Copy between [N,Cb²,H,W] and [N,C,Hb,Wb], seen as [N,C,b,b,H,W]."""
    n, channels, h, w = deep.shape
    depth = channels // (blocksize * blocksize)
    shape = [n, depth, blocksize, blocksize, h, w]
    image, channel, row, column = deep.strides
    steps = (1, blocksize * depth, depth) if mode == "DCR" else (blocksize * blocksize, blocksize, 1)
    deep_strides = [image, *(channel * step for step in steps), row, column]
    image, channel, row, column = wide.strides
    wide_strides = [image, channel, row, column, row * blocksize, column * blocksize]
    if to_wide:
        copy_axes(wide, deep, shape, wide_strides, deep_strides)
    else:
        copy_axes(deep, wide, shape, deep_strides, wide_strides)


@operator("DepthToSpace", specs=depth_to_space_spec)
@takes_narrow
def depth_to_space(xp: Any, x: Array, *, blocksize: int, mode: str = "DCR", out: Array = None) -> Array:
    """Channels of [N,C,H,W] to blocks of [N,C/b²,Hb,Wb]. Spec: https://onnx.ai/onnx/operators/onnx__DepthToSpace.html"""
    result = result_for(xp, depth_to_space_spec(x, blocksize=blocksize, mode=mode), out)
    _copied_blocks(bits_of(x), bits_of(result), blocksize, mode, to_wide=True)
    return result


@operator("SpaceToDepth", specs=space_to_depth_spec)
@takes_narrow
def space_to_depth(xp: Any, x: Array, *, blocksize: int, mode: str = "DCR", out: Array = None) -> Array:
    """Blocks of [N,C,H,W] to channels of [N,Cb²,H/b,W/b]. Spec: https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html"""
    result = result_for(xp, space_to_depth_spec(x, blocksize=blocksize, mode=mode), out)
    _copied_blocks(bits_of(result), bits_of(x), blocksize, mode, to_wide=False)
    return result


@operator("UnfoldTensor", domain="com.microsoft", specs=unfold_specs)
def unfold_tensor(xp: Any, x: Array, *, size: int, dim: int = -1, step: int = 1, out: Array = None) -> Array:
    """Slices of `size` elements along `dim`, `step` apart, each in a new last dimension. Spec: onnxruntime's ContribOperators.md"""
    spec = unfold_specs(x, size=size, dim=dim, step=step)
    axis = normalized_axis(dim, x.ndim, "UnfoldTensor")
    strides = [*x.strides[:axis], x.strides[axis] * step, *x.strides[axis + 1 :], x.strides[axis]]
    result = result_for(xp, spec, out)
    copy_axes(result, x, spec.shape, dense_strides(spec.shape, x.itemsize), strides)
    return result
