"""Slice: a view of every n-th element between two positions of some axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import Fail, InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.host_values import integers
from onnxgpu.providers.array_ops.registry import operator

_TO_THE_END = ((1 << 31) - 1, (1 << 63) - 1)
"""INT_MAX as an end means as far as there are elements, backwards too (as onnxruntime has it)."""


def sliced(x: Array, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None, steps: Sequence[int] | None) -> Array:
    """A view of `x`. ONNX clamps positions as Python's `slice` does, except a start before the first element going backwards.

    Raises:
        Fail: `starts`, `ends`, `axes` and `steps` differ in length.
        InvalidArgument: an axis out of range or named twice, or a step of 0.
    """
    rank = x.ndim
    named = range(len(starts)) if axes is None else axes
    if not len(starts) == len(ends) == len(named) or (steps is not None and len(steps) != len(starts)):
        raise Fail(
            f"Starts and ends shape mismatch: expected one entry per axis, got {len(starts)} starts, {len(ends)} ends, "
            f"{len(named)} axes and {len(starts) if steps is None else len(steps)} steps"
        )
    selection = [slice(None)] * rank
    seen = set()
    for i, axis in enumerate(named):
        position = axis + rank if axis < 0 else axis
        if not 0 <= position < rank:
            raise InvalidArgument(f"'axes' has an axis outside of the tensor dimension count: expected [{-rank},{rank - 1}], got {axis}")
        if position in seen:
            raise InvalidArgument(f"'axes' has duplicates: {list(named)}")
        seen.add(position)
        step = 1 if steps is None else steps[i]
        if step == 0:
            raise InvalidArgument("'step' value cannot be 0")
        selection[position] = slice(starts[i], ends[i], step) if step > 0 else _backwards(starts[i], ends[i], step, x.shape[position])
    return x[tuple(selection)]


def _backwards(start: int, end: int, step: int, size: int) -> slice:
    return slice(max(start, -size), None if end in _TO_THE_END else end, step)


@operator("Slice", view=True)
def slice_1(xp: Any, data: Array, *, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None = None) -> Array:
    """Elements `starts:ends` of `axes` (the first ones by default). Spec: https://onnx.ai/onnx/operators/onnx__Slice.html"""
    return sliced(data, starts, ends, axes or None, None)


@operator("Slice", since=10, view=True, host=("starts", "ends", "axes", "steps"))
def slice_10(xp: Any, data: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    """Elements `starts:ends:steps` of `axes` (the first ones by default). Spec: https://onnx.ai/onnx/operators/onnx__Slice.html"""
    return sliced(
        data,
        integers(starts),
        integers(ends),
        None if axes is None else integers(axes),
        None if steps is None else integers(steps),
    )
