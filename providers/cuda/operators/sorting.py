"""TopK: the items wanted of each tile of a row, by a selection if they are few, else by sorting it; then the tiles' items merged."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, INTEGER_NAMES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.registry import array_specs, operator

NUMBERS = FLOAT_NAMES | INTEGER_NAMES
_TYPES = tuple(C_TYPES[name] for name in sorted(NUMBERS))
_WIDE_KEYS = frozenset({"float64", "int64", "uint64"})

SELECT = Template("top_items.cu", "select_items<{T}, {slots}>", "ppppllliiib", T=_TYPES, slots=("1", "4"))
TILES = Template("sorting.cu", "sort_tiles<{T}>", "ppppllllliiib", T=_TYPES)
MERGE = Template("sorting.cu", "merge_runs<{K}>", "ppllll", K=("unsigned int", "unsigned long long"))
STORE = Template("sorting.cu", "store_items<{T}>", "ppppllll", T=_TYPES)

_WARP = 32
_WARPS = 8
"""Warps of a block that selects."""
_BUSY_WARPS = 4096
"""As many keep a GPU busy: rows are shared among several where there are fewer rows."""
_CHUNKS_A_TILE = 16
"""Loads of a warp that are worth the merging of another tile."""
_LONGEST_TILE = 1 << 29
_MOST_SELECTED = 4 * _WARP
_TILE = 2048
_ITEMS_A_BLOCK = 512
"""Short rows are put together in a block until they have as many."""


@dataclass(frozen=True)
class _Rows:
    """Rows of which the first `kept` elements are wanted.

    Args:
        x: dense, [outer, count, inner].
        rows: outer · inner.
    """

    x: Array
    rows: int
    count: int
    inner: int
    kept: int
    is_descending: bool

    @property
    def item_bytes(self) -> int:
        return 16 if self.x.dtype.name in _WIDE_KEYS else 8


@dataclass(frozen=True)
class _Runs:
    """Items in order, [rows, tiles, length]; no items: they were the results, and are stored."""

    items: Array | None
    tiles: int
    length: int


def sorted_rows(xp: Any, x: Array, axis: int, kept: int, largest: bool, values: Array | None, indices: Array) -> None:
    """The first `kept` elements of x along `axis` in order, into `values` (None: not wanted) and `indices`, int64.

    Equal elements keep the order of their indices; NaN is greatest.
    """
    if not indices.size:
        return
    inner = prod(x.shape[axis + 1 :])
    rows = _Rows(dense(xp, x), prod(x.shape[:axis]) * inner, x.shape[axis], inner, kept, largest)
    runs = (_selected if kept <= _MOST_SELECTED else _sorted)(xp, rows, values, indices)
    if runs.items is None:
        return
    key = "unsigned long long" if rows.item_bytes == 16 else "unsigned int"
    while runs.tiles > 1:
        tiles, length = -(-runs.tiles // 2), min(2 * runs.length, kept)
        target = xp.empty(rows.rows * tiles * length * rows.item_bytes, np.uint8)
        blocks = blocks_for(rows.rows * runs.tiles * runs.length)
        MERGE.instance(K=key).launch(blocks, THREADS, runs.items, target, rows.rows, runs.tiles, runs.length, length)
        runs = _Runs(target, tiles, length)
    blocks = blocks_for(rows.rows * kept)
    STORE.instance(T=x.dtype).launch(blocks, THREADS, runs.items, rows.x, values, indices, rows.rows, rows.count, kept, inner)


def _selected(xp: Any, of: _Rows, values: Array | None, indices: Array) -> _Runs:
    chunk = _WARP * min(8, 16 // of.x.dtype.itemsize)
    chunks, warps = -(-of.count // chunk), max(1, _BUSY_WARPS // of.rows)
    team = 1 << min(_WARPS, warps, -(-chunks // 2)).bit_length() - 1
    wanted = max(1, min(warps // team, chunks // (_CHUNKS_A_TILE * team)), -(-of.count // _LONGEST_TILE))
    span = -(-chunks // wanted) * chunk
    tiles = -(-of.count // span)
    items = None if tiles == 1 else xp.empty(of.rows * tiles * of.kept * of.item_bytes, np.uint8)
    kernel = SELECT.instance(T=of.x.dtype, slots=1 if of.kept <= _WARP else 4)
    arguments = of.x, items, values, indices, of.rows, of.count, of.inner, span, of.kept, team, of.is_descending
    kernel.launch((-(-of.rows * team // _WARPS), tiles), _WARPS * _WARP, *arguments)
    return _Runs(items, tiles, of.kept)


def _sorted(xp: Any, of: _Rows, values: Array | None, indices: Array) -> _Runs:
    width = min(_TILE, 1 << (of.count - 1).bit_length())
    tiles = -(-of.count // width)
    group = max(1, min(_ITEMS_A_BLOCK // width, of.rows * tiles))
    length = min(width, of.kept)
    items = None if tiles == 1 else xp.empty(of.rows * tiles * length * of.item_bytes, np.uint8)
    blocks, threads = -(-of.rows * tiles // group), max(32, min(512, group * width // 2))
    arguments = of.x, items, values, indices, of.rows, of.count, of.inner, tiles, of.kept, width, group, length, of.is_descending
    TILES.instance(T=of.x.dtype).launch(blocks, threads, *arguments, shared=group * width * of.item_bytes)
    return _Runs(items, tiles, length)


def _top_k(xp: Any, x: Array, k: int, axis: int, largest: bool, out: Any) -> tuple[Array, Array]:
    axis = normalized_axis(axis, len(x.shape), "TopK")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    values, indices = out or (xp.empty(shape, x.dtype), xp.empty(shape, np.int64))
    sorted_rows(xp, x, axis, k, largest, values, indices)
    return values, indices


@operator("TopK", specs=array_specs("TopK", 1), types=NUMBERS)
def top_k_1(xp: Any, x: Array, *, k: int, axis: int = -1, out: Any = None) -> tuple[Array, Array]:
    """The k greatest elements along `axis` and their indices, int64. Spec: https://onnx.ai/onnx/operators/onnx__TopK.html"""
    return _top_k(xp, x, k, axis, True, out)


@operator("TopK", since=10, specs=array_specs("TopK"), host=("k",), types=NUMBERS)
def top_k(xp: Any, x: Array, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1, out: Any = None) -> tuple[Array, Array]:
    """The k greatest (or least) elements along `axis`, in order, and their indices, int64; `sorted=0` leaves the order open.

    Spec: https://onnx.ai/onnx/operators/onnx__TopK.html
    """
    return _top_k(xp, x, integer(k, "TopK", "K"), axis, bool(largest), out)
