"""LinearAttention: states in registers, in which time goes on within a launch."""

from __future__ import annotations

import math
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops import linear_attention as by_array_ops
from onnxgpu.providers.array_ops.linear_attention import linear_attention_specs, sizes_of, terms_of, windowed
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
ATTENTION = Template("linear_attention.cu", "linear_attention<{types}, {rows}>", "pppppppps", types=_PAIRS, rows=[*map(str, _ROWS)])

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


@operator("LinearAttention", since=27, specs=linear_attention_specs, types=FLOAT_NAMES, when=_refusal)
@operator("LinearAttention", domain=_MS, specs=linear_attention_specs, types=FLOAT_NAMES, when=_windowed)
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
    """A state for each head, updated token by token; keys of more than 256 features are left to `array_ops`.

    Spec: https://onnx.ai/onnx/operators/onnx__LinearAttention.html
    """
    inputs = (query, key, value, past_state, decay, beta)
    attributes: dict[str, Any] = {"kv_num_heads": kv_num_heads, "q_num_heads": q_num_heads, "update_rule": update_rule}
    s = sizes_of(*inputs, q_num_heads, kv_num_heads)
    rows = next((n for n in _ROWS if n * _WARP >= s.size), None)
    if rows is None:
        return by_array_ops.linear_attention(xp, *inputs, **attributes, scale=scale, output_count=output_count, out=out)
    gated, delta = terms_of("LinearAttention", update_rule, decay, beta)
    given = list(out) if isinstance(out, tuple) else [out, None]
    results = [
        xp.empty(spec.shape, spec.dtype) if target is None else target
        for spec, target in zip(linear_attention_specs(*inputs, **attributes), given, strict=True)
    ]
    used = (query, key, value, past_state, decay if gated else None, beta if delta else None)
    q, k, v, past, log_decay, rate = (None if x is None else dense(xp, x) for x in used)
    decay_heads = 1 if log_decay is None or log_decay.shape[2] == 1 else s.heads
    decay_size = 1 if log_decay is None else log_decay.shape[2] // decay_heads
    sizes = structure(
        *(s.batch, s.length, s.size, s.value_size, s.query_heads, s.key_heads, s.heads, decay_heads, decay_size),
        *(1 if rate is None else rate.shape[2], scale or 1 / math.sqrt(max(1, s.size))),
    )
    lanes = s.batch * s.heads * -(-s.value_size // _COLUMNS) * _WARP
    types = ", ".join(C_TYPES[name_of(result.dtype)] for result in results)
    kernel = ATTENTION.instance(types=types, rows=rows)
    kernel.launch(blocks_for(lanes, _THREADS), _THREADS, q, k, v, log_decay, rate, past, *results, sizes)
    return tuple(results[:output_count])
