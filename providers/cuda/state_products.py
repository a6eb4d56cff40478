"""How kernels of recurrent layers multiply states with a recurrence's weights: what a warp does, and how many there are.

See kernels/state_products.cuh and kernels/state_fragments.cuh.
"""

from __future__ import annotations

import numpy as np

from onnxgpu.provider import Array

ROWS = ("0", "1", "8")
"""States that a warp multiplies; 0: products are made before the kernels."""

MOST_ELEMENTS = {2: 1 << 14, 4: 1 << 15, 8: 1 << 15}
"""Bytes of an element → elements of one direction's states that kernels multiply.

On an H100, 64 steps of an LSTM with products of their own took up to there 1.0 to 2.1 times as long with four bytes, 0.92 to 1.35
times with two, in a CUDA graph; without one, the host takes some 15 µs for the two launches of a step.
"""

_WARP = 32
_WANTED_BLOCKS = 128
"""Multiprocessors of a large device."""
_MOST_WARPS = {2: 16, 4: 16, 8: 8}
"""Bytes of an element → warps of a block, as in kernels/recurrent.cu."""
_FRAGMENT_STATES, _FRAGMENT_FEATURES, _FRAGMENT_DEPTH = 8, 4, 32


def rows_of(batch: int, size: int, dtype: np.dtype) -> int:
    """Which of `ROWS` a layer takes."""
    if batch * size > MOST_ELEMENTS[dtype.itemsize]:
        return 0
    return 1 if batch == 1 else 8


def parts_of(rows: int, gates: int, y: Array) -> int:
    """Warps that share the depth of a product by fragments, as many as keep a large device busy; 0: it is not made by fragments.

    Args:
        rows: see `ROWS`.
        gates: of the product.
        y: all hidden states, (steps, directions, batch, hidden).
    """
    if rows != _FRAGMENT_STATES or y.itemsize != 2 or gates < 3:
        return 0
    teams, parts, most = _teams(rows, _FRAGMENT_FEATURES, y), 1, _MOST_WARPS[2]
    while parts < most and teams * parts < _WANTED_BLOCKS * most and parts * _FRAGMENT_DEPTH < y.shape[3]:
        parts *= 2
    return parts


def launch_shape(rows: int, gates: int, y: Array) -> tuple[int, int]:
    """Blocks and threads of a kernel that multiplies: blocks of few warps where there are few, so that many multiprocessors have some.

    Args:
        rows: see `ROWS`; not 0.
        gates: of the product.
        y: see `parts_of`.
    """
    parts = parts_of(rows, gates, y)
    teams, each = _teams(rows, _FRAGMENT_FEATURES if parts else 1, y), max(1, parts)
    together = max(1, min(_MOST_WARPS[y.itemsize] // each, teams // _WANTED_BLOCKS))
    return -(-teams // together), together * each * _WARP


def _teams(rows: int, features: int, y: Array) -> int:
    """Products of `rows` states with the gates of `features` features, one for a warp or for those that share its depth."""
    _, directions, batch, size = y.shape
    return int(directions * -(-batch // rows) * -(-size // features))
