"""onnxruntime's layers with a bias in front: BiasAdd, BiasSoftmax, BiasSplitGelu, and dropout with its mask as booleans or as bits.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.gelu import gelu_of
from onnxgpu.providers.array_ops.identity import dropout
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.softmax import softmax_over
from onnxgpu.providers.array_ops.specs import like_first

DOMAIN = "com.microsoft"
WORD_BITS = 32
_HOST = ("ratio", "training_mode")


@operator("BiasAdd", domain=DOMAIN, specs=like_first)
def bias_add(xp: Any, x: Array, bias: Array, skip: Array, *, out: Array = None) -> Array:
    """X + bias + skip, for X (N, S, C) and a bias (C,)."""
    return stored(xp, widened(x) + widened(bias) + widened(skip), x.dtype, out)


def split_gelu_spec(x: Array, bias: Array, **_: Any) -> Spec:
    """Half the last axis.

    Raises:
        InvalidArgument: it has no halves, or the bias is not of its size.
    """
    if not x.shape or x.shape[-1] % 2 or tuple(bias.shape) != tuple(x.shape[-1:]):
        raise InvalidArgument(
            f"BiasSplitGelu: expected (N, S, D) with an even D and a bias (D), got {list(x.shape)} and {list(bias.shape)}"
        )
    return Spec((*x.shape[:-1], x.shape[-1] // 2), x.dtype)


@operator("BiasSplitGelu", domain=DOMAIN, specs=split_gelu_spec)
def bias_split_gelu(xp: Any, x: Array, bias: Array, *, out: Array = None) -> Array:
    """The left half of X + bias times the exact Gelu of the right half."""
    half = split_gelu_spec(x, bias).shape[-1]
    biased = widened(x) + widened(bias)
    return stored(xp, biased[..., :half] * gelu_of(xp, xp.ascontiguousarray(biased[..., half:])), x.dtype, out)


def bias_rows(x: Array, bias: Array, axis: int, is_inner: int) -> tuple[Array, Array]:
    """Views of data and bias that broadcast, with the elements of a softmax as their last axis.

    Args:
        x: the data; a row has all elements from `axis` on.
        bias: as many rows, or fewer, each for several rows of the data.
        axis: see `x`.
        is_inner: those rows are neighbours; else they lie as far apart as the bias has rows.

    Raises:
        InvalidArgument: the bias has no whole rows, or their number does not divide that of the data.
    """
    axis = normalized_axis(axis, len(x.shape), "BiasSoftmax")
    width, rows = prod(x.shape[axis:]), prod(x.shape[:axis])
    given = bias.size // width if width else 1
    if width and (bias.size % width or not given or rows % given):
        raise InvalidArgument(f"BiasSoftmax: expected a bias of whole rows of {width} elements, got {list(bias.shape)} for {list(x.shape)}")
    if is_inner:
        return x.reshape(given, rows // given, width), bias.reshape(given, 1, width)
    return x.reshape(rows // given, given, width), bias.reshape(1, given, width)


@operator("BiasSoftmax", domain=DOMAIN, specs=like_first)
def bias_softmax(xp: Any, data: Array, bias: Array, *, axis: int = 1, is_inner_broadcast: int, out: Array = None) -> Array:
    """softmax(data + bias) over all axes from `axis` on."""
    x, addend = bias_rows(data, bias, axis, is_inner_broadcast)
    result = softmax_over(xp, widened(x) + widened(addend), (2,))
    return stored(xp, result.reshape(data.shape), data.dtype, out)


def dropout_specs(data: Array, *inputs: Any, output_count: int = 1, **_: Any) -> tuple[Spec, ...]:
    """The data's, and the mask's."""
    return (Spec(tuple(data.shape), data.dtype), Spec(tuple(data.shape), np.dtype(bool)))[:output_count]


def bitmask_specs(data: Array, *inputs: Any, output_count: int = 1, **_: Any) -> tuple[Spec, ...]:
    """The data's, and that of the mask's words."""
    words = -(-prod(data.shape) // WORD_BITS)
    return (Spec(tuple(data.shape), data.dtype), Spec((words,), np.dtype(np.uint32)))[:output_count]


def _packed(xp: Any, mask: Array) -> Array:
    """Bits of the mask, the first in the lowest bit of the first word; ones behind its end."""
    words = -(-mask.size // WORD_BITS)
    bits = xp.ones(words * WORD_BITS, np.uint32)
    bits[: mask.size] = mask.reshape(-1)
    return (bits.reshape(words, WORD_BITS) << xp.arange(WORD_BITS, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


def _dropped(
    xp: Any,
    data: Array,
    bias: Array | None,
    residual: Array | None,
    training: tuple[Any, Any, int | None],
    pack: bool,
    count: int,
    out: Any,
) -> tuple[Array, ...]:
    ratio, training_mode, seed = training
    biased = data if bias is None else (widened(data) + widened(bias)).astype(data.dtype)
    kept, mask = dropout(xp, biased, ratio, training_mode, seed=seed, output_count=2)
    result = kept if residual is None else (widened(kept) + widened(residual)).astype(data.dtype)
    targets = out if isinstance(out, tuple) else (out,) * count
    results = (result, _packed(xp, mask) if pack else mask)
    return tuple(stored(xp, each, each.dtype, target) for each, target in zip(results[:count], targets, strict=True))


@operator("BiasDropout", domain=DOMAIN, specs=dropout_specs, host=_HOST, deterministic=False)
def bias_dropout(
    xp: Any,
    data: Array,
    bias: Array,
    residual: Array = None,
    ratio: Array = None,
    training_mode: Array = None,
    *,
    seed: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """dropout(data + bias) + residual, and the mask of what was kept."""
    return _dropped(xp, data, bias, residual, (ratio, training_mode, seed), False, output_count, out)


@operator("BitmaskDropout", domain=DOMAIN, specs=bitmask_specs, host=_HOST, deterministic=False)
def bitmask_dropout(
    xp: Any,
    data: Array,
    ratio: Array = None,
    training_mode: Array = None,
    *,
    seed: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """dropout(data), and the mask of what was kept as bits of uint32."""
    return _dropped(xp, data, None, None, (ratio, training_mode, seed), True, output_count, out)


@operator("BitmaskBiasDropout", domain=DOMAIN, specs=bitmask_specs, host=_HOST, deterministic=False)
def bitmask_bias_dropout(
    xp: Any,
    data: Array,
    bias: Array,
    residual: Array = None,
    ratio: Array = None,
    training_mode: Array = None,
    *,
    seed: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """dropout(data + bias) + residual, and the mask of what was kept as bits of uint32."""
    return _dropped(xp, data, bias, residual, (ratio, training_mode, seed), True, output_count, out)
