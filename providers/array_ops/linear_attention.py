"""LinearAttention with its gates, and SwiGLU: layers of hybrid language models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
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


@dataclass(frozen=True, slots=True)
class Tokens:
    """What states are updated by, and what reads them.

    Attributes:
        query: (batch, T, query heads, K); fewer heads than the value's serve several of them, and more share a state.
        key: (batch, T, key heads, K), each of which serves as many heads.
        value: (batch, T, heads, V).
        decay: logarithms of what is left of the state, (batch, T, heads or 1, K or 1), or None for all.
        rate: update rates of the delta rule, (batch, T, heads or 1), or None for plain addition.
        scale: of what queries read.
    """

    query: Array
    key: Array
    value: Array
    decay: Array | None
    rate: Array | None
    scale: float


Recurrence = Callable[..., tuple[Array, Array, Array | None]]
"""`recurred(xp, tokens, past, y, present, wants_updates)`, as `stepwise`."""


def stepwise(
    xp: Any, tokens: Tokens, past: Array | None, y: Array | None = None, present: Array | None = None, wants_updates: bool = False
) -> tuple[Array, Array, Array | None]:
    """What queries read (batch, T, heads, V), the last states (batch, heads, K, V), and what was added for the keys (batch, T, heads, V).

    Args:
        xp: array module.
        tokens: step by step.
        past: states before the first step, or None for zeros.
        y: memory for what queries read.
        present: memory for the last states.
        wants_updates: whether what is added is asked for.
    """
    q, k, v = (xp.swapaxes(widened(x), 1, 2) for x in (tokens.query, tokens.key, tokens.value))
    batch, heads, length, value_size = v.shape
    queries = max(1, q.shape[1] // heads)
    if q.shape[1] < heads:
        q = xp.repeat(q, heads // q.shape[1], axis=1)
    q = (q * tokens.scale).reshape(batch, heads, queries, length, q.shape[3])
    k = xp.repeat(k, heads // k.shape[1], axis=1)
    factors = None if tokens.decay is None else xp.swapaxes(xp.exp(widened(tokens.decay)), 1, 2)
    rates = None if tokens.rate is None else xp.swapaxes(widened(tokens.rate), 1, 2)[..., None]
    state = xp.zeros((batch, heads, q.shape[4], value_size), v.dtype) if past is None else past.astype(v.dtype)
    result = xp.empty((batch, length, heads, queries, value_size), v.dtype)
    updates = xp.empty((batch, length, heads, value_size), v.dtype)
    for t in range(length):
        if factors is not None:
            state = state * factors[:, :, t][..., None]
        update = v[:, :, t]
        if rates is not None:
            update = (update - xp.matmul(k[:, :, t][:, :, None], state)[:, :, 0]) * rates[:, :, t]
        state = state + k[:, :, t][..., None] * update[:, :, None]
        result[:, t], updates[:, t] = xp.matmul(q[:, :, :, t], state), update
    read = result.reshape(batch, length, heads * queries, value_size)
    state_dtype = (tokens.value if past is None else past).dtype
    return stored(xp, read, tokens.query.dtype, y), stored(xp, state, state_dtype, present), updates if wants_updates else None


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


def _in_heads(x: Array, heads: int) -> Array:
    """(batch, T, heads, features)."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads)


def windowed(operation: Operation) -> str | None:
    """Which of com.microsoft's additions the node asks for, that is not implemented."""
    return "with state_window is not implemented" if operation.attributes.get("state_window") else None


def linear_attention(
    recurred: Recurrence,
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
    tokens = Tokens(
        _in_heads(query, s.query_heads),
        _in_heads(key, s.key_heads),
        _in_heads(value, s.heads),
        _in_heads(decay, 1 if decay.shape[2] == 1 else s.heads) if gated else None,
        beta if delta else None,
        scale or 1 / math.sqrt(max(1, s.size)),
    )
    y, present = out if isinstance(out, tuple) else (out, None)
    heads = max(s.query_heads, s.heads)
    read, state, _ = recurred(xp, tokens, past_state, None if y is None else _in_heads(y, heads), present)
    return (read.reshape(s.batch, s.length, heads * s.value_size) if y is None else y, state)[:output_count]


operator("LinearAttention", since=27, specs=linear_attention_specs)(partial(linear_attention, stepwise))
operator("LinearAttention", domain="com.microsoft", when=windowed, specs=linear_attention_specs)(partial(linear_attention, stepwise))


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
