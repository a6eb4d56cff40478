"""GatedDeltaNet: linear attention over packed tokens, with its gates and norms computed inside.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.linear_attention import recurrence, shared_queries, terms_of
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid, softplus
from onnxgpu.providers.array_ops.registry import operator

_NORM_EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class _Packing:
    """Which token is which element of a batch of equally long sequences.

    Attributes:
        index: token of each element, (batch, longest).
        alive: False behind a sequence's end, (batch, longest).
    """

    index: Array
    alive: Array

    def spread(self, xp: Any, x: Array) -> Array:
        """Tokens (total, heads, …) as (batch, heads, longest, …), zero behind a sequence's end."""
        found = xp.swapaxes(x[self.index], 1, 2)
        alive = self.alive[:, None].reshape(self.alive.shape[0], 1, self.alive.shape[1], *(1,) * (len(found.shape) - 3))
        return xp.where(alive, found, xp.zeros((), x.dtype))


def _packing(xp: Any, tokens: int, cu_seqlens: Array | None, initial_state: Array | None) -> _Packing:
    if cu_seqlens is not None:
        bounds = np.asarray(cu_seqlens, np.int64)
    elif initial_state is not None and tokens % max(1, initial_state.shape[0]) == 0:
        bounds = np.linspace(0, tokens, initial_state.shape[0] + 1).astype(np.int64)
    else:
        raise InvalidArgument(f"GatedDeltaNet: expected cu_seqlens, or initial_state of a batch that divides the {tokens} tokens")
    lengths = np.diff(bounds)
    if bounds[0] != 0 or bounds[-1] != tokens or (lengths < 0).any():
        raise InvalidArgument(f"GatedDeltaNet: expected cu_seqlens to rise from 0 to {tokens}, got {bounds.tolist()}")
    steps = np.arange(lengths.max(initial=0))
    alive = steps < lengths[:, None]
    return _Packing(xp.asarray(np.where(alive, bounds[:-1, None] + steps, 0)), xp.asarray(alive))


def _separate(query: Array, key: Array | None, value: Array | None, state: Array | None) -> tuple[Array, Array, Array]:
    """Query, key and value, each (…, heads, size)."""
    if key is not None and value is not None:
        return query, key, value
    if state is None or key is not None or value is not None:
        raise InvalidArgument("GatedDeltaNet: expected key and value, or neither and initial_state for a packed query")
    _, value_heads, value_size, size = state.shape
    rest = query.shape[-1] - value_heads * value_size
    if rest <= 0 or rest % (2 * size):
        raise InvalidArgument(
            f"GatedDeltaNet: expected packed queries, keys and values for a state of shape {braced(state.shape)}, got {braced(query.shape)}"
        )
    lead = tuple(query.shape[:-1])
    return (
        query[..., : rest // 2].reshape(*lead, -1, size),
        query[..., rest // 2 : rest].reshape(*lead, -1, size),
        query[..., rest:].reshape(*lead, value_heads, value_size),
    )


def _normalized(xp: Any, x: Array) -> Array:
    return x / xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True) + _NORM_EPSILON)


def _log_decay(xp: Any, decay: Array, a_log: Array | None, dt_bias: Array | None, activation: str, lower_bound: float) -> Array:
    """The effective decay of (total, heads, 1 or K), in log-space and float32."""
    if activation == "none":
        return decay
    if activation not in ("softplus", "qwen", "sigmoid", "kda") or a_log is None or dt_bias is None:
        raise InvalidArgument(
            f"GatedDeltaNet: expected gate_activation none, softplus or sigmoid, and a_log and dt_bias with these, got {activation!r}"
        )
    rate = xp.exp(a_log)[:, None]
    raw = decay + dt_bias.reshape(decay.shape[1], -1)
    if activation in ("softplus", "qwen"):
        return -rate * softplus(xp, raw)
    return lower_bound * sigmoid(xp, rate * raw)


@operator("GatedDeltaNet", domain="com.microsoft", host=("cu_seqlens", "state_update_active"))
def gated_delta_net(
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    cu_seqlens: Array = None,
    decay: Array = None,
    beta: Array = None,
    initial_state: Array = None,
    a_log: Array = None,
    dt_bias: Array = None,
    capture_count: Array = None,
    state_update_active: Array = None,
    *,
    beta_activation: str = "none",
    chunk_size: int = 64,
    gate_activation: str = "none",
    gate_lower_bound: float = -5.0,
    qk_l2_norm: int = 0,
    scale: float = 0.0,
    state_update_capacity: int = 0,
    update_rule: str = "gated_delta",
    output_count: int = 1,
) -> tuple[Array, ...]:
    """Outputs (tokens, value heads, V), final states (batch, value heads, V, K), and the first transitions of each sequence."""
    gated, delta = terms_of("GatedDeltaNet", update_rule, decay, beta)
    q, k, v = _separate(query, key, value, initial_state)
    lead = tuple(v.shape[:-2])
    q, k, v = (widened(x).reshape(math.prod(lead), *x.shape[-2:]) for x in (q, k, v))
    tokens, heads, value_size = v.shape
    if heads % q.shape[1] or k.shape != q.shape:
        raise InvalidArgument(
            "GatedDeltaNet: expected keys of the queries' heads, and value heads that they divide, "
            f"got {[list(x.shape) for x in (q, k, v)]}"
        )
    if qk_l2_norm:
        q, k = _normalized(xp, q), _normalized(xp, k)
    packing = _packing(xp, tokens, cu_seqlens, initial_state)
    keys = packing.spread(xp, k)
    factors = rates = None
    if gated:
        logs = _log_decay(xp, decay.astype(np.float32).reshape(tokens, heads, -1), a_log, dt_bias, gate_activation, gate_lower_bound)
        factors = xp.exp(packing.spread(xp, logs))
    if delta:
        rate = beta.astype(np.float32).reshape(tokens, heads, 1)
        rates = packing.spread(xp, sigmoid(xp, rate) if beta_activation == "sigmoid" else rate)
    queries = shared_queries(xp, packing.spread(xp, q) * (scale or 1 / math.sqrt(q.shape[2])), heads)
    batch, longest = packing.alive.shape
    state = xp.zeros((batch, heads, q.shape[2], value_size), v.dtype) if initial_state is None else xp.swapaxes(initial_state, 2, 3)
    result = xp.empty((batch, longest, heads, value_size), v.dtype)
    updates = xp.zeros((batch, max(longest, state_update_capacity), heads, value_size), v.dtype)
    shared_keys = xp.repeat(keys, heads // q.shape[1], axis=1)
    for t, (output, update, new_state) in enumerate(recurrence(xp, queries, shared_keys, packing.spread(xp, v), state, factors, rates)):
        result[:, t], updates[:, t], state = output[:, :, 0], update, new_state
    outputs = [stored(xp, result[packing.alive].reshape(*lead, heads, value_size), query.dtype)]
    outputs.append(xp.ascontiguousarray(xp.swapaxes(state, 2, 3)))
    if output_count > 2:
        if factors is None:
            factors = xp.ones((batch, heads, longest, 1), v.dtype)
        inactive = state_update_active is not None and not int(np.asarray(state_update_active).reshape(-1)[0])
        counts = xp.zeros(batch, np.int64) if inactive or capture_count is None else capture_count
        taken = (xp.arange(state_update_capacity) < counts[:, None])[..., None, None]
        parts = (xp.swapaxes(factors, 1, 2), xp.swapaxes(keys, 1, 2), updates)
        outputs.append(xp.concatenate([_first(xp, part, packing.alive, taken) for part in parts], axis=1))
    return tuple(outputs[:output_count])


def _first(xp: Any, steps: Array, alive: Array, taken: Array) -> Array:
    """The first steps of (batch, steps, heads, size), one row for each sequence, zero where they are not taken."""
    batch, capacity = taken.shape[:2]
    count = min(capacity, alive.shape[1])
    result = xp.zeros((batch, capacity, *steps.shape[2:]), steps.dtype)
    result[:, :count] = xp.where(taken[:, :count] & alive[:, :count, None, None], steps[:, :count], xp.zeros((), steps.dtype))
    return result.reshape(batch, -1)
