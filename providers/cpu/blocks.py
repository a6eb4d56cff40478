"""How an array is cut into blocks that stay in cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from onnxgpu.provider import Array


def collapsed(shape: tuple[int, ...], inputs: Sequence[Array]) -> tuple[tuple[int, ...], list[Array]]:
    """`shape` and arrays that broadcast to it, with neighbouring axes joined wherever every array allows."""
    if all(x.shape == shape for x in inputs):
        return (prod(shape),), [x.reshape(-1) for x in inputs]
    padded = [(1,) * (len(shape) - x.ndim) + x.shape for x in inputs]
    groups: list[list[int]] = []
    kinds: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        kind = tuple(p[axis] == size for p in padded)
        if groups and (size == 1 or kinds[-1] == kind):
            groups[-1].append(axis)
        else:
            groups.append([axis])
            kinds.append(kind)

    def joined(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(prod([sizes[a] for a in group]) for group in groups)

    return joined(shape), [x.reshape(joined(p)) for x, p in zip(inputs, padded, strict=True)]


def block_indices(shape: tuple[int, ...], elements: int) -> list[tuple[Any, ...]]:
    """Indices that cut an array of `shape` into blocks of about `elements` elements, in memory order."""
    inner = 1
    axis = len(shape)
    while axis > 0 and inner * shape[axis - 1] <= elements:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        return [()]
    size = shape[axis - 1]
    step = max(1, elements // inner)
    slices = [slice(i, min(i + step, size)) for i in range(0, size, step)]
    outer = product(*(range(n) for n in shape[: axis - 1]))
    return [(*(slice(i, i + 1) for i in position), piece) for position in outer for piece in slices]
