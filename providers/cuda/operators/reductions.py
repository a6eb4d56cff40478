"""The Reduce* operators: any axes, seen as two reduced axes among three that stay."""

from __future__ import annotations

from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.reductions import Axes, reduced_axes, reduced_spec
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, Template, dense
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.rows import NEIGHBOURS, VECTOR_BYTES, team_threads

NUMBERS = FLOAT_NAMES | {"int32", "int64", "uint32", "uint64"}
ORDERED = NUMBERS | {"int8", "uint8", "bool"}
NAMES = tuple(f"Reduce{name}" for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"))
TYPES = {name: ORDERED if name in ("ReduceMax", "ReduceMin") else NUMBERS for name in NAMES}
_INSTANCES = tuple(f"{C_TYPES[kind]}, {name}" for name in NAMES for kind in sorted(TYPES[name]))

ROWS = Template("reductions.cu", "reduce_rows<{instance}>", "ppppllllll", instance=_INSTANCES)
COLUMNS = Template("reductions.cu", "reduce_columns<{instance}>", "ppppllllll", instance=_INSTANCES)
PARTS = Template("reductions.cu", "combine_parts<{instance}>", "ppplil", instance=_INSTANCES)

_TEAM_THREADS, _LOADS = 512, 4
"""Threads of a row at most, and how many vectors each loads together."""

_SHORT, _COLUMN_THREADS = 32, 256
"""A thread of its own reduces each column that is shorter than this; threads of a block of columns."""

_MOST_BLOCKS = 1 << 20
_ENOUGH_BLOCKS = 512
"""Rows are split among blocks until there are about as many."""

_LEAST_SPAN = 4096
"""Elements that a block of a split row has at least."""


def _folded(shape: tuple[int, ...], axes: Axes) -> tuple[int, int, int, int, int] | None:
    """Sizes of [outer, first, middle, second, inner], reduced over `first` and `second`; None if the axes alternate more often."""
    wide = [i for i, size in enumerate(shape) if size != 1]
    sizes = [prod(shape[i] for i in numbers) for _, numbers in groupby(wide, key=lambda i: i in axes)]
    if wide and wide[0] in axes:
        sizes.insert(0, 1)
    if len(sizes) % 2 == 0:
        sizes.append(1)
    if len(sizes) > 5:
        return None
    *front, inner = sizes
    outer, first, middle, second = front if len(front) == 4 else (*(front[:1] or (1,)), 1, 1, *(front[1:] or (1,)))
    return outer, first, middle, second, inner


def _reduce(xp: Any, name: str, data: Array, axes: Axes, out: Array, shift: Array | None = None) -> None:
    """Into `out`, with the greatest elements as `shift` for ReduceLogSumExp."""
    sizes = _folded(tuple(data.shape), axes)
    if sizes is None:
        kept = tuple(i for i in range(len(data.shape)) if i not in axes)
        data = data.transpose((*kept, *axes))
        sizes = prod(data.shape[: len(kept)]), 1, 1, prod(data.shape[len(kept) :]), 1
    outer, first, middle, second, inner = sizes
    count, results = first * second, outer * middle * inner
    instance = f"{C_TYPES[name_of(data.dtype)]}, {name}"
    if inner == 1:
        kernel, threads = ROWS, _row_threads(results, count, data.itemsize)
        blocks = -(-results // threads[1])
    else:
        lanes = 1 if count < _SHORT else 8
        kernel, threads = COLUMNS, (_COLUMN_THREADS // lanes, lanes)
        blocks = min(-(-results // threads[0]), _MOST_BLOCKS)
    span, parts = _split(count, blocks, _LEAST_SPAN if inner == 1 else _LEAST_SPAN // threads[0])
    partial = xp.empty(results * parts, np.int64) if parts > 1 else None
    sources = dense(xp, data), shift
    kernel.instance(instance=instance).launch(
        (blocks, parts), threads, *sources, out, partial, results, span, count, middle, max(second, 1), inner
    )
    if parts > 1:
        PARTS.instance(instance=instance).launch(min(results, _MOST_BLOCKS), 32, partial, shift, out, results, parts, count)


def _row_threads(rows: int, count: int, itemsize: int) -> tuple[int, int]:
    """Threads of a row, and rows of a block. Rows that are not whole vectors have some loose elements."""
    vectors, loose = divmod(count * itemsize, VECTOR_BYTES)
    return team_threads(rows, max(vectors, min(count, NEIGHBOURS) if loose else 1), _LOADS, _TEAM_THREADS)


def _split(count: int, blocks: int, least: int) -> tuple[int, int]:
    """How many elements of a result, at least `least`, a block reduces, in whole vectors, and how many blocks a result has."""
    wanted = min(count // least, _ENOUGH_BLOCKS // max(blocks, 1))
    if wanted < 2:
        return count, 1
    span = -(-count // wanted // 16) * 16
    return span, -(-count // span)


def reduced(xp: Any, name: str, data: Array, axes: Axes, keepdims: int, out: Array | None) -> Array:
    """The operator `name` over `axes`, in `out` where memory is given."""
    spec = reduced_spec(data, axes, keepdims)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    shift = None
    if name == "ReduceLogSumExp":
        shift = xp.empty(spec.shape, spec.dtype)
        _reduce(xp, "ReduceMax", data, axes, shift)
    _reduce(xp, name, data, axes, result, shift)
    return result


def _register(name: str, axes_input_since: int) -> None:
    def attribute_specs(data: Array, *, axes: Any = None, keepdims: int = 1) -> Any:
        return reduced_spec(data, reduced_axes(data, axes, 0, name), keepdims)

    def input_specs(data: Array, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        return reduced_spec(data, reduced_axes(data, axes, noop_with_empty_axes, name), keepdims)

    @operator(name, since=1, specs=attribute_specs, types=TYPES[name])
    def by_attribute(xp: Any, data: Array, *, axes: Any = None, keepdims: int = 1, out: Array = None) -> Array:
        return reduced(xp, name, data, reduced_axes(data, axes, 0, name), keepdims, out)

    @operator(name, since=axes_input_since, specs=input_specs, types=TYPES[name], host=("axes",))
    def by_input(xp: Any, data: Array, axes: Array = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0, out: Array = None) -> Array:
        return reduced(xp, name, data, reduced_axes(data, axes, noop_with_empty_axes, name), keepdims, out)


for _name in NAMES:
    _register(_name, 13 if _name == "ReduceSum" else 18)
