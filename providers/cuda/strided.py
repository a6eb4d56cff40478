"""Copies between arrays of one shape and any strides, by the kernel that suits the two layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cuda.device import cupy
from onnxgpu.providers.cuda.divisions import divisions
from onnxgpu.providers.cuda.generated import collapsed
from onnxgpu.providers.cuda.kernels import MOST_BLOCKS, THREADS, Template, blocks_for, by_value
from onnxgpu.providers.cuda.launches import make
from onnxgpu.providers.cuda.narrow import bits_of, typed

UNITS = ("1", "2", "4", "8", "16")
"""Bytes that move at once: an element, or neighbours that stay together."""

STRIDED = Template("copy.cu", "copy_strided<{bytes}>", "ppsl", bytes=UNITS)
TILES = Template("copy.cu", "copy_tiles<{bytes}>", "ppslllll", bytes=UNITS)
PACKED_TILES = Template("copy.cu", "copy_packed_tiles<{bytes}>", "ppslllll", bytes=UNITS[:2])

MOST_AXES = 16
_DEVICE_TO_DEVICE = 3
_WORD = 4
_SHORT = 16
"""Axes shorter than this are not worth a tile: most of it would stay empty."""


@dataclass(frozen=True)
class _Move:
    """One launch without its pointers; no template: one block of `count` bytes."""

    template: Template | None
    bytes: int
    blocks: int
    threads: tuple[int, ...]
    arguments: tuple[Any, ...]


def copied(xp: Any, array: Array) -> Array:
    """A copy of `array` with its elements in C order."""
    source = bits_of(array)
    result = xp.empty(source.shape, source.dtype)
    copy(result, source)
    return typed(result, array.dtype)


def copy(target: Array, source: Array) -> None:
    """Copy the elements of `source` into `target`, an array of the same shape and dtype elsewhere."""
    target, source = bits_of(target), bits_of(source)
    copy_axes(target, source, target.shape, target.strides, source.strides)


def copy_axes(
    target: Array, source: Array, shape: Sequence[int], target_strides: Sequence[int], source_strides: Sequence[int], offset: int = 0
) -> None:
    """Copy elements between two arrays seen with other axes than their own.

    Args:
        target: what is written.
        source: what is read; its elements are as wide as the target's.
        shape: sizes of the axes, at most `MOST_AXES` that cannot be joined.
        target_strides: bytes from one element of the target to the next along each axis.
        source_strides: those of the source, 0 where it repeats.
        offset: bytes from the target's first element to the first that is written.
    """
    target, source = bits_of(target), bits_of(source)
    to, start = target.data.ptr + offset, source.data.ptr
    alignment = (to | start) & -(to | start) & 31
    move = _move(tuple(shape), tuple(target_strides), tuple(source_strides), target.itemsize, min(16, alignment or 16))
    if move is None:
        return
    if move.template is None:
        module = cupy().cuda
        make(module.runtime.memcpyAsync, to, start, move.bytes, _DEVICE_TO_DEVICE, module.get_current_stream().ptr)
        return
    move.template.instance(bytes=move.bytes).launch(move.blocks, move.threads, start, to, *move.arguments)


def dense_strides(shape: Sequence[int], itemsize: int) -> list[int]:
    """Bytes from one element to the next along each axis of a dense array."""
    return [prod(shape[i + 1 :]) * itemsize for i in range(len(shape))]


def unit_bytes(itemsize: int, *multiples: int) -> int:
    """Bytes of the largest unit that is made of whole elements and divides all of these numbers of bytes."""
    unit = 16
    while unit > itemsize and any(number % unit for number in multiples):
        unit //= 2
    return unit


def sixteen_bytes(value: Any, dtype: np.dtype) -> np.void:
    """The structure `SixteenBytes`: `value` as an element of `dtype`, as often as it fits."""
    element = np.full((), value, dtype)
    return by_value(np.frombuffer(element.tobytes() * (16 // element.nbytes), np.uint8))


@lru_cache(maxsize=4096)
def _move(shape: tuple[int, ...], to: tuple[int, ...], start: tuple[int, ...], itemsize: int, alignment: int) -> _Move | None:
    if 0 in shape:
        return None
    order = sorted((i for i, size in enumerate(shape) if size != 1), key=lambda i: -abs(to[i]))
    sizes, (to_steps, from_steps) = collapsed([shape[i] for i in order], [[steps[i] for i in order] for steps in (to, start)])
    unit = itemsize
    if sizes == [1] or to_steps[-1] == from_steps[-1] == itemsize:
        length = sizes[-1] * itemsize
        if len(sizes) == 1:
            return _Move(None, length, 1, (), ())
        unit = unit_bytes(itemsize, length, alignment, *to_steps[:-1], *from_steps[:-1])
        sizes[-1], to_steps[-1], from_steps[-1] = length // unit, unit, unit
        if sizes[-1] == 1:
            del sizes[-1], to_steps[-1], from_steps[-1]
    to_units, from_units = ([step // unit for step in steps] for steps in (to_steps, from_steps))
    rows, column = len(sizes) - 1, next((i for i, step in enumerate(from_units) if step == 1), -1)
    if column not in (-1, rows) and to_units[rows] == 1 and min(sizes[rows], sizes[column]) >= _SHORT:
        return _tiles(unit, sizes, to_units, from_units, column, alignment)
    count = prod(sizes)
    return _Move(STRIDED, unit, blocks_for(count), (THREADS,), (axes_of(sizes, from_units, to_units), count))


def _tiles(unit: int, sizes: list[int], to: list[int], start: list[int], column: int, alignment: int) -> _Move:
    outer = [i for i in range(len(sizes) - 1) if i != column]
    batches, rows, columns = prod(sizes[i] for i in outer), sizes[-1], sizes[column]
    steps = [start[-1], to[column], *(steps[i] for steps in (start, to) for i in outer)]
    pack = max(1, _WORD // unit)
    is_packed = unit < _WORD <= alignment and not any(number % pack for number in (rows, columns, *steps))
    if not is_packed:
        pack = 1
    width = 32 * pack if is_packed else 64 if unit <= _WORD else 32
    layout = axes_of([sizes[i] for i in outer], *([steps[i] // pack for i in outer] for steps in (start, to)))
    tiles = batches * -(-rows // width) * -(-columns // width)
    arguments = (layout, rows, columns, tiles, start[-1] // pack, to[column] // pack)
    threads = (THREADS,) if is_packed else (width, THREADS // width)
    return _Move(PACKED_TILES if is_packed else TILES, unit, min(MOST_BLOCKS, tiles), threads, arguments)


def axes_of(sizes: Sequence[int], start: Sequence[int] = (), to: Sequence[int] = ()) -> np.void:
    """The structure `Axes` of `axes.cuh`: sizes and strides in units, the innermost axis last."""
    return _axes(tuple(sizes), tuple(start), tuple(to))


@lru_cache(maxsize=4096)
def _axes(sizes: tuple[int, ...], start: tuple[int, ...], to: tuple[int, ...]) -> np.void:
    by_size = np.zeros((MOST_AXES, 3), np.uint32)
    by_size[: len(sizes)] = divisions(*sizes)
    return by_value(np.frombuffer(structure_of(sizes, start, to).tobytes() + by_size.tobytes(), np.uint8))


def structure_of(*columns: Sequence[int]) -> np.void:
    """A structure of a number of axes and arrays of `MOST_AXES` integers, as `Frame` of `pad.cu` is."""
    return _structure(*map(tuple, columns))


@lru_cache(maxsize=4096)
def _structure(*columns: tuple[int, ...]) -> np.void:
    rows = np.zeros((len(columns), MOST_AXES), np.int64)
    for row, values in zip(rows, columns, strict=True):
        row[: len(values)] = values
    return by_value(np.concatenate(([len(columns[0])], rows.reshape(-1))))
