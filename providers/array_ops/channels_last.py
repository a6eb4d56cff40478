"""onnxruntime's image operators on channels-last tensors (N, …, C): NhwcConv, NhwcFusedConv, NhwcMaxPool, GroupNorm, SkipGroupNorm.

Convolution weights stay (M, C / group, …). Spec: onnxruntime's ContribOperators.md, domain com.microsoft
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.convolution import convolution_windows, convolved
from onnxgpu.providers.array_ops.fused_layers import activated
from onnxgpu.providers.array_ops.normalization import per_channel, standardized
from onnxgpu.providers.array_ops.pooling import maxima
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.windows import spatial_sizes, windows_over

_DOMAIN = "com.microsoft"
Numbers = Sequence[int] | None


def channels_first(x: Array) -> Array:
    """A view of (N, …, C) as (N, C, …)."""
    rank = len(x.shape)
    return x.transpose(0, rank - 1, *range(1, rank - 1))


def channels_last(x: Array) -> Array:
    """A view of (N, C, …) as (N, …, C)."""
    return x.transpose(0, *range(2, len(x.shape)), 1)


def first_spec(x: Array) -> Spec:
    """Shape and dtype of `channels_first(x)`, from those of x."""
    return Spec((x.shape[0], x.shape[-1], *x.shape[1:-1]), x.dtype)


def _conv_specs(name: str) -> Any:
    def specs(x: Array, w: Array, *_: Any, **attributes: Any) -> Spec:
        windows = convolution_windows(name, first_spec(x), w, attributes)
        return Spec((x.shape[0], *windows.output, w.shape[0]), x.dtype)

    return specs


def _convolved(
    xp: Any, name: str, x: Array, w: Array, b: Array | None, z: Array | None, attributes: dict[str, Any], activation: str, numbers: Any
) -> Array:
    source = channels_first(widened(x))
    result = convolved(xp, source, widened(w), convolution_windows(name, source, w, attributes), attributes["group"])
    if b is not None:
        result = result + per_channel(widened(b), len(x.shape))
    if z is not None:
        result = result + channels_first(widened(z))
    return channels_last(activated(xp, result, activation, numbers))


@operator("NhwcConv", domain=_DOMAIN, specs=_conv_specs("NhwcConv"))
def nhwc_conv(
    xp: Any,
    x: Array,
    w: Array,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Numbers = None,
    group: int = 1,
    kernel_shape: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """Convolution of X (N, …, C) with W (M, C / group, …), giving (N, …, M)."""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    return stored(xp, _convolved(xp, "NhwcConv", x, w, b, None, attributes, "", ()), x.dtype, out)


@operator("NhwcFusedConv", domain=_DOMAIN, specs=_conv_specs("NhwcFusedConv"))
def nhwc_fused_conv(
    xp: Any,
    x: Array,
    w: Array,
    b: Array = None,
    z: Array = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: Numbers = None,
    group: int = 1,
    kernel_shape: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """activation(convolution + bias + z), all but the weights channels-last."""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    return stored(xp, _convolved(xp, "NhwcFusedConv", x, w, b, z, attributes, activation, activation_params), x.dtype, out)


def _pool_specs(
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
) -> Spec:
    name = "NhwcMaxPool"
    windows = windows_over(name, spatial_sizes(name, first_spec(x)), kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return Spec((x.shape[0], *windows.output, x.shape[-1]), x.dtype)


@operator("NhwcMaxPool", domain=_DOMAIN, specs=_pool_specs)
def nhwc_max_pool(
    xp: Any,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Numbers = None,
    pads: Numbers = None,
    strides: Numbers = None,
    out: Array = None,
) -> Array:
    """The greatest element of each window of X (N, …, C)."""
    name, source = "NhwcMaxPool", channels_first(x)
    windows = windows_over(name, spatial_sizes(name, source), kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return stored(xp, channels_last(maxima(xp, source, windows)), x.dtype, out)


def _normalized(xp: Any, x: Array, gamma: Array, beta: Array, groups: int, epsilon: float, activation: int, last: int, name: str) -> Array:
    """Group normalisation of `x`, in its accumulation dtype, with the layout that `last` says."""
    channels = x.shape[-1 if last else 1]
    if groups < 1 or channels % groups or tuple(gamma.shape) != (channels,) or tuple(beta.shape) != (channels,) or activation not in (0, 1):
        raise InvalidArgument(
            f"{name}: expected groups that divide {channels} channels, gamma and beta of shape [{channels}] and activation 0 or 1, "
            f"got {groups}, {list(gamma.shape)}, {list(beta.shape)} and {activation}"
        )
    first = channels_first(x) if last else x
    result = standardized(xp, first.reshape(x.shape[0], groups, -1), (2,), epsilon)[0].reshape(first.shape)
    result = result * per_channel(widened(gamma), len(x.shape)) + per_channel(widened(beta), len(x.shape))
    if activation:
        result = result * sigmoid(xp, result)
    return channels_last(result) if last else result


def _like(x: Array, *_: Any, **__: Any) -> Spec:
    return Spec(tuple(x.shape), x.dtype)


@operator("GroupNorm", domain=_DOMAIN, specs=_like)
def group_norm(
    xp: Any,
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
    groups: int,
    out: Array = None,
) -> Array:
    """Groups of channels normalised, scaled, and (activation 1) put through SiLU."""
    result = _normalized(xp, widened(x), gamma, beta, groups, epsilon, activation, channels_last, "GroupNorm")
    return stored(xp, result, x.dtype, out)


def _skip_specs(x: Array, *_: Any, output_count: int = 1, **__: Any) -> tuple[Spec, ...]:
    return (_like(x),) * output_count


@operator("SkipGroupNorm", domain=_DOMAIN, specs=_skip_specs)
def skip_group_norm(
    xp: Any,
    x: Array,
    gamma: Array,
    beta: Array,
    skip: Array,
    bias: Array = None,
    *,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
    groups: int,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """`group_norm` of x + skip + bias, and that sum; skip may also be (N, C), one number a channel."""
    rank = len(x.shape)
    added = widened(skip)
    if len(skip.shape) == 2:
        added = added.reshape(skip.shape[0], *(1,) * (rank - 2), -1) if channels_last else added.reshape(*skip.shape, *(1,) * (rank - 2))
    total = widened(x) + added
    if bias is not None:
        total = total + (widened(bias) if channels_last else per_channel(widened(bias), rank))
    result = _normalized(xp, total, gamma, beta, groups, epsilon, activation, channels_last, "SkipGroupNorm")
    places = (out,) if output_count == 1 else out or (None, None)
    return tuple(stored(xp, value, x.dtype, place) for value, place in zip((result, total), places, strict=False))
