"""Output specs (shape, dtype, reusable inputs) that many operators share."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec

BOOL = np.dtype(bool)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of arrays of these shapes (ONNX "multidirectional broadcasting").

    Raises:
        InvalidArgument: they cannot be broadcast; names the shapes.
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(list(shape)) for shape in shapes)
        raise InvalidArgument(f"shapes {listed} cannot be broadcast: aligned at the right, sizes must be equal or 1") from None


def like_first(first: Array, *_: Any, **__: Any) -> Spec:
    """Shape and dtype of the first input, whose memory may be reused."""
    return Spec(tuple(first.shape), first.dtype, may_reuse=(0,))


def broadcast(*inputs: Array, **_: Any) -> Spec:
    """Elementwise over broadcast inputs, with the first input's dtype; a single pass may write over the first two."""
    shape = broadcast_shapes(*(tuple(x.shape) for x in inputs))
    dtype = inputs[0].dtype
    reusable = tuple(i for i, x in enumerate(inputs[:2]) if x.dtype == dtype and tuple(x.shape) == shape)
    return Spec(shape, dtype, may_reuse=reusable)


def broadcast_to_bool(*inputs: Array, **_: Any) -> Spec:
    """Elementwise over broadcast inputs, giving bool."""
    return Spec(broadcast_shapes(*(tuple(x.shape) for x in inputs)), BOOL)
