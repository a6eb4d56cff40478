"""Blocks of an image to channels and back: DepthToSpace, SpaceToDepth, Col2Im; UnfoldTensor; and Trilu, a triangle of a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import braced, integer, integers
from onnxgpu.providers.array_ops.registry import operator


def _check_image(x: Array, name: str, mode: str) -> None:
    if x.ndim != 4 or mode not in ("DCR", "CRD"):
        raise InvalidArgument(f"{name}: expected an input [N,C,H,W] and mode 'DCR' or 'CRD', got shape {braced(x.shape)} and {mode!r}")


def _phases(deep: Array, wide: Array, blocksize: int, mode: str) -> Iterator[tuple[Array, Array]]:
    """Views of the same elements in [N,Cb²,H,W] and in [N,C,Hb,Wb], one pair for each place (i, j) in a block.

    Copying them is faster than transposing blocks, whose innermost dimension has only b elements.
    """
    n, channels, h, w = deep.shape
    depth = channels // (blocksize * blocksize)
    if mode == "DCR":
        parts = deep.reshape(n, blocksize, blocksize, depth, h, w)
    else:
        parts = deep.reshape(n, depth, blocksize, blocksize, h, w).transpose(0, 2, 3, 1, 4, 5)
    for i, j in product(range(blocksize), repeat=2):
        yield parts[:, i, j], wide[:, :, i::blocksize, j::blocksize]


def depth_to_space_spec(x: Array, *, blocksize: int, mode: str = "DCR") -> Spec:
    """Channels of [N,C,H,W] to blocks of [N,C/b²,Hb,Wb]."""
    _check_image(x, "DepthToSpace", mode)
    n, c, h, w = x.shape
    if c % (blocksize * blocksize):
        raise InvalidArgument(
            f"DepthToSpace requires input depth to be a multiple of (block_size * block_size): got depth {c}, block size {blocksize}"
        )
    return Spec((n, c // (blocksize * blocksize), h * blocksize, w * blocksize), x.dtype)


@operator("DepthToSpace", specs=depth_to_space_spec)
def depth_to_space(xp: Any, x: Array, *, blocksize: int, mode: str = "DCR", out: Array = None) -> Array:
    """Channels of [N,C,H,W] to blocks of [N,C/b²,Hb,Wb]. Spec: https://onnx.ai/onnx/operators/onnx__DepthToSpace.html"""
    result = xp.empty(depth_to_space_spec(x, blocksize=blocksize, mode=mode).shape, x.dtype) if out is None else out
    for deep, wide in _phases(x, result, blocksize, mode):
        wide[...] = deep
    return result


def space_to_depth_spec(x: Array, *, blocksize: int, mode: str = "DCR") -> Spec:
    """Blocks of [N,C,H,W] to channels of [N,Cb²,H/b,W/b]."""
    _check_image(x, "SpaceToDepth", mode)
    n, c, h, w = x.shape
    for name, size in (("height", h), ("width", w)):
        if size % blocksize:
            raise InvalidArgument(
                f"SpaceToDepth requires input {name} to be a multiple of block_size: got {name} {size}, block size {blocksize}"
            )
    return Spec((n, c * blocksize * blocksize, h // blocksize, w // blocksize), x.dtype)


@operator("SpaceToDepth", specs=space_to_depth_spec)
def space_to_depth(xp: Any, x: Array, *, blocksize: int, mode: str = "DCR", out: Array = None) -> Array:
    """Blocks of [N,C,H,W] to channels of [N,Cb²,H/b,W/b]. Spec: https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html"""
    result = xp.empty(space_to_depth_spec(x, blocksize=blocksize, mode=mode).shape, x.dtype) if out is None else out
    for deep, wide in _phases(result, x, blocksize, mode):
        deep[...] = wide
    return result


def col2im_spec(x: Array, image_shape: Array, block_shape: Array, **_: Any) -> Spec:
    """The image.

    Raises:
        InvalidArgument: shapes do not fit.
    """
    image, block = integers(image_shape), integers(block_shape)
    if x.ndim != 3 or len(image) != len(block) or x.shape[1] % prod(block):
        raise InvalidArgument(
            f"Col2Im: expected columns [N, C·{prod(block)}, L] and as many image as block dimensions, "
            f"got shape {braced(x.shape)}, image {braced(image)}, block {braced(block)}"
        )
    return Spec((x.shape[0], x.shape[1] // prod(block), *image), x.dtype)


def block_counts(
    x: Array, image: Sequence[int], block: Sequence[int], dilations: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> list[int]:
    """How many blocks there are along each axis of the image.

    Raises:
        InvalidArgument: the columns `x` are not as many.
    """
    rank = len(block)
    padded = [size + pads[i] + pads[i + rank] for i, size in enumerate(image)]
    counts = [(padded[i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    if prod(counts) != x.shape[2]:
        raise InvalidArgument(f"Col2Im: expected {prod(counts)} blocks of {braced(block)} in an image {braced(image)}, got {x.shape[2]}")
    return counts


@operator("Col2Im", since=18, specs=col2im_spec, host=("image_shape", "block_shape"))
def col2im(
    xp: Any,
    x: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """The image [N,C,…] whose overlapping blocks are the columns [N,C·block,L]; where blocks overlap they are added.

    Spec: https://onnx.ai/onnx/operators/onnx__Col2Im.html
    """
    spec = col2im_spec(x, image_shape, block_shape)
    image, block = spec.shape[2:], integers(block_shape)
    rank = len(block)
    dilations, strides, pads = dilations or [1] * rank, strides or [1] * rank, pads or [0] * (2 * rank)
    padded = [size + pads[i] + pads[i + rank] for i, size in enumerate(image)]
    counts = block_counts(x, image, block, dilations, strides, pads)
    columns = x.reshape(*spec.shape[:2], prod(block), *counts)
    framed = xp.zeros((*spec.shape[:2], *padded), x.dtype)
    for i, offsets in enumerate(product(*map(range, block))):
        region = tuple(slice(o * d, o * d + s * (n - 1) + 1, s) for o, d, s, n in zip(offsets, dilations, strides, counts, strict=True))
        framed[(..., *region)] += columns[:, :, i]
    cropped = framed[(..., *(slice(pads[i], pads[i] + size) for i, size in enumerate(image)))]
    if out is None:
        return xp.ascontiguousarray(cropped)
    out[...] = cropped
    return out


def unfold_specs(x: Array, *, size: int, dim: int = -1, step: int = 1) -> Spec:
    """The number of slices in place of `dim`, and a last dimension of `size`."""
    axis = normalized_axis(dim, x.ndim, "UnfoldTensor")
    if not 0 < size <= x.shape[axis] or step < 1:
        raise InvalidArgument(
            f"UnfoldTensor: expected a size in [1, {x.shape[axis]}] and a step of at least 1 for an input of shape {braced(x.shape)} "
            f"along dimension {axis}, got {size} and {step}"
        )
    return Spec((*x.shape[:axis], (x.shape[axis] - size) // step + 1, *x.shape[axis + 1 :], size), x.dtype)


@operator("UnfoldTensor", domain="com.microsoft", specs=unfold_specs)
def unfold_tensor(xp: Any, x: Array, *, size: int, dim: int = -1, step: int = 1, out: Array = None) -> Array:
    """Slices of `size` elements along `dim`, `step` apart, each in a new last dimension. Spec: onnxruntime's ContribOperators.md"""
    axis = normalized_axis(dim, x.ndim, "UnfoldTensor")
    slices = xp.lib.stride_tricks.sliding_window_view(x, size, axis=axis)[(slice(None),) * axis + (slice(None, None, step),)]
    if out is None:
        return xp.ascontiguousarray(slices)
    out[...] = slices
    return out


def _like(x: Array, *_: Any, **__: Any) -> Spec:
    return Spec(tuple(x.shape), x.dtype)


@operator("Trilu", domain="com.microsoft", specs=_like, host=("k",))
@operator("Trilu", since=14, specs=_like, host=("k",))
def trilu(xp: Any, x: Array, k: Array | None = None, *, upper: int = 1, out: Array = None) -> Array:
    """The elements on and above (or below) diagonal `k` of each matrix [..., N, M], zero elsewhere.

    Spec: https://onnx.ai/onnx/operators/onnx__Trilu.html
    """
    if x.ndim < 2:
        raise InvalidArgument(f"Trilu: expected an input of rank 2 or more, got shape {braced(x.shape)}")
    diagonal = 0 if k is None else integer(k, "Trilu", "k")
    rows, columns = (xp.arange(size, dtype=np.int64) for size in x.shape[-2:])
    starts = (rows + diagonal)[:, None]
    result = xp.empty(x.shape, x.dtype) if out is None else out
    result.fill("" if x.dtype.kind == "O" else 0)
    xp.copyto(result, x, where=starts <= columns if upper else starts >= columns)
    return result
