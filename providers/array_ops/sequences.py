"""Sequences of tensors, as Python lists that are never changed in place.

A sequence holds copies of the tensors it is built from. What is taken out of one, or cut from a tensor into one, is a
view; an executor has to count a sequence among the owners of its tensors' memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Value
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.concatenation import concatenated_spec, pieces
from onnxgpu.providers.array_ops.host_values import braced, integer, integers
from onnxgpu.providers.array_ops.registry import operator


@operator("SequenceEmpty", since=11)
def sequence_empty(xp: Any, *, dtype: int = 1) -> list[Value]:
    """A sequence without elements. Spec: https://onnx.ai/onnx/operators/onnx__SequenceEmpty.html"""
    return []


@operator("SequenceConstruct", since=11)
def sequence_construct(xp: Any, *inputs: Array) -> list[Value]:
    """A sequence of copies of the inputs. Spec: https://onnx.ai/onnx/operators/onnx__SequenceConstruct.html"""
    return [x.copy() for x in inputs]


def _checked_position(position: Array, name: str, low: int, high: int, length: int) -> int:
    index = integer(position, name, "position")
    if not low <= index <= high:
        raise InvalidArgument(
            f"Invalid sequence index ({index}) specified for sequence of size ({length}). {name}: expected one in [{low},{high}]"
        )
    return index


@operator("SequenceAt", since=11, host=("position",))
def sequence_at(xp: Any, sequence: Sequence[Value], position: Array) -> Value:
    """One element; a negative position counts from the back. Spec: https://onnx.ai/onnx/operators/onnx__SequenceAt.html"""
    length = len(sequence)
    return sequence[_checked_position(position, "SequenceAt", -length, length - 1, length)]


@operator("SequenceInsert", since=11, host=("position",))
def sequence_insert(xp: Any, sequence: Sequence[Value], tensor: Array, position: Array | None = None) -> list[Value]:
    """The sequence with a copy of `tensor` before `position`, by default at the end.

    Spec: https://onnx.ai/onnx/operators/onnx__SequenceInsert.html
    """
    length = len(sequence)
    index = length if position is None else _checked_position(position, "SequenceInsert", -length, length, length)
    longer = list(sequence)
    longer.insert(index, tensor.copy())
    return longer


@operator("SequenceErase", since=11, host=("position",))
def sequence_erase(xp: Any, sequence: Sequence[Value], position: Array | None = None) -> list[Value]:
    """The sequence without one element, by default the last. Spec: https://onnx.ai/onnx/operators/onnx__SequenceErase.html"""
    length = len(sequence)
    index = length - 1 if position is None else _checked_position(position, "SequenceErase", -length, length - 1, length)
    if length == 0:
        raise InvalidArgument("SequenceErase: expected a sequence with at least one element, got an empty one")
    shorter = list(sequence)
    del shorter[index]
    return shorter


@operator("SequenceLength", since=11)
def sequence_length(xp: Any, sequence: Sequence[Value]) -> Array:
    """The number of elements, int64, shape []. Spec: https://onnx.ai/onnx/operators/onnx__SequenceLength.html"""
    return xp.asarray(len(sequence), dtype=np.int64)


@operator("ConcatFromSequence", since=11)
def concat_from_sequence(xp: Any, sequence: Sequence[Array], *, axis: int, new_axis: int = 0) -> Array:
    """The elements joined along `axis`, or stacked along a new one. Spec: https://onnx.ai/onnx/operators/onnx__ConcatFromSequence.html"""
    if not sequence:
        raise InvalidArgument("ConcatFromSequence: expected a sequence with at least one element, got an empty one")
    if not new_axis:
        concatenated_spec(*sequence, axis=axis)
        return xp.concatenate(sequence, axis)
    shapes = {tuple(x.shape) for x in sequence}
    if len(shapes) > 1:
        raise InvalidArgument(f"ConcatFromSequence: expected elements of one shape, got {', '.join(sorted(map(braced, shapes)))}")
    return xp.stack(sequence, normalized_axis(axis, sequence[0].ndim + 1, "ConcatFromSequence"))


@operator("SplitToSequence", since=11, host=("split",))
def split_to_sequence(xp: Any, x: Array, split: Array | None = None, *, axis: int = 0, keepdims: int = 1) -> list[Array]:
    """Views of pieces along `axis`: of length `split` (the last may be shorter), of the lengths in it, or of length 1.

    `keepdims=0`, without `split`, drops the axis. Spec: https://onnx.ai/onnx/operators/onnx__SplitToSequence.html
    """
    axis = normalized_axis(axis, x.ndim, "SplitToSequence")
    size = x.shape[axis]
    if split is None:
        parts = pieces(x, [1] * size, axis)
        return list(parts) if keepdims else [part.reshape(x.shape[:axis] + x.shape[axis + 1 :]) for part in parts]
    return list(pieces(x, _lengths(split, size), axis))


def _lengths(split: Array, size: int) -> list[int]:
    lengths = integers(split)
    if split.ndim == 0:
        if lengths[0] <= 0:
            raise InvalidArgument(f"SplitToSequence: expected a scalar 'split' above 0, got {lengths[0]}")
        return [min(lengths[0], size - start) for start in range(0, size, lengths[0])]
    if min(lengths, default=0) < 0 or sum(lengths) != size:
        raise InvalidArgument(f"SplitToSequence: expected lengths of at least 0 that add up to {size}, got {lengths}")
    return lengths
