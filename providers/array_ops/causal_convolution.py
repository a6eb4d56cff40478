"""CausalConvWithState and VarlenCausalConvWithState: depthwise convolutions over what was and is, for step-by-step decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator

_ACTIVATIONS = ("none", "silu", "swish")


def _checked(operator_name: str, channels: int, weight: Array, dilation: int, activation: str) -> int:
    """How many elements before the present one the convolution reads."""
    if len(weight.shape) != 3 or weight.shape[:2] != (channels, 1):
        raise InvalidArgument(f"{operator_name}: expected weight ({channels}, 1, k) for {channels} channels, got {braced(weight.shape)}")
    if activation not in _ACTIVATIONS or dilation < 1:
        raise InvalidArgument(
            f"{operator_name}: expected activation to be one of {', '.join(_ACTIVATIONS)} and dilation from 1, "
            f"got {activation!r} and {dilation}"
        )
    kept: int = (weight.shape[2] - 1) * dilation
    return kept


def _finished(xp: Any, result: Array, bias: Array | None, activation: str) -> Array:
    """The sums with bias (channels last) and activation."""
    if bias is not None:
        result = result + widened(bias)
    return result if activation == "none" else result * sigmoid(xp, result)


def extended(operation: Operation) -> str | None:
    """Which of com.microsoft's additions the node asks for, that is not implemented."""
    given = operation.attributes
    for name in ("state_window", "state_length", "state_update_capacity", "input_channels", "input_channel_offset"):
        if given.get(name):
            return f"with {name} is not implemented"
    if given.get("ndim", 1) != 1 or given.get("state_channels_last", -1) != -1:
        return "with ndim above 1 or state_channels_last is not implemented"
    return "with output state_update is not implemented" if len(operation.outputs) > 2 else None


def causal_conv_specs(
    x: Array,
    weight: Array,
    bias: Array = None,
    past_state: Array = None,
    *,
    activation: str = "none",
    channels_last: int = 0,
    dilation: int = 1,
    output_count: int = 2,
    **_: Any,
) -> Sequence[Spec]:
    """The input's shape, and that of the states."""
    if len(x.shape) < 3 or (len(x.shape) > 3 and not channels_last):
        raise InvalidArgument(f"CausalConvWithState: expected input (batch, channels, length), got {braced(x.shape)}")
    channels = math.prod(x.shape[2:]) if channels_last else x.shape[1]
    kept = _checked("CausalConvWithState", channels, weight, dilation, activation)
    expected = (x.shape[0], kept, *x.shape[2:]) if channels_last else (x.shape[0], channels, kept)
    if past_state is not None and tuple(past_state.shape) != expected:
        raise InvalidArgument(f"CausalConvWithState: expected past_state of shape {braced(expected)}, got {braced(past_state.shape)}")
    return (Spec(tuple(x.shape), x.dtype), Spec(expected, x.dtype))[:output_count]


@operator("CausalConvWithState", since=27, specs=causal_conv_specs)
@operator("CausalConvWithState", domain="com.microsoft", when=extended, specs=causal_conv_specs)
def causal_conv_with_state(
    xp: Any,
    x: Array,
    weight: Array,
    bias: Array = None,
    past_state: Array = None,
    *,
    activation: str = "none",
    channels_last: int = 0,
    dilation: int = 1,
    input_channel_offset: int = 0,
    input_channels: int = 0,
    ndim: int = 1,
    state_channels_last: int = -1,
    state_length: int = 0,
    state_update_capacity: int = 0,
    state_window: int = 0,
    output_count: int = 2,
    out: Any = None,
) -> tuple[Array, ...]:
    """Depthwise convolution over past state and input; also the last (k - 1) * dilation elements.

    Shapes: (batch, channels, length), or (batch, length, channels…) with `channels_last`; the state has the same layout.

    Spec: https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html
    """
    (_, state) = causal_conv_specs(x, weight, bias, past_state, activation=activation, channels_last=channels_last, dilation=dilation)
    batch, axis = x.shape[0], 1 if channels_last else 2
    channels, length, kept = math.prod(x.shape[2:]) if channels_last else x.shape[1], x.shape[axis], state.shape[axis]
    before = xp.zeros(state.shape, x.dtype) if past_state is None else past_state
    source = xp.concatenate((before, x), axis=axis)
    last = source.reshape(batch, kept + length, channels) if channels_last else xp.swapaxes(source, 1, 2)
    wide, taps = widened(last), widened(weight)[:, 0]
    result = xp.zeros((batch, length, channels), wide.dtype)
    for tap in range(weight.shape[2]):
        result += wide[:, tap * dilation : tap * dilation + length] * taps[:, tap]
    result = _finished(xp, result, bias, activation)
    result = result.reshape(x.shape) if channels_last else xp.swapaxes(result, 1, 2)
    present = source[:, length:] if channels_last else source[:, :, length:]
    outs = out if isinstance(out, tuple) else (out, None)
    present = present.copy() if outs[1] is None else stored(xp, present, x.dtype, outs[1])
    return (stored(xp, result, x.dtype, outs[0]), present)[:output_count]


def _dynamic(operation: Operation) -> str | None:
    return "with kernel_delta is not implemented" if any(value is not None for value in operation.inputs[6:]) else None


@operator("VarlenCausalConvWithState", domain="com.microsoft", when=_dynamic)
def varlen_causal_conv_with_state(
    xp: Any,
    x: Array,
    weight: Array,
    cumulative_sequence_length: Array,
    bias: Array = None,
    initial_state: Array = None,
    capture_count: Array = None,
    kernel_delta: Array = None,
    previous_mask: Array = None,
    *,
    activation: str = "none",
    delta_offset: int = 0,
    dilation: int = 1,
    group_size: int = 1,
    state_update_capacity: int = 0,
    output_count: int = 2,
) -> tuple[Array, ...]:
    """The convolution over sequences of any lengths, packed one behind the other: tokens (total, channels).

    Also each sequence's state (batch, channels, kept) after its last token, and its first tokens
    (batch, state_update_capacity, channels) as far as `capture_count` asks for them.

    Spec: onnxruntime's ContribOperators.md
    """
    if len(x.shape) != 2 or initial_state is None or (state_update_capacity > 0) != (capture_count is not None):
        raise InvalidArgument(
            "VarlenCausalConvWithState: expected input (tokens, channels), initial_state, and capture_count exactly with a "
            f"state_update_capacity, got input {braced(x.shape)} and capacity {state_update_capacity}"
        )
    tokens, channels = x.shape
    kept = _checked("VarlenCausalConvWithState", channels, weight, dilation, activation)
    batch = cumulative_sequence_length.shape[0] - 1
    expected = (batch, channels, kept)
    if tuple(initial_state.shape) != expected:
        raise InvalidArgument(
            f"VarlenCausalConvWithState: expected initial_state of shape {braced(expected)}, got {braced(initial_state.shape)}"
        )
    ends = cumulative_sequence_length[1:].astype(xp.int64)
    sequence = xp.searchsorted(ends, xp.arange(tokens), side="right")
    places = xp.arange(tokens) + (sequence + 1) * kept
    state_places = (ends + xp.arange(batch) * kept)[:, None] + xp.arange(kept)
    source = xp.empty((tokens + batch * kept, channels), x.dtype)
    source[places] = x
    starts = cumulative_sequence_length[:-1].astype(xp.int64)
    source[(starts + xp.arange(batch) * kept)[:, None] + xp.arange(kept)] = xp.swapaxes(initial_state, 1, 2)
    wide, taps = widened(source), widened(weight)[:, 0]
    result = xp.zeros((tokens, channels), wide.dtype)
    for tap in range(weight.shape[2]):
        result += wide[places - (kept - tap * dilation)] * taps[:, tap]
    final = xp.ascontiguousarray(xp.swapaxes(source[state_places], 1, 2))
    outputs = [stored(xp, _finished(xp, result, bias, activation), x.dtype), final]
    if output_count > 2:
        outputs.append(_first_tokens(xp, x, starts, ends, capture_count, state_update_capacity))
    return tuple(outputs[:output_count])


def _first_tokens(xp: Any, x: Array, starts: Array, ends: Array, counts: Array | None, capacity: int) -> Array:
    """The first tokens of each sequence, as many as `counts` says, zeros behind them: (batch, capacity, channels)."""
    slots = xp.arange(capacity)
    wanted = xp.zeros_like(starts) if counts is None else xp.minimum(counts, ends - starts)
    source = xp.minimum(starts[:, None] + slots, x.shape[0] - 1)
    return xp.where((slots < wanted[:, None])[..., None], x[source], xp.zeros((), x.dtype))
