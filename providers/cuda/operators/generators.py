"""ConstantOfShape, Range, EyeLike, Trilu and OneHot: arrays made of sizes and a value or two."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.gathering import one_hot_spec
from onnxgpu.providers.array_ops.generators import counted_specs, eye_specs, of_shape_specs, range_specs
from onnxgpu.providers.array_ops.host_values import braced, integer
from onnxgpu.providers.array_ops.specs import like_first
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.narrow import bits_of, takes_narrow
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.results import result_for
from onnxgpu.providers.cuda.strided import UNITS, sixteen_bytes

_COUNTED = frozenset({"int16", "int32", "int64"})

FILL = Template("generate.cu", "fill", "psl")
FLOAT_RANGE = Template("generate.cu", "float_range<{T}>", "pddl", T=FLOATS)
INTEGER_RANGE = Template("generate.cu", "integer_range<{T}>", "plll", T=[C_TYPES[name] for name in sorted(_COUNTED)])
DIAGONAL = Template("generate.cu", "diagonal<{bytes}>", "pllsl", bytes=UNITS)
TRIANGLE = Template("generate.cu", "triangle<{bytes}>", "ppbllll", bytes=UNITS)
ONE_HOT = Template("generate.cu", "one_hot<{bytes}>", "pppbblll", bytes=UNITS)


@operator("ConstantOfShape", since=9, specs=of_shape_specs, host=("sizes",))
@takes_narrow
def constant_of_shape(xp: Any, sizes: Array, *, value: Array = None, out: Array = None) -> Array:
    """One value all over. Spec: https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html"""
    spec = of_shape_specs(sizes, value=value)
    result = result_for(xp, spec, out)
    pattern = sixteen_bytes(0 if value is None else value.reshape(-1)[0], spec.dtype)
    FILL.instance().launch(blocks_for(-(-spec.nbytes // 16)), THREADS, result, pattern, spec.nbytes)
    return result


def filled(out: Array, value: Any) -> Array:
    """`out`, a dense array, with one value all over."""
    FILL.instance().launch(blocks_for(-(-out.nbytes // 16)), THREADS, out, sixteen_bytes(value, out.dtype), out.nbytes)
    return out


def _other_precision(operation: Operation) -> str | None:
    return None if operation.attributes.get("stash_type", 1) == 1 else "counts float16 and bfloat16 in float32"


@operator("Range", since=11, specs=range_specs, types=FLOAT_NAMES | _COUNTED, host=("start", "limit", "delta"), when=_other_precision)
def arange(xp: Any, start: Array, limit: Array, delta: Array, *, stash_type: int = 1, out: Array = None) -> Array:
    """start, start + delta, … below limit. Spec: https://onnx.ai/onnx/operators/onnx__Range.html"""
    result = result_for(xp, range_specs(start, limit, delta), out)
    template = INTEGER_RANGE if name_of(start.dtype) in _COUNTED else FLOAT_RANGE
    first, step = (x.reshape(-1)[0] for x in (start, delta))
    template.instance(T=start.dtype).launch(blocks_for(result.size), THREADS, result, first, step, result.size)
    return result


@operator("Range", domain="com.microsoft", specs=counted_specs, types=FLOAT_NAMES | _COUNTED, host=("start", "limit", "delta"))
def arange_counted(xp: Any, start: Array, limit: Array, delta: Array = None, *, out: Array = None) -> Array:
    """start, start + delta, … below limit; delta is 1 if it is not given. Spec: onnxruntime's ContribOperators.md"""
    return arange(xp, start, limit, np.ones((), start.dtype) if delta is None else delta, out=out)


@operator("EyeLike", since=9, specs=eye_specs, shape_only=("x",))
@takes_narrow
def eye_like(xp: Any, x: Array, *, dtype: int | None = None, k: int = 0, out: Array = None) -> Array:
    """Ones on diagonal k of a matrix like x. Spec: https://onnx.ai/onnx/operators/onnx__EyeLike.html"""
    spec = eye_specs(x, dtype=dtype)
    result = result_for(xp, spec, out)
    DIAGONAL.instance(bytes=spec.dtype.itemsize).launch(
        blocks_for(spec.size), THREADS, result, spec.shape[1], k, sixteen_bytes(1, spec.dtype), spec.size
    )
    return result


@operator("Trilu", domain="com.microsoft", specs=like_first, host=("k",))
@operator("Trilu", since=14, specs=like_first, host=("k",))
@takes_narrow
def trilu(xp: Any, x: Array, k: Array | None = None, *, upper: int = 1, out: Array = None) -> Array:
    """The elements on and above (or below) diagonal `k` of each matrix [..., N, M], zero elsewhere.

    Spec: https://onnx.ai/onnx/operators/onnx__Trilu.html
    """
    if x.ndim < 2:
        raise InvalidArgument(f"Trilu: expected an input of rank 2 or more, got shape {braced(x.shape)}")
    result, source = result_for(xp, like_first(x), out), dense(xp, bits_of(x))
    diagonal = 0 if k is None else integer(k, "Trilu", "k")
    arguments = bool(upper), *x.shape[-2:], diagonal, x.size
    TRIANGLE.instance(bytes=source.itemsize).launch(blocks_for(x.size), THREADS, source, result, *arguments)
    return result


@operator("OneHot", since=9, specs=one_hot_spec, types=frozenset({"int32", "int64", "float"}), host=("depth",))
@takes_narrow
def one_hot(xp: Any, indices: Array, depth: Array, values: Array, *, axis: int = -1, out: Array = None) -> Array:
    """`values[1]` where the position along the new `axis` is the index, else `values[0]`.

    Indices outside [-depth, depth) give `values[0]` everywhere. Spec: https://onnx.ai/onnx/operators/onnx__OneHot.html
    """
    spec = one_hot_spec(indices, depth, values, axis=axis)
    result, pair = result_for(xp, spec, out), dense(xp, bits_of(values))
    axis = normalized_axis(axis, len(spec.shape), "OneHot")
    arguments = indices.dtype.kind == "f", indices.dtype.itemsize == 8, spec.shape[axis], prod(spec.shape[axis + 1 :]), spec.size
    ONE_HOT.instance(bytes=pair.itemsize).launch(blocks_for(spec.size), THREADS, dense(xp, indices), pair, result, *arguments)
    return result
