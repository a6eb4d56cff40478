"""Products of 8-bit integers: MatMulInteger, QLinearMatMul and onnxruntime's forms of them, quantised parameters read on the device."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Operation, Spec, ValueInfo
from onnxgpu.providers.array_ops.matrix_products import matmul_shape
from onnxgpu.providers.array_ops.quantization import dynamic_quantize_linear
from onnxgpu.providers.cuda.addresses import broadcast_to
from onnxgpu.providers.cuda.generated import MOST_AXES
from onnxgpu.providers.cuda.kernels import C_TYPES, Template
from onnxgpu.providers.cuda.products import MOST_BATCHES, TILES, batches_of, strides_of, structure, tile_for
from onnxgpu.providers.cuda.registry import operator

_MS = "com.microsoft"
_BYTES = frozenset({"int8", "uint8"})
_RESULTS = ("int32", "float", "float16", "bfloat16", "uint8", "int8")
_TILES = ("MediumTile", "FlatTile")
FLOAT = np.dtype(np.float32)
INT32 = np.dtype(np.int32)

MULTIPLY = Template(
    "integer_product.cu",
    "multiply_integers<{T}, {tile}, {by_depth}>",
    "ppppsssllliii",
    T=tuple(C_TYPES[name] for name in _RESULTS),
    tile=_TILES,
    by_depth=("false", "true"),
)


def _multiply(
    xp: Any,
    a: Array,
    b: Array,
    out: Array,
    a_zero: Array | None = None,
    b_zero: Array | None = None,
    a_scale: Array | None = None,
    b_scale: Array | None = None,
    *,
    y_scale: Array | None = None,
    y_zero: Array | None = None,
    bias: Array | None = None,
    c: Array | None = None,
    alpha: float = 1.0,
) -> Array:
    """Write what kernels/integer_product.cu computes into `out`, which it gives back."""
    if out.size == 0:
        return out
    target = out
    if b.ndim == 1:
        b, target = b[:, None], target[..., None]
    if a.ndim == 1:
        a, target = a[None], target[..., None, :]
    if b.ndim == 2 and target.ndim > 2 and a.flags.c_contiguous and target.flags.c_contiguous and not any(map(_steps, (a_zero, a_scale))):
        a, target = a.reshape(-1, a.shape[-1]), target.reshape(-1, target.shape[-1])
    c = None if c is None else broadcast_to(xp, c, target.shape)
    (rows, columns), batches = target.shape[-2:], prod(target.shape[:-2])
    tile, tiles = tile_for(rows, columns, batches, is_wide=True)
    steps = (_steps(x) for x in (a_zero, b_zero, a_scale, b_scale))
    quantization = structure(a_zero, b_zero, a_scale, b_scale, y_scale, y_zero, bias, *steps, float(alpha))
    by_depth = "true" if abs(b.strides[-2]) < abs(b.strides[-1]) else "false"
    flips = (128 if x.dtype == np.int8 else 0 for x in (a, b))
    places = batches_of(a, b, c, target), strides_of(a, b, c, target)
    MULTIPLY.instance(T=out.dtype, tile=tile, by_depth=by_depth).launch(
        (tiles, 1, min(batches, MOST_BATCHES)),
        TILES[tile][2],
        a,
        b,
        c,
        target,
        *places,
        quantization,
        batches,
        rows,
        columns,
        a.shape[-1],
        *flips,
    )
    return out


def _steps(parameter: Array | None) -> int:
    """1 where there is one number a row or column, 0 where there is one for all."""
    return 0 if parameter is None or parameter.size == 1 else 1


def _when(a: int, b: int, *, rows: tuple[int, ...] = (), columns: tuple[int, ...] = (), floats: tuple[int, ...] = ()) -> Any:
    """A condition on the inputs at these positions: the operands, parameters of rows and of columns, and those that have to be float32."""

    def refusal(operation: Operation) -> str | None:
        values = [*operation.inputs, *(None,) * 9]
        if any(value is not None and (value.shape is None or len(value.shape) > MOST_AXES) for value in values):
            return f"needs to know that its operands have at most {MOST_AXES} dimensions"
        operands = values[a], values[b]
        if any(value is None or value.dtype is None or name_of(value.dtype) not in _BYTES for value in operands):
            return "takes operands of 8-bit integers"
        if any(value is not None and value.dtype != FLOAT for value in (values[i] for i in floats)):
            return "takes scales of float32"
        per_row, per_column = ([value for i in numbers if (value := values[i]) is not None] for numbers in (rows, columns))
        rows_fit = all(_one(value) or (_vector(value) and not _batched(operands[0])) for value in per_row)
        if not rows_fit or not all(_one(value) or _vector(value) for value in per_column):
            return "takes one scale and zero point for all, or one for each row of a matrix and for each column"
        return None

    return refusal


def _batched(value: ValueInfo | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) > 2


def _one(value: ValueInfo) -> bool:
    return value.shape is not None and all(size == 1 for size in value.shape)


def _vector(value: ValueInfo) -> bool:
    return value.shape is not None and len(value.shape) == 1


def _into(name: str, dtype: Callable[..., np.dtype], b: int = 1) -> Callable[..., Spec]:
    """Specs of a product whose second operand is input `b`, with the element type that `dtype` gives for the inputs."""

    def specs(*inputs: Any, **_: Any) -> Spec:
        return Spec(matmul_shape(tuple(inputs[0].shape), tuple(inputs[b].shape), name), dtype(*inputs))

    return specs


_integer_specs = _into("MatMulInteger", lambda *_: INT32)
_quantized_specs = _into("QLinearMatMul", lambda *inputs: inputs[7].dtype, 3)
_float_specs = _into("MatMulIntegerToFloat", lambda *inputs: inputs[2].dtype)
_dynamic_specs = _into("DynamicQuantizeMatMul", lambda *inputs: inputs[0].dtype)


def _empty(xp: Any, spec: Spec, out: Array | None) -> Array:
    return xp.empty(spec.shape, spec.dtype) if out is None else out


@operator("MatMulInteger", since=10, specs=_integer_specs, types=_BYTES, when=_when(0, 1, rows=(2,), columns=(3,)))
def matmul_integer(xp: Any, a: Array, b: Array, a_zero_point: Array = None, b_zero_point: Array = None, *, out: Array = None) -> Array:
    """Matrix product of 8-bit integers into int32. Spec: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html"""
    return _multiply(xp, a, b, _empty(xp, _integer_specs(a, b), out), a_zero_point, b_zero_point)


def _qlinear_refusal(operation: Operation) -> str | None:
    zero = operation.inputs[7]
    if zero is None or not _one(zero) or zero.dtype is None or name_of(zero.dtype) not in _BYTES:
        return "gives results with one scale and zero point"
    return _when(0, 3, rows=(1, 2), columns=(4, 5), floats=(1, 4, 6))(operation)  # type: ignore[no-any-return]


@operator("QLinearMatMul", since=10, specs=_quantized_specs, types=_BYTES, when=_qlinear_refusal)
def qlinear_matmul(
    xp: Any,
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    *,
    out: Array = None,
) -> Array:
    """Matrix product of quantised tensors, quantised again. Spec: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html"""
    result = _empty(xp, _quantized_specs(a, None, None, b, None, None, None, y_zero_point), out)
    return _multiply(xp, a, b, result, a_zero_point, b_zero_point, a_scale, b_scale, y_scale=y_scale, y_zero=y_zero_point)


_TO_FLOAT = _when(0, 1, rows=(2, 4), columns=(3, 5), floats=(2, 3))


@operator("MatMulIntegerToFloat", domain=_MS, specs=_float_specs, types=_BYTES, when=_TO_FLOAT)
def matmul_integer_to_float(
    xp: Any,
    a: Array,
    b: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero_point: Array = None,
    b_zero_point: Array = None,
    bias: Array = None,
    *,
    out: Array = None,
) -> Array:
    """Product of quantised matrices, scaled to floats, plus bias. Spec: onnxruntime's ContribOperators.md"""
    result = _empty(xp, _float_specs(a, b, a_scale), out)
    return _multiply(xp, a, b, result, a_zero_point, b_zero_point, a_scale, b_scale, bias=bias)


def _dynamic_refusal(operation: Operation) -> str | None:
    inputs = [*operation.inputs, *(None,) * 5]
    b = inputs[1]
    if b is None or b.dtype is None or name_of(b.dtype) not in _BYTES or b.shape is None:
        return "takes weights of 8-bit integers"
    if any(value is not None and not _one(value) and not _vector(value) for value in (inputs[2], inputs[3])):
        return "takes one scale and zero point for all weights, or one for each column"
    return None


@operator("DynamicQuantizeMatMul", domain=_MS, specs=_dynamic_specs, types=frozenset({"float"}), when=_dynamic_refusal)
def dynamic_quantize_matmul(
    xp: Any, a: Array, b: Array, b_scale: Array, b_zero_point: Array = None, bias: Array = None, *, out: Array = None
) -> Array:
    """A quantised to uint8 by its own range, times the quantised B, in floats. Spec: onnxruntime's ContribOperators.md"""
    codes, scale, zero = dynamic_quantize_linear(xp, a)
    return _multiply(xp, codes, b, _empty(xp, _dynamic_specs(a, b), out), zero, b_zero_point, scale, b_scale, bias=bias)


def _qgemm_specs(a: Array, a_scale: Array, a_zero: Array, b: Array, *parameters: Array | None, **attributes: Any) -> Spec:
    _, _, _, y_scale, y_zero = (*parameters, None, None, None)[:5]
    rows = a.shape[1] if attributes.get("transA") else a.shape[0]
    columns = b.shape[0] if attributes.get("transB") else b.shape[1]
    return Spec((rows, columns), FLOAT if y_scale is None else a.dtype if y_zero is None else y_zero.dtype)


def _qgemm_refusal(operation: Operation) -> str | None:
    a, b = operation.inputs[0], operation.inputs[3]
    if a is None or b is None or a.shape is None or b.shape is None or len(a.shape) != 2 or len(b.shape) != 2:
        return "takes matrices"
    if a.shape[0 if operation.attributes.get("transA") else 1] != b.shape[1 if operation.attributes.get("transB") else 0]:
        return "takes matrices that multiply"
    return _when(0, 3, columns=(4, 5), floats=(1, 4, 7))(operation)  # type: ignore[no-any-return]


@operator("QGemm", domain=_MS, specs=_qgemm_specs, types=_BYTES, when=_qgemm_refusal)
def qgemm(
    xp: Any,
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    c: Array = None,
    y_scale: Array = None,
    y_zero_point: Array = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    out: Array = None,
) -> Array:
    """alpha * op(A) op(B) + C, C in units of alpha * a_scale * b_scale; floats without y_scale. Spec: onnxruntime's ContribOperators.md"""
    specs = _qgemm_specs(a, a_scale, a_zero_point, b, b_scale, b_zero_point, c, y_scale, y_zero_point, transA=transA, transB=transB)
    left, right = a.T if transA else a, b.T if transB else b
    quantization = {"y_scale": y_scale, "y_zero": y_zero_point, "c": c, "alpha": alpha}
    return _multiply(xp, left, right, _empty(xp, specs, out), a_zero_point, b_zero_point, a_scale, b_scale, **quantization)
