"""BatchNormalization, inference and training, in the meanings of opsets 1, 7, 9 and 14."""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.normalization import per_channel
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator


def _checked(x: Array, parameters: tuple[Array, ...], spatial: int) -> None:
    shape = tuple(x.shape)
    if not shape:
        raise InvalidArgument("BatchNormalization: expected an input of rank 1 or more, got a scalar")
    channels = shape[1] if len(shape) > 1 else 1
    expected = (channels,) if spatial else shape[1:]
    for parameter in parameters:
        if tuple(parameter.shape) != expected:
            raise InvalidArgument(
                f"BatchNormalization: expected parameters of shape {list(expected)} for an input of shape {list(shape)}, "
                f"got {list(parameter.shape)}"
            )


def _at_least(x: Array, dtype: Any) -> Array:
    return x.astype(dtype) if x.dtype.itemsize < dtype.itemsize else x


def _normalized(xp: Any, x: Array, parameters: tuple[Array, ...], epsilon: float, spatial: int) -> Array:
    wide = widened(x)
    scale, bias, mean, variance = (_at_least(widened(p), wide.dtype) for p in parameters)
    factor = scale / xp.sqrt(variance + epsilon)
    shift = bias - mean * factor
    if spatial and len(x.shape) > 1:
        factor, shift = per_channel(factor, len(x.shape)), per_channel(shift, len(x.shape))
    return wide * factor + shift


def _batch_statistics(xp: Any, x: Array, spatial: int) -> tuple[Array, Array]:
    axes = tuple(i for i in range(len(x.shape)) if i != 1) if spatial else (0,)
    wide = widened(x)
    return xp.mean(wide, axis=axes), xp.var(wide, axis=axes)


def _blend(xp: Any, running: Array, current: Array, momentum: float) -> Array:
    return stored(xp, widened(running) * momentum + current * (1 - momentum), running.dtype)


def _inference_specs(x: Array, *_: Any, output_count: int = 1, **__: Any) -> Spec | None:
    return Spec(tuple(x.shape), x.dtype, may_reuse=(0,)) if output_count == 1 else None


def _legacy(
    xp: Any, x: Array, parameters: tuple[Array, ...], epsilon: float, momentum: float, spatial: int, count: int, out: Array | None
) -> tuple[Array, ...]:
    """Opsets before 14: a node with more than one output is in training mode."""
    _checked(x, parameters, spatial)
    scale, bias, mean, variance = parameters
    if count == 1:
        return (stored(xp, _normalized(xp, x, parameters, epsilon, spatial), x.dtype, out),)
    current_mean, current_variance = _batch_statistics(xp, x, spatial)
    result = stored(xp, _normalized(xp, x, (scale, bias, current_mean, current_variance), epsilon, spatial), x.dtype)
    running = (_blend(xp, mean, current_mean, momentum), _blend(xp, variance, current_variance, momentum))
    saved = (stored(xp, current_mean, mean.dtype), stored(xp, current_variance, variance.dtype))
    return (result, *running, *saved)[:count]


@operator("BatchNormalization", since=1, specs=_inference_specs)
def batch_normalization_with_spatial(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    is_test: int = 0,
    consumed_inputs: Any = None,
    output_count: int = 1,
    out: Array = None,
) -> tuple[Array, ...]:
    """By given statistics, of a channel or (spatial=0) of each feature.

    Spec: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
    """
    return _legacy(xp, x, (scale, bias, mean, variance), epsilon, momentum, spatial, output_count, out)


@operator("BatchNormalization", since=9, specs=_inference_specs)
def batch_normalization_by_output_count(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    output_count: int = 1,
    out: Array = None,
) -> tuple[Array, ...]:
    """By given statistics of a channel. Spec: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html"""
    return _legacy(xp, x, (scale, bias, mean, variance), epsilon, momentum, 1, output_count, out)


@operator("BatchNormalization", since=14, specs=_inference_specs)
def batch_normalization(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    output_count: int = 1,
    out: Array = None,
) -> tuple[Array, ...]:
    """By given statistics, or by the batch's own in training mode. Spec: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html"""
    parameters = (scale, bias, mean, variance)
    _checked(x, parameters, 1)
    if not training_mode:
        result = stored(xp, _normalized(xp, x, parameters, epsilon, 1), x.dtype, out)
        return (result, mean, variance)[:output_count]
    current_mean, current_variance = _batch_statistics(xp, x, 1)
    result = stored(xp, _normalized(xp, x, (scale, bias, current_mean, current_variance), epsilon, 1), x.dtype, out)
    return (result, _blend(xp, mean, current_mean, momentum), _blend(xp, variance, current_variance, momentum))[:output_count]
