"""MatMul, Gemm, Einsum, Det, and onnxruntime's FusedMatMul and Inverse.

float16 and bfloat16 accumulate in float32; integer products wrap around in their own type.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.precision import accumulation_dtype, stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast_shapes


def matmul_shape(a: tuple[int, ...], b: tuple[int, ...], operator_name: str = "MatMul") -> tuple[int, ...]:
    """Shape of the product of arrays of these shapes, as `numpy.matmul` defines it.

    Raises:
        InvalidArgument: an input is a scalar, or the inner sizes or the batch sizes do not fit.
    """
    if not a or not b:
        raise InvalidArgument(f"{operator_name}: expected inputs of rank 1 or more, got shapes {list(a)} and {list(b)}")
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise InvalidArgument(
            f"{operator_name}: expected inner sizes that are equal, got {a[-1]} and {inner} from shapes {list(a)} and {list(b)}"
        )
    try:
        batch = broadcast_shapes(a[:-2], b[:-2])
    except ValueError as error:
        raise InvalidArgument(f"{operator_name}: expected batch sizes that broadcast, got shapes {list(a)} and {list(b)}") from error
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def matmul_specs(a: Array, b: Array) -> Spec:
    """Of `matmul`."""
    return Spec(matmul_shape(tuple(a.shape), tuple(b.shape)), a.dtype)


@operator("MatMul", since=1, specs=matmul_specs)
def matmul(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Matrix product with broadcast batch axes. Spec: https://onnx.ai/onnx/operators/onnx__MatMul.html"""
    if accumulation_dtype(a.dtype) != a.dtype or out is None or not out.shape:
        return stored(xp, xp.matmul(widened(a), widened(b)), a.dtype, out)
    return xp.matmul(a, b, out=out)


def _gemm_shape(a: tuple[int, ...], b: tuple[int, ...], transpose_a: int, transpose_b: int, name: str) -> tuple[int, int]:
    if len(a) != 2 or len(b) != 2:
        raise InvalidArgument(f"{name}: expected matrices (rank 2), got shapes {list(a)} and {list(b)}")
    rows, inner = a[::-1] if transpose_a else a
    other, columns = b[::-1] if transpose_b else b
    if inner != other:
        raise InvalidArgument(
            f"{name}: expected inner sizes that are equal, got {inner} and {other} (transA={transpose_a}, transB={transpose_b})"
        )
    return rows, columns


def gemm_specs(a: Array, b: Array, c: Array = None, *, transA: int = 0, transB: int = 0, **_: Any) -> Spec:
    """(M, N), checked against the sizes of the inner axes and of C."""
    shape = _gemm_shape(tuple(a.shape), tuple(b.shape), transA, transB, "Gemm")
    if c is not None:
        given = tuple(c.shape)
        if len(given) > 2 or any(size not in (1, whole) for size, whole in zip(given[::-1], shape[::-1], strict=False)):
            raise InvalidArgument(f"Gemm: expected C to broadcast to {list(shape)}, got shape {list(given)}")
    return Spec(shape, a.dtype)


def scaled_product(xp: Any, a: Array, b: Array, c: Array | None, alpha: float, beta: float, transpose_a: int, transpose_b: int) -> Array:
    """alpha * a b + beta * c in the accumulation dtype, a new array."""
    left = widened(a).T if transpose_a else widened(a)
    right = widened(b).T if transpose_b else widened(b)
    product = xp.matmul(left, right)
    if alpha != 1.0:
        product = product * alpha
    if c is not None and beta != 0.0:
        bias = widened(c)
        product = product + (bias if beta == 1.0 else bias * beta)
    return product


@operator("Gemm", since=1, specs=gemm_specs)
def gemm(
    xp: Any,
    a: Array,
    b: Array,
    c: Array = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 0,
    out: Array = None,
) -> Array:
    """alpha * op(A) op(B) + beta * C. Spec: https://onnx.ai/onnx/operators/onnx__Gemm.html"""
    return stored(xp, scaled_product(xp, a, b, c, alpha, beta, transA, transB), a.dtype, out)


@operator("Einsum", since=12)
def einsum(xp: Any, *inputs: Array, equation: str) -> Array:
    """Products and sums in Einstein's notation. Spec: https://onnx.ai/onnx/operators/onnx__Einsum.html"""
    dtype = inputs[0].dtype
    try:
        result = xp.einsum(equation.replace(" ", ""), *(widened(x) for x in inputs), optimize=len(inputs) > 1)
    except ValueError as error:
        shapes = ", ".join(str(list(x.shape)) for x in inputs)
        raise InvalidArgument(f"Einsum: equation {equation!r} does not fit inputs of shapes {shapes}: {error}") from error
    return stored(xp, result, dtype)


def _det_specs(x: Array) -> Spec:
    shape = tuple(x.shape)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise InvalidArgument(f"Det: expected square matrices in the last two axes, got shape {list(shape)}")
    return Spec(shape[:-2], x.dtype)


@operator("Det", since=11, specs=_det_specs)
def det(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Determinant of each matrix. Spec: https://onnx.ai/onnx/operators/onnx__Det.html"""
    return stored(xp, xp.linalg.det(widened(x)), x.dtype, out)


def _inverse_specs(x: Array) -> Spec:
    _det_specs(x)
    return Spec(tuple(x.shape), x.dtype)


@operator("Inverse", domain="com.microsoft", specs=_inverse_specs, types=frozenset({"double", "float", "float16"}))
def inverse(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Inverse of each matrix. Spec: onnxruntime's ContribOperators.md

    Raises:
        InvalidArgument: a matrix on the host has none.
    """
    try:
        result = xp.linalg.inv(widened(x))
    except np.linalg.LinAlgError:
        raise InvalidArgument(f"Inverse: expected matrices that can be inverted, one of those of shape {list(x.shape)} cannot") from None
    return stored(xp, result, x.dtype, out)


def fused_matmul_operands(xp: Any, a: Array, b: Array, flags: dict[str, int]) -> tuple[Array, Array]:
    """The operands with their last two axes (trans*) or their batch and row axes (transBatch*) exchanged."""
    left, right = a, b
    if flags["transBatchA"]:
        left = xp.moveaxis(left, 0, -2)
    if flags["transBatchB"]:
        right = xp.moveaxis(right, 0, -2)
    if flags["transA"] and len(left.shape) > 1:
        left = left.swapaxes(-1, -2)
    if flags["transB"] and len(right.shape) > 1:
        right = right.swapaxes(-1, -2)
    return left, right


class _ShapeOnly:
    """Shape arithmetic for `fused_matmul_operands`: NumPy on arrays that own a single element."""

    @staticmethod
    def of(x: Array) -> np.ndarray:
        return np.broadcast_to(np.zeros((), np.bool_), tuple(x.shape))


def fused_matmul_specs(a: Array, b: Array, *, alpha: float = 1.0, **flags: Any) -> Spec:
    """Of `fused_matmul`."""
    left, right = fused_matmul_operands(np, _ShapeOnly.of(a), _ShapeOnly.of(b), flags)
    return Spec(matmul_shape(left.shape, right.shape, "FusedMatMul"), a.dtype)


@operator("SparseToDenseMatMul", domain="com.microsoft", specs=fused_matmul_specs)
@operator("TransposeMatMul", domain="com.microsoft", specs=fused_matmul_specs)
@operator("FusedMatMul", domain="com.microsoft", specs=fused_matmul_specs)
def fused_matmul(
    xp: Any,
    a: Array,
    b: Array,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
    out: Array = None,
) -> Array:
    """alpha * op(A) op(B), the transposes folded in; a sparse A comes in its dense form. Spec: onnxruntime's ContribOperators.md"""
    flags = {"transA": transA, "transB": transB, "transBatchA": transBatchA, "transBatchB": transBatchB}
    left, right = fused_matmul_operands(xp, widened(a), widened(b), flags)
    product = xp.matmul(left, right)
    return stored(xp, product if alpha == 1.0 else product * product.dtype.type(alpha), a.dtype, out)
