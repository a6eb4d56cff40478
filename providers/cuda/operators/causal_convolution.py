"""CausalConvWithState: both outputs in one launch."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.causal_convolution import causal_conv_specs, extended
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.attention import one_type
from onnxgpu.providers.cuda.products import structure
from onnxgpu.providers.cuda.registry import operator

CONVOLUTION = Template("causal_convolution.cu", "causal_convolution<{T}>", "pppppps", T=FLOATS)


def _refusal(operation: Operation) -> str | None:
    return one_type(operation, (0, 1, 2, 3))


def _extended(operation: Operation) -> str | None:
    return extended(operation) or _refusal(operation)


@operator("CausalConvWithState", since=27, specs=causal_conv_specs, types=FLOAT_NAMES, when=_refusal)
@operator("CausalConvWithState", domain="com.microsoft", specs=causal_conv_specs, types=FLOAT_NAMES, when=_extended)
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
    """Depthwise convolution over past state and input, and the last elements of both. Spec: https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html"""
    specs = causal_conv_specs(x, weight, bias, past_state, activation=activation, channels_last=channels_last, dilation=dilation)
    given = list(out) if isinstance(out, tuple) else [out, None]
    results = [xp.empty(spec.shape, spec.dtype) if target is None else target for spec, target in zip(specs, given, strict=True)]
    channels, taps = weight.shape[0], weight.shape[2]
    length = x.shape[1 if channels_last else 2]
    sizes = (x.shape[0], channels, length, taps, dilation, (taps - 1) * dilation, int(bool(channels_last)), int(activation != "none"))
    arrays = (None if each is None else dense(xp, each) for each in (x, weight, bias, past_state))
    CONVOLUTION.instance(T=x.dtype).launch(blocks_for(sum(spec.size for spec in specs)), THREADS, *arrays, *results, structure(*sizes))
    return tuple(results[:output_count])
