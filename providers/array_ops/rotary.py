"""RotaryEmbedding and MRotaryEmbedding: pairs of features turned by angles that grow with the position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first


def rotated(xp: Any, x: Array, cosines: Array, sines: Array, interleaved: int) -> Array:
    """The first 2 * cosines.shape[-1] features of `x` (batch, S, heads, D) turned; angles are (batch, S, half)."""
    half = cosines.shape[-1]
    cosine, sine = widened(cosines)[:, :, None], widened(sines)[:, :, None]
    wide = widened(x)
    even = (..., slice(0, 2 * half, 2)) if interleaved else (..., slice(0, half))
    odd = (..., slice(1, 2 * half, 2)) if interleaved else (..., slice(half, 2 * half))
    result = wide.copy()
    result[even] = wide[even] * cosine - wide[odd] * sine
    result[odd] = wide[even] * sine + wide[odd] * cosine
    return result


def _heads_last_but_one(xp: Any, x: Array, num_heads: int, name: str, cache_features: int) -> Array:
    """`x` as (batch, S, heads, D)."""
    if len(x.shape) == 4:
        return xp.transpose(x, (0, 2, 1, 3))
    if len(x.shape) != 3:
        raise InvalidArgument(f"{name}: expected an input of rank 3 or 4, got shape {list(x.shape)}")
    heads = num_heads or x.shape[2] // cache_features
    if heads < 1 or x.shape[2] % heads:
        raise InvalidArgument(f"{name}: expected a last axis of {heads} heads, got shape {list(x.shape)}")
    return x.reshape(x.shape[0], x.shape[1], heads, -1)


def _embedded(
    xp: Any, x: Array, cosines: Array, sines: Array, num_heads: int, dimension: int, interleaved: int, name: str, out: Array | None
) -> Array:
    """The whole operator once the angles of each position are known: (batch, S, half)."""
    parts = _heads_last_but_one(xp, x, num_heads, name, 2 * cosines.shape[-1])
    wanted = (dimension or parts.shape[3]) // 2
    if cosines.shape[-1] != wanted or sines.shape != cosines.shape or cosines.shape[1] != parts.shape[1]:
        raise InvalidArgument(
            f"{name}: expected caches that give ({parts.shape[0]}, {parts.shape[1]}, {wanted}) angles, "
            f"got {list(cosines.shape)} and {list(sines.shape)}"
        )
    result = rotated(xp, parts, cosines, sines, interleaved)
    return stored(xp, xp.transpose(result, (0, 2, 1, 3)) if len(x.shape) == 4 else result.reshape(x.shape), x.dtype, out)


@operator("RotaryEmbedding", since=23, specs=like_first)
def rotary_embedding(
    xp: Any,
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    out: Array = None,
) -> Array:
    """Spec: https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html"""
    if position_ids is not None:
        cos_cache, sin_cache = cos_cache[position_ids], sin_cache[position_ids]
    return _embedded(xp, x, cos_cache, sin_cache, num_heads, rotary_embedding_dim, interleaved, "RotaryEmbedding", out)


@operator("RotaryEmbedding", domain="com.microsoft", specs=like_first)
def rotary_embedding_by_positions(
    xp: Any,
    x: Array,
    position_ids: Array,
    cos_cache: Array,
    sin_cache: Array,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
    out: Array = None,
) -> Array:
    """`position_ids` is the first position, or one for each element. Spec: onnxruntime's ContribOperators.md"""
    length = x.shape[2] if len(x.shape) == 4 else x.shape[1]
    if position_ids.size == 1 and len(position_ids.shape) < 2:
        position_ids = position_ids.reshape(1, 1) + xp.arange(length)
    return _embedded(
        xp, x, cos_cache[position_ids], sin_cache[position_ids], num_heads, rotary_embedding_dim, interleaved, "RotaryEmbedding", out
    )


def _streams(half: int, sections: Sequence[int], interleaved: bool) -> np.ndarray:
    """Which of the three position streams (time, height, width) gives each angle: (half,)."""
    if not interleaved:
        return np.repeat(np.arange(3), sections)
    places = np.arange(half)
    stream = places % 3
    return np.where(places < 3 * np.asarray(sections)[stream], stream, 0)


def _multimodal_specs(x: Array, position_ids: Array, cos_cache: Array, *_: Array, mrope_section: Sequence[int], **__: Any) -> Spec:
    half = cos_cache.shape[-1]
    if len(mrope_section) != 3 or min(mrope_section) < 0 or sum(mrope_section) != half:
        raise InvalidArgument(f"MRotaryEmbedding: expected mrope_section of 3 sizes that sum to {half}, got {list(mrope_section)}")
    if len(position_ids.shape) != 3 or position_ids.shape[0] != 3:
        raise InvalidArgument(f"MRotaryEmbedding: expected position_ids of shape (3, batch, length), got {braced(position_ids.shape)}")
    return like_first(x)


@operator("MRotaryEmbedding", domain="com.microsoft", specs=_multimodal_specs)
def multimodal_rotary_embedding(
    xp: Any,
    x: Array,
    position_ids: Array,
    cos_cache: Array,
    sin_cache: Array,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    mrope_layout: int = 0,
    mrope_section: Sequence[int],
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
    out: Array = None,
) -> Array:
    """Positions (3, batch, length) in time, height and width, each for its share of the angles. Spec: onnxruntime's ContribOperators.md"""
    half = cos_cache.shape[-1]
    places = position_ids[xp.asarray(_streams(half, mrope_section, bool(mrope_layout)))]
    angles = xp.arange(half)[:, None, None]
    cosines, sines = (xp.transpose(widened(cache)[places, angles], (1, 2, 0)) * scale for cache in (cos_cache, sin_cache))
    return _embedded(xp, x, cosines, sines, num_heads, rotary_embedding_dim, interleaved, "MRotaryEmbedding", out)


def gemma_specs(emb: Array, q: Array, q_rot: Array, k: Array, k_rot: Array, **_: Any) -> tuple[Spec, Spec]:
    """Those of q and k, whose memory may be reused.

    Raises:
        InvalidArgument: shapes do not fit.
    """
    places = [(x.shape[0], x.shape[2], x.shape[3]) if len(x.shape) == 4 else None for x in (q, k)]
    if places != [tuple(emb.shape)] * 2 or (tuple(q.shape), tuple(k.shape)) != (tuple(q_rot.shape), tuple(k_rot.shape)):
        raise InvalidArgument(
            "GemmaRotaryEmbedding: expected angles (batch, S, D) for q, q_rot, k and k_rot (batch, heads, S, D), "
            f"got shapes {[list(x.shape) for x in (emb, q, q_rot, k, k_rot)]}"
        )
    return Spec(tuple(q.shape), q.dtype, may_reuse=(1, 2)), Spec(tuple(k.shape), k.dtype, may_reuse=(3, 4))


@operator("GemmaRotaryEmbedding", domain="com.microsoft", specs=gemma_specs)
def gemma_rotary_embedding(
    xp: Any, emb: Array, q: Array, q_rot: Array, k: Array, k_rot: Array, *, out: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """q cos(emb) + q_rot sin(emb), and the same of k; sines and cosines are rounded to their type.

    Spec: onnxruntime's ContribOperators.md
    """
    cosine, sine = (widened(f(emb).astype(q.dtype))[:, None] for f in (xp.cos, xp.sin))
    pairs = zip(((q, q_rot), (k, k_rot)), out or (None, None), strict=True)
    first, second = (stored(xp, widened(x) * cosine + widened(turned) * sine, x.dtype, target) for (x, turned), target in pairs)
    return first, second
