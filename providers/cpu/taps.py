"""Windows over a few elements: every tap of every window taken at once, by a table of positions."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.cpu.geometry import Axis

MOST_TAPS = 4096
"""Taps of all windows together up to which a table is faster than one strided view a tap."""
PADDING = -1


@lru_cache(256)
def tap_positions(rows: Axis, columns: Axis) -> Array:
    """Where each tap of each window lies in a flattened plane, or `PADDING`: (output positions, taps), read-only."""
    row, column = (_positions(axis) for axis in (rows, columns))
    inside = (row >= 0)[:, None, :, None] & (column >= 0)[None, :, None, :]
    flat = row[:, None, :, None] * columns.size + column[None, :, None, :]
    table = np.where(inside, flat, PADDING).reshape(rows.output * columns.output, rows.kernel * columns.kernel)
    table.flags.writeable = False
    return table


def _positions(axis: Axis) -> Array:
    """(output positions, taps) along one axis, or `PADDING`."""
    found = np.arange(axis.output)[:, None] * axis.stride + np.arange(axis.kernel) * axis.dilation - axis.before
    return np.where((found >= 0) & (found < axis.size), found, PADDING)


def has_few_taps(x: Array | Spec, rows: Axis, columns: Axis) -> bool:
    """True where `taps` is the fastest way to a window's elements."""
    windows = prod(x.shape[:2]) * rows.output * columns.output
    return 0 < windows * rows.kernel * columns.kernel <= MOST_TAPS and 0 < x.size <= MOST_TAPS


def taps(x: Array, table: Array) -> Array:
    """The elements of `x` (planes, pixels) at the positions of a table without padding: (planes, output positions, taps)."""
    found: Array = np.take(x, table, axis=1, mode="wrap")
    return found
