"""LinearAttention with its gates, and SwiGLU: layers of hybrid language models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.attention_core import join_heads, split_heads
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid, softplus
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first

_RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}


def terms_of(operator_name: str, update_rule: str, decay: Array | None, beta: Array | None) -> tuple[bool, bool]:
    """Whether a rule decays the state, and whether it takes off what the state already holds of a key.

    Raises:
        InvalidArgument: there is no such rule, or its decay or beta is not given.
    """
    gated, delta = _RULES.get(update_rule, (False, False))
    if update_rule not in _RULES or (gated and decay is None) or (delta and beta is None):
        raise InvalidArgument(
            f"{operator_name}: expected update_rule to be one of {', '.join(_RULES)} with its decay and beta, got {update_rule!r}"
        )
    return gated, delta


def shared_queries(xp: Any, q: Array, heads: int) -> Array:
    """Queries (batch, query heads, T, K) as (batch, heads, queries of each head, T, K); fewer query heads are repeated."""
    if q.shape[1] < heads:
        q = xp.repeat(q, heads // q.shape[1], axis=1)
    return q.reshape(q.shape[0], heads, q.shape[1] // heads, *q.shape[2:])


def recurrence(
    xp: Any, q: Array, k: Array, v: Array, state: Array, factors: Array | None, rates: Array | None
) -> Iterator[tuple[Array, Array, Array]]:
    """Token by token: the output (batch, heads, queries, V), what is added for the key (batch, heads, V), and the new state.

    Args:
        xp: array module.
        q: (batch, heads, queries, T, K), scaled.
        k: (batch, heads, T, K).
        v: (batch, heads, T, V).
        state: (batch, heads, K, V).
        factors: what is left of the state, (batch, heads, T, K or 1), or None for all.
        rates: update rates of the delta rule, (batch, heads, T, 1), or None for plain addition.
    """
    for t in range(k.shape[2]):
        if factors is not None:
            state = state * factors[:, :, t][..., None]
        update = v[:, :, t]
        if rates is not None:
            update = (update - xp.matmul(k[:, :, t][:, :, None], state)[:, :, 0]) * rates[:, :, t]
        state = state + k[:, :, t][..., None] * update[:, :, None]
        yield xp.matmul(q[:, :, :, t], state), update, state


def _gate(xp: Any, x: Array, heads: int) -> Array:
    """Decay or update rate for each head: (batch, heads or 1, T, features or 1)."""
    return split_heads(xp, widened(x), 1 if x.shape[2] == 1 else heads, "LinearAttention")


def _windowed(operation: Operation) -> str | None:
    return "with state_window is not implemented" if operation.attributes.get("state_window") else None


@operator("LinearAttention", since=27)
@operator("LinearAttention", domain="com.microsoft", when=_windowed)
def linear_attention(
    xp: Any,
    query: Array,
    key: Array,
    value: Array,
    past_state: Array = None,
    decay: Array = None,
    beta: Array = None,
    *,
    kv_num_heads: int,
    q_num_heads: int,
    chunk_size: int = 64,
    scale: float = 0.0,
    state_window: int = 0,
    update_rule: str = "gated_delta",
) -> tuple[Array, Array]:
    """A state (key size, value size) for each head, updated token by token.

    The key may have as many heads as the query where these are fewer than the value's.

    Spec: https://onnx.ai/onnx/operators/onnx__LinearAttention.html
    """
    gated, delta = terms_of("LinearAttention", update_rule, decay, beta)
    q = split_heads(xp, widened(query), q_num_heads, "LinearAttention")
    batch, _, length, size = q.shape
    k = split_heads(xp, widened(key), key.shape[2] // size, "LinearAttention")
    v = split_heads(xp, widened(value), kv_num_heads, "LinearAttention")
    if k.shape[1] < kv_num_heads:
        k = xp.repeat(k, kv_num_heads // max(1, k.shape[1]), axis=1)
    if k.shape != (batch, kv_num_heads, length, size):
        raise InvalidArgument(
            f"LinearAttention: expected keys of {kv_num_heads} or {q_num_heads} heads of size {size}, got shape {list(key.shape)}"
        )
    q = shared_queries(xp, q * (scale or 1 / math.sqrt(size)), kv_num_heads)
    factors = xp.exp(_gate(xp, decay, kv_num_heads)) if gated else None
    rates = _gate(xp, beta, kv_num_heads) if delta else None
    state_dtype = value.dtype if past_state is None else past_state.dtype
    state = xp.zeros((batch, kv_num_heads, size, v.shape[3]), v.dtype) if past_state is None else widened(past_state).astype(v.dtype)
    result = xp.empty((*q.shape[:4], v.shape[3]), v.dtype)
    for t, (output, _, new_state) in enumerate(recurrence(xp, q, k, v, state, factors, rates)):
        result[:, :, :, t], state = output, new_state
    joined = join_heads(xp, result.reshape(batch, q.shape[1] * q.shape[2], length, v.shape[3]))
    return stored(xp, joined, query.dtype), stored(xp, state, state_dtype)


def _gate_specs(a: Array, dt_bias: Array, decay_scale: Array, b: Array = None, *, output_count: int) -> Sequence[Spec]:
    if output_count > 1 and b is None:
        raise InvalidArgument("LinearAttentionGate: expected input 'b' for output 'beta', it is left out")
    return [Spec(tuple(a.shape), a.dtype)] * output_count


@operator("LinearAttentionGate", domain="com.microsoft", specs=_gate_specs)
def linear_attention_gate(
    xp: Any, a: Array, dt_bias: Array, decay_scale: Array, b: Array = None, *, output_count: int = 1, out: Any = None
) -> tuple[Array, ...]:
    """decay_scale * softplus(a + dt_bias) and sigmoid(b), computed in float32. Spec: onnxruntime's ContribOperators.md"""
    outs = out if isinstance(out, tuple) else (out,)
    decay = softplus(xp, widened(a) + dt_bias) * decay_scale
    results = (stored(xp, decay, a.dtype, outs[0]),)
    return results if output_count == 1 else (*results, stored(xp, sigmoid(xp, widened(b)), a.dtype, outs[-1] if out is not None else None))


def _swiglu_specs(a: Array, b: Array, **_: Any) -> Spec:
    if tuple(a.shape) != tuple(b.shape):
        raise InvalidArgument(f"SwiGLU: expected inputs of one shape, got {list(a.shape)} and {list(b.shape)}")
    return like_first(a)


@operator("SwiGLU", since=28, specs=_swiglu_specs)
def swiglu(xp: Any, a: Array, b: Array, *, alpha: float = 1.0, out: Array = None) -> Array:
    """a * sigmoid(alpha * a) * b. Spec: https://onnx.ai/onnx/operators/onnx__SwiGLU.html"""
    wide = widened(a)
    return stored(xp, wide * sigmoid(xp, alpha * wide) * widened(b), a.dtype, out)
