"""Offsets in one block of memory for buffers whose lifetimes are known.

Buffers are placed largest first, each in the lowest gap between the buffers alive at the same time (the "greedy by
size" strategy of Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

ALIGNMENT = 256
"""Bytes: what TensorRT wants of every address, and CUDA's own allocations have."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """`nbytes` of memory needed from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int


def assign_offsets(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """An offset for each buffer, and the size of the block that holds them all."""
    offsets = [0] * len(buffers)
    placed: list[tuple[int, int, Buffer]] = []
    total = 0
    for index in sorted(range(len(buffers)), key=lambda i: -buffers[i].nbytes):
        buffer = buffers[index]
        size = aligned(buffer.nbytes)
        position = 0
        for start, end, other in placed:
            if other.first <= buffer.last and buffer.first <= other.last:
                if position + size <= start:
                    break
                position = max(position, end)
        offsets[index] = position
        total = max(total, position + size)
        insort(placed, (position, position + size, buffer), key=itemgetter(0))
    return offsets, total


def aligned(nbytes: int) -> int:
    """`nbytes` rounded up to the alignment of the arena."""
    return -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
