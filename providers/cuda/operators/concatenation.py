"""Concat: all inputs in one launch, views among them read where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.concatenation import concatenated_spec
from onnxgpu.providers.cuda.generated import collapsed
from onnxgpu.providers.cuda.kernels import THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import UNITS, unit_bytes

CONCATENATE = Template("concatenate.cu", "concatenate<{bytes}>", "spll", bytes=UNITS)
MOST_PIECES = 32
"""Arrays that one launch joins."""


def _row_step(x: Array, axis: int) -> int | None:
    """Bytes from row to row of x [outer, span], its rows being all axes from `axis` on; None if it has no such rows."""
    sizes, (steps,) = collapsed(x.shape[axis:], [x.strides[axis:]])
    if len(sizes) > 1 or (sizes != [1] and steps != [x.itemsize]):
        return None
    outer, (outer_steps,) = collapsed(x.shape[:axis], [x.strides[:axis]])
    return None if len(outer) > 1 else int(outer_steps[0])


def _launch(pieces: Sequence[tuple[int, int, int, int]], unit: int, result: Array, outer: int, total: int) -> None:
    """Launch for pieces of (pointer, bytes of a row, bytes from row to row, bytes before it in a row of the result)."""
    structure = np.zeros((4, MOST_PIECES), np.uint64)
    for i, (pointer, *lengths) in enumerate(pieces):
        structure[:, i] = pointer, *(length // unit for length in lengths)
    most = max(span for _, span, _, _ in pieces) // unit
    blocks = blocks_for(outer * most), len(pieces)
    CONCATENATE.instance(bytes=unit).launch(blocks, THREADS, structure, result, outer, total // unit)


def _concatenated(xp: Any, inputs: Sequence[Array], axis: int, out: Array) -> Array:
    result = result_for(xp, concatenated_spec(*inputs, axis=axis), out)
    target = bits_of(result)
    axis = normalized_axis(axis, target.ndim, "Concat")
    outer, row = prod(target.shape[:axis]), prod(target.shape[axis + 1 :]) * target.itemsize
    arrays, steps = [], []
    for x in map(bits_of, inputs):
        step = _row_step(x, axis)
        arrays.append(x if step is not None else dense(xp, x))
        steps.append(step if step is not None else x.shape[axis] * row)
    spans = [x.shape[axis] * row for x in arrays]
    begins = accumulate(spans, initial=0)
    pieces = [(x.data.ptr, *lengths) for x, *lengths in zip(arrays, spans, steps, begins, strict=False) if x.size]
    for first in range(0, len(pieces), MOST_PIECES):
        group = pieces[first : first + MOST_PIECES]
        numbers = (number for pointer, span, step, begin in group for number in (pointer, span, step if outer > 1 else 0, begin))
        unit = unit_bytes(target.itemsize, *numbers, target.shape[axis] * row, target.data.ptr)
        _launch(group, unit, result, outer, target.shape[axis] * row)
    return result


@operator("Concat", specs=concatenated_spec)
@takes_narrow
def concat_1(xp: Any, *inputs: Array, axis: int = 1, out: Array = None) -> Array:
    """The inputs one after the other along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Concat.html"""
    return _concatenated(xp, inputs, axis, out)


@operator("Concat", since=4, specs=concatenated_spec)
@takes_narrow
def concat(xp: Any, *inputs: Array, axis: int, out: Array = None) -> Array:
    """The inputs one after the other along `axis`. Spec: https://onnx.ai/onnx/operators/onnx__Concat.html"""
    return _concatenated(xp, inputs, axis, out)
