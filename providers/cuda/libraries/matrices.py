"""Operands of a product as cuBLASLt takes them: which strides it reads, and batches of which it takes one axis at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np

from onnxgpu.provider import Array, Value
from onnxgpu.providers.cuda.generated import collapsed
from onnxgpu.providers.cuda.libraries.cublas import MOST_ALIGNMENT, Factor

Offsets = tuple[int, ...]
"""Bytes from the start of A, B, C and D."""


def stand_in(value: Value) -> np.ndarray:
    """An array on the host with the shape and strides of `value`, or those of a dense one of its Spec, and no memory."""
    strides = getattr(value, "strides", None) or _dense_strides(value.shape, value.dtype.itemsize)
    return np.lib.stride_tricks.as_strided(np.zeros(1, value.dtype), tuple(value.shape), strides)


def is_readable(x: Array) -> bool:
    """True if rows or columns of the matrices are dense, as cuBLASLt wants them."""
    return lies_in_rows(x) or lies_in_rows(x.swapaxes(-1, -2))


def lies_in_rows(x: Array) -> bool:
    """True if the rows of the matrices are dense."""
    (rows, columns), (down, across) = x.shape[-2:], steps_of(x)[-2:]
    return (columns <= 1 or across == 1) and (rows <= 1 or down >= max(columns, 1))


def factor(x: Array, batch_stride: int) -> Factor:
    """How the matrices of `x` lie, which are readable."""
    rows, columns = x.shape[-2:]
    steps = steps_of(x)
    if lies_in_rows(x):
        return Factor(False, steps[-2] if rows > 1 else max(columns, 1), batch_stride)
    return Factor(True, steps[-1] if columns > 1 else max(rows, 1), batch_stride)


def batches(operands: Sequence[Array | None]) -> tuple[int, list[int], list[Offsets]]:
    """How many matrices one launch takes, how far apart those of each operand are, and where each launch begins.

    Args:
        operands: with broadcast batch axes, the result last; None for one that is absent.

    Returns:
        count, strides in elements, and for each launch the operands' offsets in bytes.
    """
    shape = operands[-1].shape[:-2]  # type: ignore[union-attr]
    strides = [[0] * len(shape) if x is None else [0] * (len(shape) + 2 - x.ndim) + steps_of(x)[:-2] for x in operands]
    sizes, joined = collapsed(shape, strides)
    starts = [tuple(_offsets(index, joined, operands)) for index in product(*map(range, sizes[:-1]))]
    return sizes[-1], [each[-1] for each in joined], starts


def alignment_of(addresses: Iterable[int]) -> int:
    """The largest power of two up to `MOST_ALIGNMENT` of which all are multiples."""
    together = MOST_ALIGNMENT
    for address in addresses:
        together |= address
    return together & -together


def steps_of(x: Array) -> list[int]:
    """Strides in elements, 0 for axes of one."""
    return [0 if size == 1 else stride // x.itemsize for size, stride in zip(x.shape, x.strides, strict=True)]


def _offsets(index: tuple[int, ...], joined: list[list[int]], operands: Sequence[Array | None]) -> Iterator[int]:
    for steps, operand in zip(joined, operands, strict=True):
        elements = sum(position * step for position, step in zip(index, steps, strict=False))
        yield 0 if operand is None else elements * operand.itemsize


def _dense_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    strides: list[int] = []
    step = itemsize
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
