"""LinearAttention and GatedDeltaNet: states in registers, in which time goes on within a launch."""

from __future__ import annotations

from functools import partial
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.gated_delta_net import gated_delta_net, gated_delta_net_specs
from onnxgpu.providers.array_ops.linear_attention import Tokens, linear_attention, linear_attention_specs, stepwise, windowed
from onnxgpu.providers.array_ops.precision import accumulation_dtype
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.attention import one_type
from onnxgpu.providers.cuda.products import structure
from onnxgpu.providers.cuda.registry import operator

_WARP, _COLUMNS, _THREADS = 32, 4, 128
_ROWS = (2, 4, 8)
_STATES = {
    "float": ("float", "float16", "bfloat16"),
    "double": ("double",),
    "float16": ("float16", "float"),
    "bfloat16": ("bfloat16", "float"),
}
"""Element type → those that a state may have with it."""

_PAIRS = [f"{C_TYPES[name]}, {C_TYPES[state]}" for name, states in _STATES.items() for state in states]
ATTENTION = Template("linear_attention.cu", "linear_attention<{types}, {rows}>", "ppppppppps", types=_PAIRS, rows=[*map(str, _ROWS)])

_MS = "com.microsoft"


def _refusal(operation: Operation) -> str | None:
    inputs = operation.inputs
    first, past = inputs[0], inputs[3] if len(inputs) > 3 else None
    if first is not None and first.dtype is not None and past is not None and past.dtype is not None:
        states = _STATES.get(name_of(first.dtype), ())
        if name_of(past.dtype) not in states:
            return f"takes states of {' or '.join(states)} with {name_of(first.dtype)}"
    return one_type(operation, (0, 1, 2, 4, 5))


def _windowed(operation: Operation) -> str | None:
    return windowed(operation) or _refusal(operation)


def by_kernel(
    xp: Any, tokens: Tokens, past: Array | None, y: Array | None = None, present: Array | None = None, wants_updates: bool = False
) -> tuple[Array, Array, Array | None]:
    """As `stepwise` of `array_ops`, which has keys of more than 256 features to itself."""
    (batch, steps, heads, value_size), dtype = tokens.value.shape, tokens.value.dtype
    query_heads, size = tokens.query.shape[2:]
    rows = next((n for n in _ROWS if n * _WARP >= size), None)
    if rows is None:
        return stepwise(xp, tokens, past, y, present, wants_updates)
    if y is None:
        y = xp.empty((batch, steps, max(query_heads, heads), value_size), dtype)
    if present is None:
        present = xp.empty((batch, heads, size, value_size), dtype if past is None else past.dtype)
    updates = xp.empty(tokens.value.shape, accumulation_dtype(dtype)) if wants_updates else None
    decay_heads, decay_size = (1, 1) if tokens.decay is None else tokens.decay.shape[2:]
    rate_heads = 1 if tokens.rate is None else tokens.rate.shape[2]
    sizes = (batch, steps, size, value_size, query_heads, tokens.key.shape[2], heads, decay_heads, decay_size, rate_heads)
    given = (tokens.query, tokens.key, tokens.value, tokens.decay, tokens.rate)
    arrays = [None if x is None else dense(xp, x.astype(dtype, copy=False)) for x in given]
    before = None if past is None else dense(xp, past)
    kernel = ATTENTION.instance(types=f"{C_TYPES[name_of(dtype)]}, {C_TYPES[name_of(present.dtype)]}", rows=rows)
    blocks = blocks_for(batch * heads * -(-value_size // _COLUMNS) * _WARP, _THREADS)
    kernel.launch(blocks, _THREADS, *arrays, before, y, present, updates, structure(*sizes, float(tokens.scale)))
    return y, present, updates


_attention = partial(linear_attention, by_kernel)
operator("LinearAttention", since=27, specs=linear_attention_specs, types=FLOAT_NAMES, when=_refusal)(_attention)
operator("LinearAttention", domain=_MS, specs=linear_attention_specs, types=FLOAT_NAMES, when=_windowed)(_attention)
operator("GatedDeltaNet", domain=_MS, specs=gated_delta_net_specs, types=FLOAT_NAMES, host=("cu_seqlens", "state_update_active"))(
    partial(gated_delta_net, by_kernel)
)
