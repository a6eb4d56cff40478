"""Attention of ai.onnx, and onnxruntime's Attention and MultiHeadAttention: one kernel for all.

What gives scores out, or has caches of a form of its own, is left to `array_ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, ValueInfo
from onnxgpu.providers.array_ops.attention_core import split_heads
from onnxgpu.providers.array_ops.contrib_attention import padding_bias, separate, with_bias
from onnxgpu.providers.array_ops.precision import accumulation_dtype, widened
from onnxgpu.providers.cuda.attention import Attend, Seen, attend, largest_head
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.operators.rotary import in_heads
from onnxgpu.providers.cuda.products import product
from onnxgpu.providers.cuda.registry import operator

_MS = "com.microsoft"
FLOAT = np.dtype(np.float32)


OPERATORS: list[tuple[str, str, int]] = []
"""Domain, name and first opset of each operator of attention."""


def attention_operator(
    name: str, domain: str = "", since: int = 1, **registration: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function whose first parameter is what attends: here our own kernel, a library's in `libraries`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        operator(name, domain=domain, since=since, **registration)(partial(function, attend))
        OPERATORS.append((domain, name, since))
        return function

    return register


def too_large(value: ValueInfo | None, heads: int | None) -> str | None:
    """Why a head is too large for the kernel: of (batch, heads, S, D), or of (batch, S, heads * D)."""
    if value is None:
        return None
    size = value.shape[-1] if value.shape else None
    if value.dtype is None or value.shape is None or not isinstance(size, int) or (len(value.shape) == 3 and not heads):
        return "needs to know the size of a head"
    size = size // (heads or 1) if len(value.shape) == 3 else size
    return f"takes heads of up to {largest_head(value.dtype)} features" if size > largest_head(value.dtype) else None


def one_type(operation: Operation, positions: Sequence[int]) -> str | None:
    """Why the inputs at these positions do not fit the kernel, which has one element type."""
    given = [operation.inputs[i] for i in positions if i < len(operation.inputs)]
    return "takes inputs of one element type" if len({value.dtype for value in given if value is not None}) > 1 else None


def _refusal(operation: Operation) -> str | None:
    attributes, inputs = operation.attributes, [*operation.inputs, *(None,) * 4]
    if len(operation.outputs) > 3:
        return "gives no scores"
    precision = attributes.get("softmax_precision")
    q, mask = inputs[0], inputs[3]
    if q is None or q.dtype is None:
        return "needs queries"
    wanted = None if precision is None else np.promote_types(accumulation_dtype(dtype_of(precision)), FLOAT)
    if wanted is not None and wanted.itemsize > accumulation_dtype(q.dtype).itemsize:
        return "computes the softmax in float32, or in float64 for inputs of float64"
    if mask is not None and mask.dtype not in (np.bool_, q.dtype, FLOAT):
        return "takes a mask of bool, of the queries' type or of float32"
    heads = attributes.get("q_num_heads"), attributes.get("kv_num_heads"), attributes.get("kv_num_heads")
    sizes = (too_large(value, count) for value, count in zip(inputs[:3], heads, strict=True))
    return next((reason for reason in sizes if reason), None) or one_type(operation, (0, 1, 2, 4, 5))


def _attention_specs(
    q: Array,
    k: Array,
    v: Array,
    mask: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    *_: Any,
    q_num_heads: int | None = None,
    kv_num_heads: int | None = None,
    output_count: int = 1,
    **__: Any,
) -> tuple[Spec, ...]:
    queries, keys, values = (_in_heads_shape(x, heads) for x, heads in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads)))
    past = 0 if past_key is None else past_key.shape[2]
    shape = (*queries[:3], values[3])
    y = Spec(shape if len(q.shape) == 4 else (shape[0], shape[2], shape[1] * shape[3]), q.dtype)
    present = (Spec((*x[:2], past + x[2], x[3]), dtype) for x, dtype in ((keys, k.dtype), (values, v.dtype)))
    return (y, *present)[:output_count]


def _in_heads_shape(x: Array, heads: int | None) -> tuple[int, ...]:
    if len(x.shape) == 4:
        return tuple(x.shape)
    if not heads or len(x.shape) != 3 or x.shape[2] % heads:
        raise InvalidArgument(
            f"Attention: expected rank 4, or rank 3 and a number of heads that divides the last size, got {list(x.shape)}"
        )
    return x.shape[0], heads, x.shape[1], x.shape[2] // heads


@attention_operator("Attention", since=23, specs=_attention_specs, types=FLOAT_NAMES, when=_refusal)
def attention(
    attend: Attend,
    xp: Any,
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    nonpad_kv_seqlen: Array = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """softmax(scale * q kᵀ + mask) v, with cached keys and values. Spec: https://onnx.ai/onnx/operators/onnx__Attention.html"""
    heads = {"q_num_heads": q_num_heads, "kv_num_heads": kv_num_heads}
    specs = _attention_specs(q, k, v, None, past_key, past_value, **heads, output_count=output_count)
    outputs = _given(xp, specs, out)
    queries = in_heads(q, q_num_heads or 1)
    present = (*outputs[1:], None, None)[:2]
    new = (in_heads(x, kv_num_heads or 1) for x in (k, v))
    keys, values = (_joined(xp, past, x, place) for past, x, place in zip((past_key, past_value), new, present, strict=True))
    lengths = None if nonpad_kv_seqlen is None else nonpad_kv_seqlen.astype(np.int64, copy=False)
    start = 0 if past_key is None else past_key.shape[2]
    if lengths is not None and past_key is None:
        start = lengths - queries.shape[2]
    right = 0 if is_causal else right_window_size
    seen = Seen(attn_mask, start, lengths, left_window_size, right, None, softcap)
    target = in_heads(outputs[0], q_num_heads or 1)
    attend(xp, queries, keys, values, target, 1 / math.sqrt(queries.shape[3]) if scale is None else scale, seen)
    return outputs


def _given(xp: Any, specs: Sequence[Spec], out: Any) -> tuple[Array, ...]:
    """The memory to write into."""
    if out is None:
        return tuple(xp.empty(spec.shape, spec.dtype) for spec in specs)
    return out if isinstance(out, tuple) else (out,)


def _joined(xp: Any, past: Array | None, new: Array, out: Array | None) -> Array:
    """The past's places and the new ones behind them, in `out` where it is given."""
    if past is None and out is None:
        return new
    length = 0 if past is None else past.shape[2]
    result = xp.empty((*new.shape[:2], length + new.shape[2], new.shape[3]), new.dtype) if out is None else out
    if past is not None:
        result[:, :, :length] = past
    result[:, :, length:] = new
    return result


def _summed(xp: Any, padding: Array | None, bias: Array | None) -> Array | None:
    """A padding mask and a bias as one mask."""
    return bias if padding is None else padding if bias is None else padding + widened(bias)


def _multi_head_refusal(operation: Operation) -> str | None:
    inputs = [*operation.inputs, *(None,) * 10]
    query, key, value = inputs[:3]
    if inputs[8] is not None or inputs[9] is not None or len(operation.outputs) > 3:
        return "takes no cache that is written in place, and gives no scores"
    if query is None or query.shape is None or any(x is not None and x.shape is None for x in (key, value)):
        return "needs to know the shapes of its inputs"
    heads = operation.attributes["num_heads"]
    return next((reason for x in (query, key, value) if (reason := too_large(x, heads))), None) or one_type(operation, (0, 1, 2, 3, 6, 7))


def _multi_head_specs(
    query: Array,
    key: Array = None,
    value: Array = None,
    bias: Array = None,
    key_padding_mask: Array = None,
    attention_bias: Array = None,
    past_key: Array = None,
    *_: Any,
    num_heads: int,
    output_count: int = 1,
    **__: Any,
) -> tuple[Spec, ...]:
    keys = query if key is None else key
    sizes = [_keys_and_size(x, num_heads) for x in (keys, keys if value is None else value)]
    start = 0 if past_key is None else past_key.shape[2]
    present = (Spec((query.shape[0], num_heads, start + count, size), query.dtype) for count, size in sizes)
    return (Spec((*query.shape[:2], num_heads * sizes[1][1]), query.dtype), *present)[:output_count]


def _keys_and_size(x: Array, heads: int) -> tuple[int, int]:
    """Number of keys and head size: of (batch, T, heads * D), of (batch, heads, T, D), or packed with others in five axes."""
    if len(x.shape) == 3:
        return x.shape[1], x.shape[2] // heads
    return (x.shape[2], x.shape[3]) if len(x.shape) == 4 else (x.shape[1], x.shape[4])


@attention_operator("MultiHeadAttention", domain=_MS, specs=_multi_head_specs, types=FLOAT_NAMES, when=_multi_head_refusal)
def multi_head_attention(
    attend: Attend,
    xp: Any,
    query: Array,
    key: Array = None,
    value: Array = None,
    bias: Array = None,
    key_padding_mask: Array = None,
    attention_bias: Array = None,
    past_key: Array = None,
    past_value: Array = None,
    past_sequence_length: Array = None,
    cache_indirection: Array = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float | None = None,
    unidirectional: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Attention of projected queries, keys and values in any of onnxruntime's layouts. Spec: onnxruntime's ContribOperators.md"""
    q, k, v = separate(xp, query, key, value, num_heads)
    if bias is not None:
        biased = with_bias(q, k, v, bias, num_heads, key is not None and len(key.shape) == 4)
        q, k, v = (x.astype(query.dtype, copy=False) for x in biased)
    start = 0 if past_key is None else past_key.shape[2]
    inputs = (query, key, value, None, None, None, past_key)
    outputs = _given(xp, _multi_head_specs(*inputs, num_heads=num_heads, output_count=output_count), out)
    places = (*outputs[1:], None, None)[:2]
    k, v = (_joined(xp, past, new, place) for past, new, place in zip((past_key, past_value), (k, v), places, strict=True))
    padding = None
    if key_padding_mask is not None:
        padding = padding_bias(xp, key_padding_mask, q.shape[0], k.shape[2], mask_filter_value, "MultiHeadAttention")
    seen = Seen(_summed(xp, padding, attention_bias), start, right=0 if unidirectional else -1)
    attend(xp, q, k, v, in_heads(outputs[0], num_heads), scale or 1 / math.sqrt(q.shape[3]), seen)
    return outputs


def _packed_refusal(operation: Operation) -> str | None:
    attributes = operation.attributes
    if attributes.get("do_rotary") or attributes.get("past_present_share_buffer"):
        return "has no rotary embedding and no shared caches"
    inputs, heads = [*operation.inputs, *(None,) * 6], attributes["num_heads"]
    weights = inputs[1]
    if weights is None or weights.shape is None or weights.dtype is None or not isinstance(weights.shape[1], int):
        return "needs to know the shape of its weights"
    sizes = attributes.get("qkv_hidden_sizes") or (weights.shape[1] // 3,)
    if max(sizes) // heads > largest_head(weights.dtype):
        return f"takes heads of up to {largest_head(weights.dtype)} features"
    return one_type(operation, (0, 1, 2, 4))


def _packed_specs(
    x: Array,
    weights: Array,
    bias: Array = None,
    mask_index: Array = None,
    past: Array = None,
    *_: Any,
    num_heads: int,
    qkv_hidden_sizes: Sequence[int] | None = None,
    output_count: int = 1,
    **__: Any,
) -> tuple[Spec, ...]:
    batch, length = x.shape[:2]
    sizes = qkv_hidden_sizes or (weights.shape[1] // 3,) * 3
    present = (2, batch, num_heads, (0 if past is None else past.shape[3]) + length, sizes[1] // num_heads)
    return (Spec((batch, length, sizes[2]), x.dtype), Spec(present, x.dtype))[:output_count]


@attention_operator("Attention", domain=_MS, specs=_packed_specs, types=FLOAT_NAMES, when=_packed_refusal)
def packed_attention(
    attend: Attend,
    xp: Any,
    x: Array,
    weights: Array,
    bias: Array = None,
    mask_index: Array = None,
    past: Array = None,
    attention_bias: Array = None,
    past_sequence_length: Array = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: Sequence[int] | None = None,
    rotary_embedding_dim: int = 0,
    scale: float | None = None,
    unidirectional: int = 0,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Self-attention from the layer's input and the packed weights of its three projections. Spec: onnxruntime's ContribOperators.md"""
    projected = xp.empty((*x.shape[:2], weights.shape[1]), x.dtype)
    product(xp, x, weights, projected, c=bias)
    first, second = (qkv_hidden_sizes or (projected.shape[2] // 3,) * 2)[:2]
    parts = (projected[..., :first], projected[..., first : first + second], projected[..., first + second :])
    q, k, v = (split_heads(xp, part, num_heads, "Attention") for part in parts)
    start = 0 if past is None else past.shape[3]
    sizes: dict[str, Any] = {"num_heads": num_heads, "qkv_hidden_sizes": qkv_hidden_sizes}
    outputs = _given(xp, _packed_specs(x, weights, None, None, past, **sizes, output_count=output_count), out)
    present = outputs[1] if output_count > 1 else (None, None)
    k, v = (_joined(xp, None if past is None else past[i], new, present[i]) for i, new in enumerate((k, v)))
    padding = None if mask_index is None else padding_bias(xp, mask_index, x.shape[0], k.shape[2], mask_filter_value, "Attention")
    seen = Seen(_summed(xp, padding, attention_bias), start, right=0 if unidirectional else -1)
    attend(xp, q, k, v, in_heads(outputs[0], num_heads), scale or 1 / math.sqrt(q.shape[3]), seen)
    return outputs
