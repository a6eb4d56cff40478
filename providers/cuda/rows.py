"""How rows are shared among threads: the launches that kernels/rows.cuh asks for."""

from __future__ import annotations

from dataclasses import dataclass

from onnxgpu.provider import Array
from onnxgpu.providers.cuda.kernels import whole_warps

_HELD_VECTORS, _HELD_ONES = 4, 8
"""As in rows.cuh."""

VECTOR_BYTES, _WARP = 16, 32
_BLOCK = 128
"""Threads of a block of several rows."""

BUSY = 1 << 17
"""Threads that keep a large GPU busy: a thread holds more than it must as long as there are so many."""

NEIGHBOURS = 8
"""Threads of a team at least, so that what they read at once is neighbouring."""


@dataclass(frozen=True)
class Teams:
    """One launch: `wide` is rows.cuh's `is_wide`, written as C++ has it, and `fit` says that each team can hold its row."""

    wide: str
    blocks: int
    threads: tuple[int, int]
    fit: bool


def teams(rows: int, count: int, *arrays: Array | None) -> Teams:
    """For `rows` rows of `count` elements in all of `arrays`, which begin with a row and are of the first one's type."""
    given = [array for array in arrays if array is not None]
    itemsize = given[0].itemsize
    wide = count * itemsize % VECTOR_BYTES == 0 and all(array.data.ptr % VECTOR_BYTES == 0 for array in given)
    width = VECTOR_BYTES if wide else itemsize
    pieces, most = max(count * itemsize // width, 1), (_HELD_VECTORS if wide else _HELD_ONES) // (2 if itemsize == 8 else 1)
    x, y = team_threads(rows, pieces, most, 512 if itemsize == 2 else 1024)
    return Teams("true" if wide else "false", -(-rows // y), (x, y), pieces <= most * x)


def team_threads(rows: int, pieces: int, most: int, limit: int) -> tuple[int, int]:
    """Threads of a team, at most `limit`, and teams of a block, where a thread has up to `most` pieces of a row at a time."""
    each = min(most, max(1, rows * pieces // BUSY))
    threads = max(-(-pieces // each), min(pieces, NEIGHBOURS))
    if threads > _WARP:
        return whole_warps(threads, limit), 1
    x: int = 1 << (threads - 1).bit_length()
    return x, _BLOCK // x
