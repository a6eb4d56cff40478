"""Matrix products by our own kernel: any strides, so that transposed, broadcast and sliced operands are read where they lie."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array
from onnxgpu.providers.cuda.addresses import broadcast_to
from onnxgpu.providers.cuda.generated import MOST_AXES, collapsed, layout_of
from onnxgpu.providers.cuda.kernels import Template, by_value

ELEMENTS = {
    "float": "float",
    "double": "double",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "int32": "unsigned int",
    "uint32": "unsigned int",
    "int64": "unsigned long long",
    "uint64": "unsigned long long",
}
"""Element type → the kernel's; integers wrap around, whatever their sign."""

TYPES = frozenset(ELEMENTS)
_ELEMENTS = tuple(dict.fromkeys(ELEMENTS.values()))
TILES = {"LargeTile": (128, 128, 256), "MediumTile": (64, 64, 256), "FlatTile": (8, 128, 128)}
"""Tiles of product.cuh: rows, columns and threads."""

_WIDE = ("double", "unsigned long long")
"""Types of which the largest tile's sums are more than a thread has registers for."""

_INSTANCES = tuple(f"{T}, {tile}" for T in _ELEMENTS for tile in TILES if tile != "LargeTile" or T not in _WIDE)

MULTIPLY = Template("product.cu", "multiply<{instance}, {by_depth}>", "pppppssllliiddb", instance=_INSTANCES, by_depth=("false", "true"))
COMBINE = Template("product.cu", "combine_products<{T}>", "pppssllliddb", T=_ELEMENTS)

_ENOUGH_BLOCKS = 256
"""The depth is split among blocks until there are about as many."""

_LEAST_SPAN = 256
MOST_BATCHES = 65535
_COMBINE_THREADS = 256
_COMBINE_BLOCKS = 2048


def product(
    xp: Any, a: Array, b: Array, out: Array, *, alpha: float = 1.0, c: Array | None = None, beta: float = 1.0, is_relu: bool = False
) -> None:
    """Write alpha a b + beta c into `out`.

    Args:
        xp: CuPy.
        a: (…, M, K); batch axes broadcast.
        b: (…, K, N).
        out: (…, M, N), of all batch axes.
        alpha: factor of the product.
        c: what broadcasts to the shape of `out`, or None.
        beta: factor of `c`.
        is_relu: cut negative results to 0.
    """
    if out.size == 0:
        return
    if b.ndim == 2 and out.ndim > 2 and a.flags.c_contiguous and out.flags.c_contiguous and (c is None or c.ndim < 2):
        a, out = a.reshape(-1, a.shape[-1]), out.reshape(-1, out.shape[-1])
    c = None if c is None else broadcast_to(xp, c, out.shape)
    if out.ndim - 2 > MOST_AXES:
        a, b = (broadcast_to(xp, x, (*out.shape[:-2], *x.shape[-2:])) for x in (a, b))
        for i in range(out.shape[0]):
            product(xp, a[i], b[i], out[i], alpha=alpha, c=None if c is None else c[i], beta=beta, is_relu=is_relu)
        return
    if out.shape[-1] < out.shape[-2] and out.shape[-1] <= 8:
        a, b = b.swapaxes(-1, -2), a.swapaxes(-1, -2)
        out, c = out.swapaxes(-1, -2), None if c is None else c.swapaxes(-1, -2)
    (rows, columns), depth, batches = out.shape[-2:], a.shape[-1], prod(out.shape[:-2])
    element = ELEMENTS[name_of(out.dtype)]
    tile, tiles = tile_for(rows, columns, batches, is_wide=element in _WIDE)
    span, parts = _split(depth, tiles * batches)
    partial = xp.empty(out.size * parts * (8 if element in _WIDE else 4), np.uint8) if parts > 1 else None
    places = batches_of(a, b, c, out), strides_of(a, b, c, out), batches
    epilogue = alpha, beta, is_relu
    grid = tiles, parts, min(batches, MOST_BATCHES)
    kernel = MULTIPLY.instance(instance=f"{element}, {tile}", by_depth="true" if abs(b.strides[-2]) < abs(b.strides[-1]) else "false")
    kernel.launch(grid, TILES[tile][2], a, b, c, out, partial, *places, rows, columns, depth, span, *epilogue)
    if parts > 1:
        blocks = min(_COMBINE_BLOCKS, -(-out.size // _COMBINE_THREADS))
        COMBINE.instance(T=element).launch(blocks, _COMBINE_THREADS, c, out, partial, *places, rows, columns, parts, *epilogue)


def tile_for(rows: int, columns: int, batches: int, *, is_wide: bool = False) -> tuple[str, int]:
    """The tile to compute with, and how many a matrix has; sums of 8 bytes are too many for the largest."""
    counts = {name: -(-rows // down) * -(-columns // across) for name, (down, across, _) in TILES.items()}
    if rows <= TILES["FlatTile"][0]:
        tile = "FlatTile"
    elif not is_wide and counts["LargeTile"] * batches >= _ENOUGH_BLOCKS // 2:
        tile = "LargeTile"
    else:
        tile = "MediumTile"
    return tile, counts[tile]


def _split(depth: int, blocks: int) -> tuple[int, int]:
    """How deep each block goes, and how many share a tile."""
    wanted = min(depth // _LEAST_SPAN, _ENOUGH_BLOCKS // blocks)
    if wanted < 2:
        return depth, 1
    span = -(-depth // wanted // 16) * 16
    return span, -(-depth // span)


def _steps(x: Array) -> list[int]:
    """Strides in elements, 0 for axes of one."""
    return [0 if size == 1 else stride // x.itemsize for size, stride in zip(x.shape, x.strides, strict=True)]


def strides_of(a: Array, b: Array, c: Array | None, out: Array) -> np.void:
    """`Strides` of product.cu."""
    of_a, of_b, of_out = (_steps(x)[-2:] for x in (a, b, out))
    of_c = [0, 0] if c is None else _steps(c)[-2:]
    return by_value(np.array([*of_a, *of_b, *of_c, *of_out], np.int64))


def batches_of(a: Array, b: Array, c: Array | None, out: Array) -> np.void:
    """Sizes of the batch axes, and the strides of all four along them."""
    shape = out.shape[:-2]
    strides = [[0] * len(shape) if x is None else [0] * (out.ndim - x.ndim) + _steps(x)[:-2] for x in (a, b, c, out)]
    sizes, joined = collapsed(shape, strides)
    assert len(sizes) <= MOST_AXES
    return layout_of(sizes, joined)


def structure(*fields: Array | int | float | None) -> np.void:
    """Fields of 8 bytes that are passed by value: pointers (None is null), long long and double."""
    parts = (
        np.float64(x) if isinstance(x, float) else np.int64(x if isinstance(x, int) else 0 if x is None else x.data.ptr) for x in fields
    )
    return by_value(np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8))
