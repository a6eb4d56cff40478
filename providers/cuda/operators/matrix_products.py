"""MatMul and Gemm with onnxruntime's forms of them: our own kernel, which takes factors, bias and Relu with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.matrix_products import fused_matmul_operands, fused_matmul_specs, gemm_specs, matmul_shape, matmul_specs
from onnxgpu.providers.cuda.generated import evaluate
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.products import TYPES, product
from onnxgpu.providers.cuda.registry import operator

_MS = "com.microsoft"

_PLAIN = ("", "Relu", "Sigmoid", "HardSwish", "Silu", "Tanh", "Gelu", "GeluTanh")
_ARGUMENTS = {"Clip": (-inf, inf), "LeakyRelu": (0.01,), "HardSigmoid": (0.2, 0.5), "QuickGelu": (1.702,)}
"""Activations that have arguments → their defaults."""


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    return "takes operands of one element type" if len({value.dtype for value in values}) > 1 else None


def _gemm_refusal(operation: Operation) -> str | None:
    first = operation.inputs[0]
    is_whole = first is not None and first.dtype is not None and first.dtype.kind in "iu"
    if is_whole and any(operation.attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return "scales floats, not whole numbers"
    return _refusal(operation)


def activation_refusal(operation: Operation) -> str | None:
    """Why the activation that a fused node names is none of ours."""
    name = operation.attributes.get("activation") or ""
    return None if name in (*_PLAIN, *_ARGUMENTS) else f"has no activation {name!r}"


def activation_step(attributes: Mapping[str, Any], operand: str) -> str | None:
    """The activation that a fused node names, as a step of a generated kernel; None for none."""
    name = attributes.get("activation") or ""
    given = (attributes.get("activation_alpha"), attributes.get("activation_beta"))
    defaults = _ARGUMENTS.get(name, ())
    arguments = [f"={default if value is None else float(value)!r}" for value, default in zip(given, defaults, strict=False)]
    return " ".join((name, operand, *arguments)) if name else None


def finish(attributes: Mapping[str, Any], out: Array, added: Sequence[Array | None] = ()) -> None:
    """Add to `out` and apply the activation that `attributes` name, in place: one generated kernel, or none if there is nothing to do.

    Args:
        attributes: `activation`, `activation_alpha` and `activation_beta`.
        out: dense.
        added: what broadcasts to it; None adds nothing.
    """
    operands = [out, *(each for each in added if each is not None)]
    steps = [f"Add {f'%{n - 1}' if n else '0'} {n + 1}" for n in range(len(operands) - 1)]
    activation = activation_step(attributes, f"%{len(steps) - 1}" if steps else "0")
    if activation is not None:
        steps.append(activation)
    if steps:
        evaluate(steps, operands, out)


def _activate(attributes: Mapping[str, Any], out: Array) -> None:
    """The activation in place; Relu is the product's own."""
    step = None if _is_relu(attributes) else activation_step(attributes, "0")
    if step is not None:
        evaluate((step,), (out,), out)


def _is_relu(attributes: Mapping[str, Any]) -> bool:
    return bool(attributes.get("activation") == "Relu")


def _multiply(xp: Any, a: Array, b: Array, out: Array | None, **epilogue: Any) -> Array:
    """As `numpy.matmul`: operands of one axis are a row and a column."""
    result = xp.empty(matmul_shape(a.shape, b.shape), a.dtype) if out is None else out
    target = result
    if b.ndim == 1:
        b, target = b[:, None], target[..., None]
    if a.ndim == 1:
        a, target = a[None], target[..., None, :]
    product(xp, a, b, target, **epilogue)
    return result


@operator("MatMul", specs=matmul_specs, types=TYPES, when=_refusal)
def matmul(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Matrix product with broadcast batch axes. Spec: https://onnx.ai/onnx/operators/onnx__MatMul.html"""
    return _multiply(xp, a, b, out)


@operator("SparseToDenseMatMul", domain=_MS, specs=fused_matmul_specs, types=FLOAT_NAMES, when=_refusal)
@operator("TransposeMatMul", domain=_MS, specs=fused_matmul_specs, types=FLOAT_NAMES, when=_refusal)
@operator("FusedMatMul", domain=_MS, specs=fused_matmul_specs, types=FLOAT_NAMES, when=_refusal)
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
    """alpha * op(A) op(B), the transposes read where they lie. Spec: onnxruntime's ContribOperators.md"""
    flags = {"transA": transA, "transB": transB, "transBatchA": transBatchA, "transBatchB": transBatchB}
    return _multiply(xp, *fused_matmul_operands(xp, a, b, flags), out, alpha=alpha)


@operator("Gemm", specs=gemm_specs, types=TYPES, when=_gemm_refusal)
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
    return _gemm(xp, a, b, c, alpha, beta, transA, transB, {}, out)


def _gemm(
    xp: Any,
    a: Array,
    b: Array,
    c: Array | None,
    alpha: float,
    beta: float,
    transpose_a: int,
    transpose_b: int,
    attributes: Mapping[str, Any],
    out: Array | None,
) -> Array:
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    addend = c if beta else None
    return _multiply(xp, left, right, out, alpha=alpha, c=addend, beta=beta, is_relu=_is_relu(attributes))


def _fused_gemm_refusal(operation: Operation) -> str | None:
    return activation_refusal(operation) or _refusal(operation)


@operator("FusedGemm", domain=_MS, specs=gemm_specs, types=FLOAT_NAMES, when=_fused_gemm_refusal)
def fused_gemm(
    xp: Any,
    a: Array,
    b: Array,
    c: Array = None,
    *,
    activation: str | None = None,
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    out: Array = None,
) -> Array:
    """activation(alpha * op(A) op(B) + beta * C). Spec: onnxruntime's operator schemas"""
    attributes = {"activation": activation, "activation_alpha": activation_alpha, "activation_beta": activation_beta}
    result = _gemm(xp, a, b, c, alpha, beta, transA, transB, attributes, out)
    _activate(attributes, result)
    return result


def _fused_refusal(operation: Operation) -> str | None:
    attributes = operation.attributes
    if attributes.get("transBatchA") or attributes.get("transBatchB"):
        return "exchanges no batch axes"
    if len(operation.inputs) > 3 and operation.inputs[3] is not None:
        return "adds no residual"
    return activation_refusal(operation) or _refusal(operation)


@operator("FusedMatMul", domain="onnxgpu", types=FLOAT_NAMES, when=_fused_refusal)
class FusedMatMulBias:
    """activation(alpha * op(A) op(B) + bias): what `onnxgpu.fuse.matmul` makes of a product and what follows it."""

    input_names = ("a", "b", "bias", "residual")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp, self._attributes = xp, operation.attributes

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """The product's shape."""
        return (fused_matmul_specs(inputs[0], inputs[1], **self._flags()),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        a, b = fused_matmul_operands(self._xp, inputs[0], inputs[1], self._flags())
        self._write(a, b, inputs[2] if len(inputs) > 2 else None, outputs[0])
        return outputs

    def _flags(self) -> dict[str, int]:
        return {name: self._attributes.get(name, 0) for name in ("transA", "transB", "transBatchA", "transBatchB")}

    def _write(self, a: Array, b: Array, bias: Array | None, out: Array) -> None:
        alpha = float(self._attributes.get("alpha", 1.0))
        _multiply(self._xp, a, b, out, alpha=alpha, c=bias, is_relu=_is_relu(self._attributes))
        _activate(self._attributes, out)
