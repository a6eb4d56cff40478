"""What the attention operators share: heads, scores, masks, the softmax over keys and the weighted sum of values.

Shapes: queries (batch, heads, S, D), keys and values (batch, key-value heads, T, D); each key-value head serves
heads / key-value heads consecutive query heads.
"""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array


def split_heads(xp: Any, x: Array, heads: int, operator: str) -> Array:
    """(batch, S, heads * D) as (batch, heads, S, D).

    Raises:
        InvalidArgument: the last axis does not divide into that many heads.
    """
    if len(x.shape) != 3 or heads < 1 or x.shape[2] % heads:
        raise InvalidArgument(f"{operator}: expected shape (batch, length, heads * size) with {heads} heads, got {list(x.shape)}")
    return xp.transpose(x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads), (0, 2, 1, 3))


def join_heads(xp: Any, x: Array) -> Array:
    """(batch, heads, S, D) as (batch, S, heads * D)."""
    return xp.transpose(x, (0, 2, 1, 3)).reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])


def _by_key_head(x: Array, heads: int) -> Array:
    """(batch, query heads, S, D) as one matrix for each key-value head: (batch, heads, query heads / heads * S, D)."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads * x.shape[2], x.shape[3])


def attention_scores(xp: Any, q: Array, k: Array, scale: float, operator: str) -> Array:
    """scale * q kᵀ for each head: (batch, heads, S, T).

    Raises:
        InvalidArgument: batch, heads or head sizes do not fit.
    """
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or q.shape[1] % k.shape[1]:
        raise InvalidArgument(
            f"{operator}: expected keys of the queries' batch and head size, and heads that divide theirs, "
            f"got queries {list(q.shape)} and keys {list(k.shape)}"
        )
    heads = k.shape[1]
    scores = xp.matmul(_by_key_head(q * scale, heads), xp.swapaxes(k, 2, 3))
    return scores.reshape(q.shape[0], q.shape[1], q.shape[2], k.shape[2])


def weighted_values(xp: Any, probabilities: Array, v: Array) -> Array:
    """The sum of values weighted by (batch, heads, S, T): (batch, heads, S, D)."""
    batch, heads, length, _ = probabilities.shape
    return xp.matmul(_by_key_head(probabilities, v.shape[1]), v).reshape(batch, heads, length, v.shape[3])


def softcapped(xp: Any, scores: Array, softcap: float) -> Array:
    """softcap * tanh(scores / softcap), or the scores where there is no cap."""
    return xp.tanh(scores / softcap) * softcap if softcap else scores


def softmax_over_keys(xp: Any, scores: Array, sink: Array | None = None) -> Array:
    """Softmax over the last axis; rows of -inf alone give zeros. A `sink` takes its share of the sum without a value."""
    greatest = xp.max(scores, axis=-1, keepdims=True)
    if sink is not None:
        greatest = xp.maximum(greatest, sink)
    greatest = xp.where(greatest == -xp.inf, xp.zeros_like(greatest), greatest)
    result = xp.exp(scores - greatest)
    total = xp.sum(result, axis=-1, keepdims=True)
    if sink is not None:
        total = total + xp.exp(sink - greatest)
    result /= xp.where(total == 0, xp.ones_like(total), total)
    return result


def positions_allowed(xp: Any, queries: int, keys: int, offset: Any, left: int, right: int) -> Array:
    """Which keys lie within `left` before and `right` after each query; -1 is no limit.

    `offset` is the number of keys before the first query: a number gives (S, T), an array (batch,) gives (batch, 1, S, T).
    """
    if getattr(offset, "shape", ()):
        offset = offset.reshape(-1, 1, 1, 1)
    distance = xp.arange(queries)[:, None] + offset - xp.arange(keys)
    allowed = xp.ones(distance.shape, bool)
    if left >= 0:
        allowed &= distance <= left
    if right >= 0:
        allowed &= distance >= -right
    return allowed
