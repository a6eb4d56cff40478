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
from onnxgpu.providers.cuda.addresses import broadcast_to
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, Template, dense
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.rows import teams

_CENTRED, _WIDE, _SIGNATURE = ("false", "true"), ("false", "true"), "ppppppppplid"
ROWS = Template("normalization.cu", "normalize_rows<{T}, {centred}, {wide}>", _SIGNATURE, T=FLOATS, centred=_CENTRED, wide=_WIDE)
LONG_ROWS = Template("normalization.cu", "normalize_long_rows<{T}, {centred}>", _SIGNATURE, T=FLOATS, centred=_CENTRED)

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
        if value.dtype != x.dtype:
            return "takes a scale and a bias of the input's element type"
    return _other_statistics(operation)


def _launch(
    xp: Any, x: Array, scale: Array, bias: Array | None, axis: int, epsilon: float, centred: bool, out: Array, *statistics: Array
) -> None:
    start = normalized_axis(axis, len(x.shape), "LayerNormalization")
    mean, deviation = (*statistics, None, None)[:2]
    _launch_rows(xp, (x, None, None, scale, bias), (out, None), (mean, deviation), prod(x.shape[start:]), centred, epsilon)


def _launch_rows(
    xp: Any,
    inputs: Sequence[Array | None],
    outputs: Sequence[Array | None],
    statistics: Sequence[Array | None],
    count: int,
    centred: bool,
    epsilon: float,
) -> None:
    """What kernels/normalization.cu reads and writes, in its order, for rows of `count` elements."""
    arrays = *(None if x is None else dense(xp, x) for x in inputs), *outputs
    x = arrays[0]
    if x is None or x.size == 0:
        return
    rows, choices = x.size // count, {"T": x.dtype, "centred": "true" if centred else "false"}
    how = teams(rows, count, *arrays)
    kernel = ROWS.instance(**choices, wide=how.wide) if how.fit else LONG_ROWS.instance(**choices)
    kernel.launch(how.blocks, how.threads, *arrays, *statistics, rows, count, epsilon)


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
    inputs = x, broadcast_to(xp, skip, x.shape), bias, scale, shift
    _launch_rows(xp, inputs, (result, summed), (mean, deviation), x.shape[-1], centred, epsilon)


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
