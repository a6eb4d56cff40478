"""ComplexMul and ComplexMulConj of onnxruntime: pairs of broadcast operands, one pass."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.complex_numbers import DOMAIN, complex_product_spec
from onnxgpu.providers.cuda.generated import collapsed, strides_over
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.strided import MOST_AXES, axes_of

MULTIPLY = Template("complex_products.cu", "multiply_complex<{T}, {is_conjugate}>", "pppsl", T=FLOATS, is_conjugate=("false", "true"))


def _multiplied(xp: Any, a: Array, b: Array, is_conjugate: str, out: Array | None) -> Array:
    spec = complex_product_spec(a, b)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    left, right = dense(xp, a), dense(xp, b)
    sizes, strides = collapsed(spec.shape[:-1], [strides_over(x, spec.shape)[:-1] for x in (left, right)])
    count = result.size // 2
    MULTIPLY.instance(T=a.dtype, is_conjugate=is_conjugate).launch(
        blocks_for(count), THREADS, left, right, result, axes_of(sizes, *strides), count
    )
    return result


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if len({value.dtype for value in values}) > 1:
        return "takes operands of one element type"
    if any(value.shape is None or len(value.shape) > MOST_AXES for value in values):
        return f"needs to know that its operands have at most {MOST_AXES} dimensions"
    return None


@operator("ComplexMul", domain=DOMAIN, specs=complex_product_spec, types=FLOAT_NAMES, when=_refusal)
def complex_mul(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """A times B. Spec: onnxruntime's ContribOperators.md"""
    return _multiplied(xp, a, b, "false", out)


@operator("ComplexMulConj", domain=DOMAIN, specs=complex_product_spec, types=FLOAT_NAMES, when=_refusal)
def complex_mul_conj(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """A times the conjugate of B. Spec: onnxruntime's ContribOperators.md"""
    return _multiplied(xp, a, b, "true", out)
