"""LinearAttention with its gates, and SwiGLU: layers of hybrid language models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of `LinearAttention`; a head's state is (size, value_size)."""

    batch: int
    length: int
    query_heads: int
    key_heads: int
    heads: int
    size: int
    value_size: int


def sizes_of(
    query: Array,
    key: Array,
    value: Array,
    past_state: Array | None,
    decay: Array | None,
    beta: Array | None,
    query_heads: int,
    heads: int,
) -> Sizes:
    """The sizes that the inputs have.

    Raises:
        InvalidArgument: they do not fit each other and the numbers of heads.
    """
    given = [query, key, value, *(x for x in (decay, beta) if x is not None)]
    if any(len(x.shape) != 3 or x.shape[:2] != query.shape[:2] for x in given):
        raise InvalidArgument(
            "LinearAttention: expected query, key, value, decay and beta of shape (batch, length, features), "
            f"got {', '.join(str(list(x.shape)) for x in given)}"
        )
    batch, length, width = query.shape
    if query_heads < 1 or heads < 1 or width % query_heads or value.shape[2] % heads or (query_heads % heads and heads % query_heads):
        raise InvalidArgument(
            "LinearAttention: expected q_num_heads and kv_num_heads that divide the query's and the value's features, and one the other, "
            f"got {query_heads} and {heads} for {width} and {value.shape[2]} features"
        )
    size, value_size = width // query_heads, value.shape[2] // heads
    key_heads = key.shape[2] // size if size else heads
    if not key_heads or key.shape[2] != key_heads * size or heads % key_heads:
        raise InvalidArgument(
            f"LinearAttention: expected keys of {heads} or {query_heads} heads of size {size}, got shape {list(key.shape)}"
        )
    if past_state is not None and tuple(past_state.shape) != (batch, heads, size, value_size):
        raise InvalidArgument(
            f"LinearAttention: expected past_state of shape {[batch, heads, size, value_size]}, got {list(past_state.shape)}"
        )
    for name, gate, widths in (("decay", decay, (1, heads, heads * size)), ("beta", beta, (1, heads))):
        if gate is not None and gate.shape[2] not in widths:
            raise InvalidArgument(
                f"LinearAttention: expected {name} of {' or '.join(map(str, widths))} features, got shape {list(gate.shape)}"
            )
    return Sizes(batch, length, query_heads, key_heads, heads, size, value_size)


def linear_attention_specs(
    query: Array,
    key: Array,
    value: Array,
    past_state: Array = None,
    decay: Array = None,
    beta: Array = None,
    *,
    kv_num_heads: int,
    q_num_heads: int,
    update_rule: str = "gated_delta",
    output_count: int = 2,
    **_: Any,
) -> Sequence[Spec]:
    """(batch, length, heads * value size), and the states, which may lie where the past ones did."""
    terms_of("LinearAttention", update_rule, decay, beta)
    s = sizes_of(query, key, value, past_state, decay, beta, q_num_heads, kv_num_heads)
    states = Spec(
        (s.batch, s.heads, s.size, s.value_size), (value if past_state is None else past_state).dtype, () if past_state is None else (3,)
    )
    return (Spec((s.batch, s.length, max(s.query_heads, s.heads) * s.value_size), query.dtype), states)[:output_count]


def _gate(xp: Any, x: Array, heads: int) -> Array:
    """Decay or update rate for each head: (batch, heads or 1, T, features or 1)."""
    return split_heads(xp, widened(x), 1 if x.shape[2] == 1 else heads, "LinearAttention")


def windowed(operation: Operation) -> str | None:
    """Which of com.microsoft's additions the node asks for, that is not implemented."""
    return "with state_window is not implemented" if operation.attributes.get("state_window") else None


@operator("LinearAttention", since=27, specs=linear_attention_specs)
@operator("LinearAttention", domain="com.microsoft", when=windowed, specs=linear_attention_specs)
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
    output_count: int = 2,
    out: Any = None,
) -> tuple[Array, ...]:
    """A state (key size, value size) for each head, updated token by token.

    The key may have as many heads as the query where these are fewer than the value's.

    Spec: https://onnx.ai/onnx/operators/onnx__LinearAttention.html
    """
    gated, delta = terms_of("LinearAttention", update_rule, decay, beta)
    s = sizes_of(query, key, value, past_state, decay, beta, q_num_heads, kv_num_heads)
    heads = (query, s.query_heads), (key, s.key_heads), (value, s.heads)
    q, k, v = (split_heads(xp, widened(x), count, "LinearAttention") for x, count in heads)
    k = xp.repeat(k, s.heads // s.key_heads, axis=1)
    q = shared_queries(xp, q * (scale or 1 / math.sqrt(max(1, s.size))), s.heads)
    factors = xp.exp(_gate(xp, decay, s.heads)) if gated else None
    rates = _gate(xp, beta, s.heads) if delta else None
    state = xp.zeros((s.batch, s.heads, s.size, s.value_size), v.dtype) if past_state is None else past_state.astype(v.dtype)
    result = xp.empty((*q.shape[:4], s.value_size), v.dtype)
    for t, (output, _, new_state) in enumerate(recurrence(xp, q, k, v, state, factors, rates)):
        result[:, :, :, t], state = output, new_state
    joined = join_heads(xp, result.reshape(s.batch, q.shape[1] * q.shape[2], s.length, s.value_size))
    outs = out if isinstance(out, tuple) else (out, None)
    state_dtype = value.dtype if past_state is None else past_state.dtype
    return (stored(xp, joined, query.dtype, outs[0]), stored(xp, state, state_dtype, outs[1]))[:output_count]


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
