"""GatedDeltaNet: linear attention over packed tokens, with its gates and norms computed inside.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.linear_attention import Recurrence, Tokens, stepwise, terms_of
from onnxgpu.providers.array_ops.precision import accumulation_dtype, stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid, softplus
from onnxgpu.providers.array_ops.registry import operator

_NORM_EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class _Packing:
    """Which token is which element of a batch of equally long sequences.

    Attributes:
        index: token of each element, (batch, longest).
        alive: False behind a sequence's end, (batch, longest).
        places: of each token among the elements.
    """

    index: Array
    alive: Array
    places: Array

    def spread(self, xp: Any, x: Array) -> Array:
        """Tokens (total, …) as (batch, longest, …), zero behind a sequence's end."""
        return xp.where(self.alive.reshape(*self.alive.shape, *(1,) * (len(x.shape) - 1)), x[self.index], xp.zeros((), x.dtype))

    def gathered(self, x: Array) -> Array:
        """(batch, longest, …) as tokens (total, …)."""
        return x.reshape(math.prod(x.shape[:2]), *x.shape[2:])[self.places]


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
    return _Packing(xp.asarray(np.where(alive, bounds[:-1, None] + steps, 0)), xp.asarray(alive), xp.asarray(np.flatnonzero(alive)))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Of queries and keys (…, key heads, size) and of values (…, heads, value size)."""

    key_heads: int
    heads: int
    size: int
    value_size: int


def _sizes_of(query: Array, key: Array | None, value: Array | None, state: Array | None) -> _Sizes:
    if key is not None and value is not None:
        return _Sizes(query.shape[-2], value.shape[-2], query.shape[-1], value.shape[-1])
    if state is None or key is not None or value is not None:
        raise InvalidArgument("GatedDeltaNet: expected key and value, or neither and initial_state for a packed query")
    _, heads, value_size, size = state.shape
    rest = query.shape[-1] - heads * value_size
    if rest <= 0 or rest % (2 * size):
        raise InvalidArgument(
            f"GatedDeltaNet: expected packed queries, keys and values for a state of shape {braced(state.shape)}, got {braced(query.shape)}"
        )
    return _Sizes(rest // (2 * size), heads, size, value_size)


def _separate(query: Array, key: Array | None, value: Array | None, sizes: _Sizes) -> tuple[Array, Array, Array]:
    """Query, key and value, each (…, heads, size)."""
    if key is not None and value is not None:
        return query, key, value
    lead, width = tuple(query.shape[:-1]), sizes.key_heads * sizes.size
    return (
        query[..., :width].reshape(*lead, -1, sizes.size),
        query[..., width : 2 * width].reshape(*lead, -1, sizes.size),
        query[..., 2 * width :].reshape(*lead, sizes.heads, sizes.value_size),
    )


def gated_delta_net_specs(
    query: Array,
    key: Array = None,
    value: Array = None,
    cu_seqlens: Array = None,
    decay: Array = None,
    beta: Array = None,
    initial_state: Array = None,
    *_: Any,
    state_update_capacity: int = 0,
    output_count: int = 1,
    **__: Any,
) -> Sequence[Spec]:
    """(…, heads, value size), the states of each sequence, and of its first transitions one row.

    Raises:
        InvalidArgument: neither sequences nor states are given.
    """
    s = _sizes_of(query, key, value, initial_state)
    if cu_seqlens is None and initial_state is None:
        raise InvalidArgument("GatedDeltaNet: expected cu_seqlens or initial_state")
    lead = tuple(query.shape[:-1] if value is None else value.shape[:-2])
    batch = initial_state.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    of_decay = s.heads if decay is None else Spec(tuple(decay.shape), decay.dtype).size // max(1, math.prod(lead))
    row = of_decay + s.key_heads * s.size + s.heads * s.value_size
    wide = accumulation_dtype(query.dtype)
    return (
        Spec((*lead, s.heads, s.value_size), query.dtype),
        Spec((batch, s.heads, s.value_size, s.size), wide),
        Spec((batch, state_update_capacity * row), wide),
    )[:output_count]


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


def gated_delta_net(
    recurred: Recurrence,
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
    out: Any = None,
) -> tuple[Array, ...]:
    """Outputs (tokens, value heads, V), final states (batch, value heads, V, K), and the first transitions of each sequence."""
    gated, delta = terms_of("GatedDeltaNet", update_rule, decay, beta)
    q, k, v = _separate(query, key, value, _sizes_of(query, key, value, initial_state))
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
    logs = rates = None
    if gated:
        decay = decay.astype(np.float32).reshape(tokens, heads, -1)
        logs = packing.spread(xp, _log_decay(xp, decay, a_log, dt_bias, gate_activation, gate_lower_bound))
    if delta:
        rate = beta.astype(np.float32).reshape(tokens, heads)
        rates = packing.spread(xp, sigmoid(xp, rate) if beta_activation == "sigmoid" else rate)
    keys = packing.spread(xp, k)
    given = Tokens(packing.spread(xp, q), keys, packing.spread(xp, v), logs, rates, scale or 1 / math.sqrt(q.shape[2]))
    past = None if initial_state is None else xp.swapaxes(initial_state, 2, 3).astype(v.dtype, copy=False)
    result, state, updates = recurred(xp, given, past, wants_updates=output_count > 2)
    outs = [*out] if isinstance(out, tuple) else [out]
    outs += [None] * (3 - len(outs))
    outputs = [stored(xp, packing.gathered(result).reshape(*lead, heads, value_size), query.dtype, outs[0])]
    outputs.append(stored(xp, xp.ascontiguousarray(xp.swapaxes(state, 2, 3)), state.dtype, outs[1]))
    if output_count > 2:
        factors = xp.ones((*packing.alive.shape, heads, 1), v.dtype) if logs is None else xp.exp(logs)
        inactive = state_update_active is not None and not int(np.asarray(state_update_active).reshape(-1)[0])
        counts = xp.zeros(state.shape[0], np.int64) if inactive or capture_count is None else capture_count
        taken = (xp.arange(state_update_capacity) < counts[:, None])[..., None, None]
        rows = [_first(xp, part, packing.alive, taken) for part in (factors, keys, updates)]
        outputs.append(stored(xp, xp.concatenate(rows, axis=1), state.dtype, outs[2]))
    return tuple(outputs[:output_count])


def _first(xp: Any, steps: Array, alive: Array, taken: Array) -> Array:
    """The first steps of (batch, steps, heads, size), one row for each sequence, zero where they are not taken."""
    batch, capacity = taken.shape[:2]
    count = min(capacity, alive.shape[1])
    result = xp.zeros((batch, capacity, *steps.shape[2:]), steps.dtype)
    result[:, :count] = xp.where(taken[:, :count] & alive[:, :count, None, None], steps[:, :count], xp.zeros((), steps.dtype))
    return result.reshape(batch, -1)


_HOST = ("cu_seqlens", "state_update_active")
operator("GatedDeltaNet", domain="com.microsoft", specs=gated_delta_net_specs, host=_HOST)(partial(gated_delta_net, stepwise))
