"""MaxUnpool: put the maxima back where MaxPool found them, zero elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import spatial_sizes

Shape = tuple[int, ...]


def pooled_shape(x: Array, kernel_shape: Sequence[int], pads: Sequence[int] | None, strides: Sequence[int] | None) -> Shape:
    """The shape of the tensor that was pooled, as far as the attributes tell."""
    spatial = spatial_sizes("MaxUnpool", x)
    rank = len(spatial)
    before = tuple(pads or (0,) * 2 * rank)
    steps = tuple(strides or (1,) * rank)
    if len(before) != 2 * rank or len(steps) != rank or len(kernel_shape) != rank:
        raise InvalidArgument(
            f"MaxUnpool: expected kernel_shape, strides and pads for {rank} spatial axes, got {kernel_shape}, {strides}, {pads}"
        )
    sizes = ((i - 1) * s - b - e + k for i, s, b, e, k in zip(spatial, steps, before[:rank], before[rank:], kernel_shape, strict=True))
    return (*x.shape[:2], *sizes)


def _specs(x: Array, indices: Array, output_shape: Array = None, **attributes: Any) -> Spec:
    if tuple(x.shape) != tuple(indices.shape):
        raise InvalidArgument(f"MaxUnpool: expected indices of shape {list(x.shape)} like the input, got {list(indices.shape)}")
    inferred = pooled_shape(x, attributes["kernel_shape"], attributes.get("pads"), attributes.get("strides"))
    return Spec(inferred if output_shape is None else tuple(int(size) for size in output_shape), x.dtype)


@operator("MaxUnpool", since=9, specs=_specs, host=("output_shape",))
def max_unpool(
    xp: Any,
    x: Array,
    indices: Array,
    output_shape: Array = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """Zeros with `x` at `indices` of the flattened pooled shape, at the front of `output_shape`.

    Spec: https://onnx.ai/onnx/operators/onnx__MaxUnpool.html
    """
    inferred = pooled_shape(x, kernel_shape, pads, strides)
    result = xp.zeros(math.prod(inferred), x.dtype)
    result[indices.reshape(-1)] = x.reshape(-1)
    result = result.reshape(inferred)
    if out is None:
        out = xp.empty(inferred if output_shape is None else tuple(int(size) for size in output_shape), x.dtype)
    common = tuple(slice(0, min(a, b)) for a, b in zip(inferred, out.shape, strict=True))
    out[...] = 0
    out[common] = result[common]
    return out
