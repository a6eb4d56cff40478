"""TopK: tiles sorted in shared memory, then merged."""

from __future__ import annotations

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

TILES = Template("sorting.cu", "sort_tiles<{T}>", "ppppllllliiib", T=_TYPES)
MERGE = Template("sorting.cu", "merge_runs<{K}>", "ppllll", K=("unsigned int", "unsigned long long"))
STORE = Template("sorting.cu", "store_items<{T}>", "ppppllll", T=_TYPES)

_TILE = 2048
_ITEMS_A_BLOCK = 512
"""Short rows are put together in a block until they have as many."""


def sorted_rows(xp: Any, x: Array, axis: int, kept: int, largest: bool, values: Array | None, indices: Array) -> None:
    """The first `kept` elements of x along `axis` in order, into `values` (None: not wanted) and `indices`, int64.

    Equal elements keep the order of their indices; NaN is greatest.
    """
    if not indices.size:
        return
    x, count, inner = dense(xp, x), x.shape[axis], prod(x.shape[axis + 1 :])
    rows = prod(x.shape[:axis]) * inner
    item_bytes = 16 if x.dtype.name in _WIDE_KEYS else 8
    width = min(_TILE, 1 << (count - 1).bit_length())
    tiles = -(-count // width)
    group = max(1, min(_ITEMS_A_BLOCK // width, rows * tiles))
    length = min(width, kept)
    runs = None if tiles == 1 else xp.empty(rows * tiles * length * item_bytes, np.uint8)
    TILES.instance(T=x.dtype).launch(
        -(-rows * tiles // group), max(32, min(512, group * width // 2)), x, runs, values, indices, rows, count, inner, tiles, kept, width,
        group, length, largest, shared=group * width * item_bytes,
    )  # fmt: skip
    if runs is None:
        return
    key = "unsigned long long" if item_bytes == 16 else "unsigned int"
    while tiles > 1:
        merged, longer = -(-tiles // 2), min(2 * length, kept)
        target = xp.empty(rows * merged * longer * item_bytes, np.uint8)
        MERGE.instance(K=key).launch(blocks_for(rows * tiles * length), THREADS, runs, target, rows, tiles, length, longer)
        runs, tiles, length = target, merged, longer
    STORE.instance(T=x.dtype).launch(blocks_for(rows * kept), THREADS, runs, x, values, indices, rows, count, kept, inner)


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
