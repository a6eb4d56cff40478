"""Normalisation of groups of channels: InstanceNormalization, GroupNormalization, and onnxruntime's GroupNorm and SkipGroupNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.normalization import checked_channels
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.addresses import broadcast_to
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, FLOATS, Template, dense, whole_warps
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.rows import teams

_MS = "com.microsoft"
_PAIRS = tuple(f"{T}, {P}" for T in FLOATS for P in dict.fromkeys((T, "float")) if T != "double" or P == "double")
_FILE, _WIDE = "group_normalization.cu", ("false", "true")
HELD = Template(_FILE, "normalize_held_groups<{types}, {wide}>", "pppppppliiibbbd", types=_PAIRS, wide=_WIDE)
MOMENTS = Template(_FILE, "moments_of_groups<{T}>", "ppppllllbb", T=FLOATS)
GROUPS = Template(_FILE, "normalize_groups<{types}>", "ppppppppllllbbbbd", types=_PAIRS)

_PART_THREADS, _LEAST_SPAN, _BUSY_BLOCKS = 256, 2048, 2048
"""Threads of a block of a part of a group, elements that it has at least, and how many blocks are enough."""


def _normalize(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array,
    groups: int,
    epsilon: float,
    out: Array | None,
    *,
    skip: Array | None = None,
    before: Array | None = None,
    summed: Array | None = None,
    channels_last: int = 0,
    by_group: bool = False,
    silu: int = 0,
) -> Array:
    """Write what kernels/group_normalization.cu computes into `out`, which it gives back."""
    result = xp.empty(x.shape, x.dtype) if out is None else out
    channels = x.shape[-1] if channels_last else x.shape[1]
    if groups < 1 or channels % groups:
        raise InvalidArgument(f"GroupNormalization: expected num_groups to divide the {channels} channels, got {groups}")
    if result.size == 0:
        return result
    positions, repeats = x.size // (x.shape[0] * channels), skip is not None and skip.ndim == 2 and x.ndim > 2
    source, added, before, scale, bias = (None if v is None else dense(xp, v) for v in (x, skip, before, scale, bias))
    rows, count = x.shape[0] * groups, channels // groups * positions
    types = f"{C_TYPES[name_of(x.dtype)]}, {C_TYPES[name_of(scale.dtype)]}"
    how = teams(rows, count, source, None if repeats else added, result, summed)
    if how.fit and not channels_last:
        HELD.instance(types=types, wide=how.wide).launch(
            *(how.blocks, how.threads, source, added, before, scale, bias, result, summed),
            *(rows, count, positions, groups, by_group, bool(silu), repeats, epsilon),
        )
        return result
    span = whole_warps(-(-count // min(-(-count // _LEAST_SPAN), -(-_BUSY_BLOCKS // rows))), count)
    blocks, sizes = (rows, -(-count // span)), (span, positions, channels, groups, bool(channels_last))
    partial = xp.empty((*blocks, 2), np.float64 if x.dtype == np.float64 else np.float32)
    MOMENTS.instance(T=x.dtype).launch(blocks, _PART_THREADS, source, added, before, partial, *sizes, repeats)
    GROUPS.instance(types=types).launch(
        *(blocks, _PART_THREADS, source, added, before, scale, bias, result, summed, partial),
        *(*sizes, by_group, bool(silu), repeats, epsilon),
    )
    return result


def _refusal(operation: Operation) -> str | None:
    x, scale, bias, *others = operation.inputs
    kinds = {value.dtype for value in (x, *others) if value is not None}
    parameters = {value.dtype for value in (scale, bias) if value is not None}
    is_wide = x is not None and x.dtype == np.float64
    if len(kinds) > 1 or len(parameters) > 1 or not (parameters == kinds or (parameters == {np.dtype(np.float32)} and not is_wide)):
        return "takes parameters of one element type, the input's or float32"
    return None


@operator("InstanceNormalization", specs=like_first, types=FLOAT_NAMES, when=_refusal)
def instance_normalization(
    xp: Any, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5, consumed_inputs: Any = None, out: Array = None
) -> Array:
    """Each channel of each sample over its spatial axes. Spec: https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html"""
    checked_channels(x, (scale, bias), x.shape[1] if len(x.shape) > 1 else 0, "InstanceNormalization")
    return _normalize(xp, x, scale, bias, x.shape[1], epsilon, out)


@operator("GroupNormalization", since=18, specs=like_first, types=FLOAT_NAMES, when=_refusal)
def group_normalization_by_group(
    xp: Any, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5, out: Array = None
) -> Array:
    """With a scale and bias a group. Spec: https://onnx.ai/onnx/operators/onnx__GroupNormalization.html"""
    checked_channels(x, (scale, bias), num_groups, "GroupNormalization")
    return _normalize(xp, x, scale, bias, num_groups, epsilon, out, by_group=True)


@operator("GroupNormalization", since=21, specs=like_first, types=FLOAT_NAMES, when=_refusal)
def group_normalization(
    xp: Any, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1, out: Array = None
) -> Array:
    """With a scale and bias a channel. Spec: https://onnx.ai/onnx/operators/onnx__GroupNormalization.html"""
    checked_channels(x, (scale, bias), x.shape[1] if len(x.shape) > 1 else 0, "GroupNormalization")
    return _normalize(xp, x, scale, bias, num_groups, epsilon, out)


def _check_parameters(x: Array, gamma: Array, beta: Array, channels_last: int, name: str) -> None:
    channels = x.shape[-1] if channels_last else x.shape[1]
    if tuple(gamma.shape) != (channels,) or tuple(beta.shape) != (channels,):
        shapes = f"{list(gamma.shape)} and {list(beta.shape)}"
        raise InvalidArgument(f"{name}: expected gamma and beta of {channels} channels, got shapes {shapes}")


@operator("GroupNorm", domain=_MS, specs=like_first, types=FLOAT_NAMES, when=_refusal)
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
    """Groups of channels normalised, scaled, and (activation 1) put through SiLU. Spec: onnxruntime's ContribOperators.md"""
    _check_parameters(x, gamma, beta, channels_last, "GroupNorm")
    return _normalize(xp, x, gamma, beta, groups, epsilon, out, channels_last=channels_last, silu=activation)


def _skip_specs(x: Array, *_: Any, output_count: int = 1, **__: Any) -> tuple[Spec, ...]:
    return (Spec(tuple(x.shape), x.dtype),) * output_count


@operator("SkipGroupNorm", domain=_MS, specs=_skip_specs, types=FLOAT_NAMES, when=_refusal)
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
    """`group_norm` of x + skip + bias, and that sum; skip may also be (N, C), one number a channel. Spec: onnxruntime's operator schemas"""
    _check_parameters(x, gamma, beta, channels_last, "SkipGroupNorm")
    if skip.ndim > 2:
        skip = broadcast_to(xp, skip, x.shape)
    given = _skip_specs(x, output_count=output_count)
    outputs = tuple(xp.empty(spec.shape, spec.dtype) for spec in given) if out is None else out if isinstance(out, tuple) else (out,)
    summed = outputs[1] if output_count > 1 else None
    more = {"skip": skip, "before": bias, "summed": summed, "channels_last": channels_last, "silu": activation}
    _normalize(xp, x, gamma, beta, groups, epsilon, outputs[0], **more)
    return outputs
