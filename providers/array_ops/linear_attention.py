"""LinearAttention, CausalConvWithState and SwiGLU: the recurrent layers of hybrid language models."""

from __future__ import annotations

import math
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.attention_core import join_heads, split_heads
from onnxgpu.providers.array_ops.convolution import convolved
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.array_ops.windows import windows_over

_RULES = ("linear", "gated", "delta", "gated_delta")


def _gate(xp: Any, x: Array, heads: int, length: int) -> Array:
    """Decay or update rate for each head: (batch, heads or 1, T, features or 1)."""
    return split_heads(xp, widened(x), 1 if x.shape[2] == 1 else heads, "LinearAttention")


@operator("LinearAttention", since=27)
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
    update_rule: str = "gated_delta",
) -> tuple[Array, Array]:
    """A state (key size, value size) for each head, updated token by token.

    Spec: https://onnx.ai/onnx/operators/onnx__LinearAttention.html
    """
    gated, delta = update_rule in ("gated", "gated_delta"), update_rule in ("delta", "gated_delta")
    if update_rule not in _RULES or (gated and decay is None) or (delta and beta is None):
        raise InvalidArgument(
            f"LinearAttention: expected update_rule to be one of {', '.join(_RULES)} with its decay and beta, got {update_rule!r}"
        )
    q = split_heads(xp, widened(query), q_num_heads, "LinearAttention")
    k, v = (split_heads(xp, widened(x), kv_num_heads, "LinearAttention") for x in (key, value))
    batch, _, length, size = q.shape
    q = q.reshape(batch, kv_num_heads, q_num_heads // kv_num_heads, length, size) * (scale or 1 / math.sqrt(size))
    factors = xp.exp(_gate(xp, decay, kv_num_heads, length)) if gated else None
    rates = _gate(xp, beta, kv_num_heads, length) if delta else None
    state_dtype = value.dtype if past_state is None else past_state.dtype
    state = xp.zeros((batch, kv_num_heads, size, v.shape[3]), v.dtype) if past_state is None else widened(past_state).astype(v.dtype)
    result = xp.empty((*q.shape[:4], v.shape[3]), v.dtype)
    for t in range(length):
        if factors is not None:
            state = state * factors[:, :, t][..., None]
        update = v[:, :, t]
        if rates is not None:
            update = (update - xp.matmul(k[:, :, t][:, :, None], state)[:, :, 0]) * rates[:, :, t]
        state = state + k[:, :, t][..., None] * update[:, :, None]
        result[:, :, :, t] = xp.matmul(q[:, :, :, t], state)
    output = join_heads(xp, result.reshape(batch, q_num_heads, length, v.shape[3]))
    return stored(xp, output, query.dtype), stored(xp, state, state_dtype)


@operator("CausalConvWithState", since=27)
def causal_conv_with_state(
    xp: Any, x: Array, weight: Array, bias: Array = None, past_state: Array = None, *, activation: str = "none"
) -> tuple[Array, Array]:
    """Depthwise convolution over what was and is; also the last k - 1 elements.

    Spec: https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html
    """
    if len(x.shape) != 3 or len(weight.shape) != 3 or weight.shape[:2] != (x.shape[1], 1):
        raise InvalidArgument(
            f"CausalConvWithState: expected input (batch, channels, length) and weight (channels, 1, k), "
            f"got {list(x.shape)} and {list(weight.shape)}"
        )
    if activation not in ("none", "silu", "swish"):
        raise InvalidArgument(f"CausalConvWithState: expected activation to be none, silu or swish, got {activation!r}")
    batch, channels, _ = x.shape
    kept = weight.shape[2] - 1
    before = xp.zeros((batch, channels, kept), x.dtype) if past_state is None else past_state
    source = xp.concatenate((before, x), axis=2)
    wide = widened(source)
    result = convolved(xp, wide, widened(weight), windows_over("CausalConvWithState", wide.shape[2:], weight.shape[2:]), channels)
    if bias is not None:
        result = result + per_channel(widened(bias), 3)
    if activation != "none":
        result = result * sigmoid(xp, result)
    return stored(xp, result, x.dtype), source[:, :, source.shape[2] - kept :].copy()


def _swiglu_specs(a: Array, b: Array, **_: Any) -> Spec:
    if tuple(a.shape) != tuple(b.shape):
        raise InvalidArgument(f"SwiGLU: expected inputs of one shape, got {list(a.shape)} and {list(b.shape)}")
    return like_first(a)


@operator("SwiGLU", since=28, specs=_swiglu_specs)
def swiglu(xp: Any, a: Array, b: Array, *, alpha: float = 1.0, out: Array = None) -> Array:
    """a * sigmoid(alpha * a) * b. Spec: https://onnx.ai/onnx/operators/onnx__SwiGLU.html"""
    wide = widened(a)
    return stored(xp, wide * sigmoid(xp, alpha * wide) * widened(b), a.dtype, out)
