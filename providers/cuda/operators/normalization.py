"""LayerNormalization and RMSNormalization, and onnxruntime's forms with an addition in front: one kernel for all."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.normalization import layer_specs, root_mean_square_specs, simplified_specs
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, Template, dense, whole_warps
from onnxgpu.providers.cuda.registry import operator

ROWS = Template("normalization.cu", "normalize_rows<{T}, {centred}>", "pppppppppid", T=FLOATS, centred=("false", "true"))

_FLOAT = np.dtype(np.float32)
_HALF_OR_SINGLE = FLOAT_NAMES - {"double"}


def _other_statistics(operation: Operation) -> str | None:
    first = operation.inputs[0]
    wide = first is not None and first.dtype == np.dtype(np.float64)
    statistics = len(operation.outputs) > 1
    if statistics and operation.attributes.get("stash_type", 1) != (11 if wide else 1):
        return "keeps mean and deviation in float32, or in float64 for inputs of float64"
    return None


def _parameters_of_a_row(operation: Operation) -> str | None:
    """The kernel reads one value of scale and bias for each element of a row; other shapes broadcast."""
    x = operation.inputs[0]
    rank = None if x is None or x.shape is None else len(x.shape)
    axis = operation.attributes.get("axis", -1)
    for value in operation.inputs[1:]:
        if value is None:
            continue
        if rank is None or value.shape is None or x is None or x.shape is None:
            return "needs to know the shapes of its parameters when the session is made"
        if tuple(value.shape) != tuple(x.shape[axis % rank if rank else 0 :]):
            return "takes a scale and a bias of the shape that is normalised"
    return _other_statistics(operation)


def _launch(
    xp: Any, x: Array, scale: Array, bias: Array | None, axis: int, epsilon: float, centred: bool, out: Array, *statistics: Array
) -> None:
    start = normalized_axis(axis, len(x.shape), "LayerNormalization")
    count = prod(x.shape[start:])
    rows = x.size // count if count else 0
    mean, deviation = (*statistics, None, None)[:2]
    kernel = ROWS.instance(T=x.dtype, centred="true" if centred else "false")
    parameters = (dense(xp, scale), None if bias is None else dense(xp, bias))
    kernel.launch(rows, whole_warps(count), dense(xp, x), None, None, *parameters, out, None, mean, deviation, count, epsilon)


@operator("LayerNormalization", since=1, specs=layer_specs, types=FLOAT_NAMES, when=_parameters_of_a_row)
def layer_normalization(
    xp: Any,
    x: Array,
    scale: Array,
    bias: Array = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Over the axes from `axis` on; also mean and inverse deviation.

    Spec: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
    """
    if out is None:
        specs = layer_specs(x, scale, bias, axis=axis, stash_type=stash_type, output_count=output_count)
        out = tuple(xp.empty(spec.shape, spec.dtype) for spec in specs)
    outputs = out if isinstance(out, tuple) else (out,)
    _launch(xp, x, scale, bias, axis, epsilon, True, *outputs)
    return outputs


@operator("RMSNormalization", since=23, specs=root_mean_square_specs, types=FLOAT_NAMES, when=_parameters_of_a_row)
def rms_normalization(
    xp: Any, x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, out: Array = None
) -> Array:
    """Over the root mean square. Spec: https://onnx.ai/onnx/operators/onnx__RMSNormalization.html"""
    result = xp.empty(x.shape, x.dtype) if out is None else out
    _launch(xp, x, scale, None, axis, epsilon, False, result)
    return result


@operator("SimplifiedLayerNormalization", domain="com.microsoft", specs=simplified_specs, types=_HALF_OR_SINGLE, when=_parameters_of_a_row)
@operator("SimplifiedLayerNormalization", specs=simplified_specs, types=_HALF_OR_SINGLE, when=_parameters_of_a_row)
def simplified_layer_normalization(
    xp: Any,
    x: Array,
    scale: Array,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Over the root mean square, and its inverse. Spec: onnxruntime's ContribOperators.md"""
    outputs = _given(xp, simplified_specs(x, scale, axis=axis, output_count=output_count), out)
    _launch(xp, x, scale, None, axis, epsilon, False, outputs[0], None, *outputs[1:])
    return outputs


def _skip_specs(x: Array, skip: Array, *vectors: Array | None, output_count: int = 1, **_: Any) -> tuple[Spec, ...]:
    row = tuple(x.shape[-1:])
    if tuple(skip.shape[-1:]) != row or any(v is not None and tuple(v.shape) != row for v in vectors):
        shapes = ", ".join(str(list(v.shape)) for v in (x, skip, *vectors) if v is not None)
        raise InvalidArgument(f"SkipLayerNormalization: expected input, skip and vectors of one last size, got shapes {shapes}")
    statistics, like = Spec((*x.shape[:-1], 1), _FLOAT), Spec(tuple(x.shape), x.dtype)
    return (like, statistics, statistics, like)[:output_count]


def _one_type(operation: Operation) -> str | None:
    return "takes inputs of one element type" if len({value.dtype for value in operation.inputs if value is not None}) > 1 else None


def _skip_launch(
    xp: Any,
    x: Array,
    skip: Array,
    bias: Array | None,
    scale: Array,
    shift: Array | None,
    epsilon: float,
    centred: bool,
    out: tuple[Array, ...],
) -> None:
    """Normalise x + skip + bias over the last axis into `out`: the result; mean, inverse deviation and sum if there is room for them."""
    result, mean, deviation, summed = (*out, None, None, None)[:4]
    count = x.shape[-1]
    kernel = ROWS.instance(T=x.dtype, centred="true" if centred else "false")
    vectors = (None if v is None else dense(xp, v) for v in (bias, scale, shift))
    sources = dense(xp, x), dense(xp, xp.broadcast_to(skip, x.shape)), *vectors
    kernel.launch(x.size // count if count else 0, whole_warps(count), *sources, result, summed, mean, deviation, count, epsilon)


@operator("SkipLayerNormalization", domain="com.microsoft", specs=_skip_specs, types=_HALF_OR_SINGLE, when=_one_type)
def skip_layer_normalization(
    xp: Any,
    x: Array,
    skip: Array,
    gamma: Array,
    beta: Array = None,
    bias: Array = None,
    *,
    epsilon: float = 1e-12,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Of input + skip + bias over the last axis; also mean, inverse deviation and the sum. Spec: onnxruntime's ContribOperators.md"""
    outputs = _given(xp, _skip_specs(x, skip, gamma, output_count=output_count), out)
    _skip_launch(xp, x, skip, bias, gamma, beta, epsilon, True, outputs)
    return outputs


@operator("SkipSimplifiedLayerNormalization", domain="com.microsoft", specs=_skip_specs, types=_HALF_OR_SINGLE, when=_one_type)
def skip_simplified_layer_normalization(
    xp: Any,
    x: Array,
    skip: Array,
    gamma: Array,
    bias: Array = None,
    *,
    epsilon: float = 1e-12,
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """RMS normalisation of input + skip + bias; also the inverse root mean square and the sum. Spec: onnxruntime's ContribOperators.md"""
    outputs = _given(xp, _skip_specs(x, skip, gamma, output_count=output_count), out)
    _skip_launch(xp, x, skip, bias, gamma, None, epsilon, False, outputs)
    return outputs


def _given(xp: Any, specs: Sequence[Spec], out: Any) -> tuple[Array, ...]:
    """The memory to write into."""
    if out is None:
        return tuple(xp.empty(spec.shape, spec.dtype) for spec in specs)
    return out if isinstance(out, tuple) else (out,)
