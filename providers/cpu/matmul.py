"""MatMul, Gemm and FusedMatMul: one call into the BLAS wherever the shapes allow it, then bias and activation in cache.

A batched left side against a matrix is one product of (batch·rows) rows, not one product a batch. A constant right
side that Gemm wants transposed is laid out once: a product with a transposed view is 5 to 40 % slower, the more so
the fewer rows there are. Transposed views of anything else go to the BLAS as they are; it reads both orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Call, Operation, Spec, Value
from onnxgpu.providers.array_ops.specs import broadcast_shapes
from onnxgpu.providers.cpu.blas import FEW_MULTIPLICATIONS, matmul
from onnxgpu.providers.cpu.epilogue import Epilogue
from onnxgpu.providers.cpu.registry import operator

FLOATS = frozenset({"float", "double"})


def product(a: Array, b: Array, out: Array) -> None:
    """out = a @ b, for arrays of two or more axes; batch axes broadcast."""
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous and a.size and out.size:
        matmul(a.reshape(-1, a.shape[-1]), b, out.reshape(-1, out.shape[-1]))
    else:
        matmul(a, b, out)


def _matrices_only(operation: Operation) -> str | None:
    for value in operation.inputs[:2]:
        if value is None or value.shape is None:
            return "is fast only where the number of axes is known"
        if len(value.shape) < 2:
            return "is fast for two or more axes, the node has an input with fewer"
    return None


def _no_batch_transposes(operation: Operation) -> str | None:
    for name in ("transBatchA", "transBatchB"):
        if operation.attributes.get(name, 0):
            return f"does not know {name}=1"
    return _matrices_only(operation)


def _matrix_shape(shape: tuple[int, ...], transposed: bool) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if transposed else tuple(shape)


class _Product:
    """op(A)·op(B)·alpha, with a constant B laid out once if it is to be transposed."""

    def __init__(self, operation: Operation) -> None:
        attributes = operation.attributes
        self._alpha = float(attributes.get("alpha", 1.0))
        self._transpose_a = bool(attributes.get("transA", 0))
        self._transpose_b = bool(attributes.get("transB", 0))
        second = operation.inputs[1]
        self._constant: Array | None = None
        if second is not None and second.constant is not None:
            values = second.constant()
            self._constant = np.ascontiguousarray(values.swapaxes(-1, -2)) if self._transpose_b else values
            if self._alpha != 1.0:
                self._constant = self._constant * values.dtype.type(self._alpha)

    def left(self, a: Array) -> Array:
        """op(A)."""
        return a.swapaxes(-1, -2) if self._transpose_a else a

    def right(self, b: Array | None) -> Array:
        """op(B)."""
        if self._constant is not None:
            return self._constant
        assert b is not None
        return b.swapaxes(-1, -2) if self._transpose_b else b

    def shape(self, inputs: Sequence[Value]) -> tuple[int, ...]:
        """The product's shape.

        Raises:
            InvalidArgument: the inner sizes differ.
        """
        a = _matrix_shape(inputs[0].shape, self._transpose_a)
        b = _matrix_shape(inputs[1].shape, self._transpose_b) if self._constant is None else self._constant.shape
        if a[-1] != b[-2]:
            raise InvalidArgument(f"a product of shapes {list(a)} and {list(b)}: the inner sizes {a[-1]} and {b[-2]} differ")
        return (*broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])

    def calls(self, inputs: Sequence[Value], out: Spec) -> list[Call] | None:
        """What `into` would call; None where there is more than a few multiplications."""
        inner = _matrix_shape(inputs[0].shape, self._transpose_a)[-1]
        if not 0 < out.size * inner <= FEW_MULTIPLICATIONS or len(out.shape) != 2:
            return None
        second = inputs[1] if self._constant is None else self._constant
        is_plain = not self._transpose_a and not (self._transpose_b and self._constant is None)
        calls: list[Call] = [(np.matmul if is_plain else self._transposed, (inputs[0], second, out))]
        if self._alpha != 1.0 and self._constant is None:
            calls.append((np.multiply, (out, np.asarray(out.dtype.type(self._alpha)), out)))
        return calls

    def _transposed(self, a: Array, b: Array, out: Array) -> None:
        np.matmul(self.left(a), self.right(b), out)

    def into(self, inputs: Sequence[Value], out: Array) -> None:
        """Compute into `out`."""
        product(self.left(inputs[0]), self.right(inputs[1]), out)
        if self._alpha != 1.0 and self._constant is None:
            np.multiply(out, out.dtype.type(self._alpha), out=out)


class _ProductKernel:
    """What the kernels of this module share."""

    input_names: tuple[str, ...] = ("a", "b")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._product = _Product(operation)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """See `onnxgpu.provider.Kernel`."""
        return (Spec(self._product.shape(inputs), inputs[0].dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None: the BLAS has its own."""
        return 0

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return self._product.calls(inputs, outputs[0])

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        self._product.into(inputs, outputs[0])
        return outputs


@operator("MatMul", types=FLOATS, when=_matrices_only)
class MatMul(_ProductKernel):
    """Matrix product over two or more axes. Spec: https://onnx.ai/onnx/operators/onnx__MatMul.html"""


@operator("FusedMatMul", domain="com.microsoft", types=FLOATS, when=_no_batch_transposes, absorbs=("b",))
class FusedMatMul(_ProductKernel):
    """alpha·op(A)·op(B). Spec: onnxruntime's ContribOperators.md, com.microsoft.FusedMatMul."""


@operator("FusedMatMul", domain="onnxgpu", types=FLOATS, when=_no_batch_transposes, absorbs=("b",))
class FusedMatMulBias(_ProductKernel):
    """activation(alpha·op(A)·op(B) + bias + residual).

    Inputs A, B, optional bias (one a column) and optional residual of the result's shape; attributes alpha, transA,
    transB, and `activation` with its arguments (see `epilogue.Epilogue`; "Gelu" is in float32 alone).
    """

    input_names = ("a", "b", "bias", "residual")

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._epilogue = Epilogue(operation.attributes)

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> None:
        """None: the epilogue is launched."""

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        out = outputs[0]
        self._product.into(inputs, out)
        _, _, bias, residual = (*inputs, None, None)[:4]
        flat = (-1, out.shape[-1])
        if out.size:
            self._epilogue.apply(
                out.reshape(flat), None if bias is None else bias.reshape(-1), None if residual is None else residual.reshape(flat)
            )
        return outputs


@operator("Gemm", since=7, types=FLOATS, when=_matrices_only, absorbs=("b",))
class Gemm(_ProductKernel):
    """alpha·op(A)·op(B) + beta·C. Spec: https://onnx.ai/onnx/operators/onnx__Gemm.html"""

    input_names = ("a", "b", "c")

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._beta = float(operation.attributes.get("beta", 1.0))
        self._epilogue = Epilogue(operation.attributes)

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        calls, out = self._product.calls(inputs, outputs[0]), outputs[0]
        addend = inputs[2] if len(inputs) > 2 else None
        if calls is None or addend is None or not self._beta:
            return calls
        if self._beta != 1.0:
            scaled = Spec(addend.shape, out.dtype)
            calls.append((np.multiply, (addend, np.asarray(out.dtype.type(self._beta)), scaled)))
            addend = scaled
        return [*calls, (np.add, (out, addend, out))]

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        assert outputs is not None
        out = outputs[0]
        self._product.into(inputs, out)
        addend = inputs[2] if len(inputs) > 2 else None
        if addend is not None and self._beta:
            np.add(out, addend if self._beta == 1.0 else addend * out.dtype.type(self._beta), out=out)
        return outputs
