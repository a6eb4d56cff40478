"""Matrix products of whole numbers in float32, exact: that is where the fast kernels are, on any device.

float32 holds every whole number up to 2**24. If Σ|w|·r ≤ 2**24 over the summed axis, where r bounds the other factor, then every
product and every partial sum, in whatever order and with or without fused multiply-add, is such a number, and none is rounded.
Where the whole axis breaks that bound it is cut into blocks that keep it, whose results are added in int32.
(255·255·257 < 2**24: a block is never shorter than 257 for 8-bit numbers, and with real weights one block is nearly always enough.)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from onnxgpu.array_module import is_numpy
from onnxgpu.provider import Array

FLOAT = np.dtype(np.float32)
INT32 = np.dtype(np.int32)
EXACT_UP_TO = 1 << 24
GREATEST = 255
"""The greatest difference of two 8-bit numbers of one type."""

Multiply = Callable[[Array, Array], Array]


def reach(xp: Any, dtype: np.dtype, zero_point: Array | None) -> int:
    """The greatest |x - zero_point| for x of an 8-bit `dtype`; zero points in host memory are read, others may be any."""
    low, high = (0, 255) if dtype.kind == "u" else (-128, 127)
    if zero_point is None:
        return max(high, -low)
    if not is_numpy(xp) or not zero_point.size:
        return GREATEST
    return max(high - int(zero_point.min()), int(zero_point.max()) - low)


def exact_blocks(xp: Any, weights: Array, bound: int, greatest: int = GREATEST) -> list[slice]:
    """Ranges of the last axis but one of whole-number `weights` (…, K, N) that sum exactly with factors up to `bound`.

    No weight is above `greatest`. The list is empty if a single one times `bound` may be too large.
    """
    depth = weights.shape[-2]
    if depth * bound * greatest <= EXACT_UP_TO or not weights.size:
        return [slice(0, depth)]
    sizes = xp.abs(weights)
    for count in range(1, depth + 1):
        ends = [depth * i // count for i in range(count + 1)]
        blocks = [slice(start, stop) for start, stop in pairwise(ends)]
        if all(float(xp.max(xp.sum(sizes[..., block, :], axis=-2))) * bound <= EXACT_UP_TO for block in blocks):
            return blocks
    return []


def exact_product(left: Array, right: Array, blocks: list[slice], multiply: Multiply) -> Array:
    """left @ right for float32 arrays of whole numbers: float32 if there is one block, else int32 (which wraps, as int32 sums do)."""
    if len(blocks) == 1:
        return multiply(left, right)
    total: Any = None
    for block in blocks:
        part = multiply(left[..., block], right[..., block, :]).astype(INT32)
        total = part if total is None else total + part
    return total
