"""Matrix products of 8-bit integers: MatMulInteger, QLinearMatMul and onnxruntime's forms of them, MatMulInteger16 among these.

The 8-bit products run in float32, exactly (see exact_sums.py). A constant right side is turned into it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.exact_sums import FLOAT, INT32, Multiply, exact_blocks, exact_product, reach
from onnxgpu.providers.array_ops.matrix_products import matmul_shape
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.prepared import Prepared
from onnxgpu.providers.array_ops.quantization import dynamic_quantize_linear, requantized
from onnxgpu.providers.array_ops.registry import operator

_MS = "com.microsoft"


def along_rows(values: Array, dtype: np.dtype) -> Array:
    """A zero point or scale of A: one for all or one a row, shaped to broadcast over the rows."""
    values = values.astype(dtype)
    return values.reshape(()) if values.size == 1 else values[..., None] if len(values.shape) == 1 else values


def along_columns(values: Array, dtype: np.dtype) -> Array:
    """A zero point or scale of B: one for all or one a column."""
    values = values.astype(dtype)
    return values.reshape(()) if values.size == 1 else values


class IntegerMatrix:
    """The right side of 8-bit products: b - b_zero in float32, and where its sums have to be cut."""

    def __init__(self, xp: Any, b: Array, b_zero: Array | None) -> None:
        self._xp = xp
        self.values = b.astype(FLOAT)
        if b_zero is not None:
            self.values -= along_columns(b_zero, FLOAT)
        self._matrix = self.values if len(b.shape) > 1 else self.values[:, None]
        self._blocks: dict[int, list[slice]] = {}

    def times(self, a: Array, a_zero: Array | None, multiply: Multiply) -> Array:
        """Exact (a - a_zero) (b - b_zero) as float32 or int32 (see `exact_product`)."""
        bound = reach(self._xp, a.dtype, a_zero)
        blocks = self._blocks.get(bound)
        if blocks is None:
            blocks = self._blocks[bound] = exact_blocks(self._xp, self._matrix, bound)
        left = a.astype(FLOAT)
        if a_zero is not None:
            left -= along_rows(a_zero, FLOAT)
        if len(self.values.shape) > 1:
            return exact_product(left, self.values, blocks, multiply)
        return exact_product(left, self._matrix, blocks, multiply)[..., 0]


def integer_product(xp: Any, a: Array, a_zero: Array | None, b: Array, b_zero: Array | None) -> Array:
    """Exact (a - a_zero) (b - b_zero) of 8-bit matrices, as float32 or int32."""
    return IntegerMatrix(xp, b, b_zero).times(a, a_zero, xp.matmul)


class IntegerProduct:
    """What the products of 8-bit matrices share: B and its zero point are read once if they are constant.

    A derived class says where they stand among the inputs, gives the specs and computes from A and the prepared B.
    """

    input_names: tuple[str, ...]
    required_inputs: int
    b_index: int
    b_zero_index: int

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._xp = xp
        self._attributes = operation.attributes
        self._right: Prepared[IntegerMatrix] = Prepared(xp, operation, (self.b_index, self.b_zero_index), self._made)

    def _made(self, b: Array, zero: Array | None) -> IntegerMatrix:
        return IntegerMatrix(self._xp, self._as_right(b), zero)

    def _as_right(self, b: Array) -> Array:
        return b

    def _multiply(self, a: Array, b: Array) -> Array:
        product: Array = self._xp.matmul(a, b)
        return product

    def _padded(self, inputs: Sequence[Value]) -> list[Value]:
        return [*inputs, *(None,) * (len(self.input_names) - len(inputs))]

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """See `onnxgpu.provider.Kernel`."""
        given = self._padded(inputs)
        given[self.b_index] = self._right.spec(self.b_index, given)
        return (self._spec(given),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None = None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        given = self._padded(inputs)
        return (self._computed(given, self._right.of(given), outputs[0] if outputs else None),)

    def _spec(self, inputs: Sequence[Value]) -> Spec:
        raise NotImplementedError

    def _computed(self, inputs: Sequence[Value], matrix: IntegerMatrix, out: Array | None) -> Array:
        raise NotImplementedError


@operator("MatMulInteger", since=10, absorbs=("b", "b_zero_point"))
class MatMulInteger(IntegerProduct):
    """Matrix product of 8-bit integers into int32. Spec: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html"""

    input_names = ("a", "b", "a_zero_point", "b_zero_point")
    required_inputs, b_index, b_zero_index = 2, 1, 3

    def _spec(self, inputs: Sequence[Value]) -> Spec:
        return Spec(matmul_shape(tuple(inputs[0].shape), tuple(inputs[1].shape), "MatMulInteger"), INT32)

    def _computed(self, inputs: Sequence[Value], matrix: IntegerMatrix, out: Array | None) -> Array:
        return stored(self._xp, matrix.times(inputs[0], inputs[2], self._multiply), INT32, out)


@operator("QLinearMatMul", since=10, absorbs=("b", "b_zero_point"))
class QLinearMatMul(IntegerProduct):
    """Matrix product of quantised tensors, requantised. Spec: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html"""

    input_names = ("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point")
    required_inputs, b_index, b_zero_index = 8, 3, 5

    def _spec(self, inputs: Sequence[Value]) -> Spec:
        return Spec(matmul_shape(tuple(inputs[0].shape), tuple(inputs[3].shape), "QLinearMatMul"), inputs[7].dtype)

    def _computed(self, inputs: Sequence[Value], matrix: IntegerMatrix, out: Array | None) -> Array:
        a, a_scale, a_zero, _, b_scale, _, y_scale, y_zero = inputs
        product = matrix.times(a, a_zero, self._multiply).astype(FLOAT, copy=False)
        factor = along_rows(a_scale, FLOAT) * along_columns(b_scale, FLOAT) / along_rows(y_scale, FLOAT)
        zero = y_zero if y_zero.size == 1 or len(y_zero.shape) > 1 else y_zero[..., None]
        return requantized(self._xp, product * factor, zero, out)


@operator("MatMulIntegerToFloat", domain=_MS, absorbs=("b", "b_zero_point"))
class MatMulIntegerToFloat(IntegerProduct):
    """Product of quantised matrices, scaled to floating point, plus bias. Spec: onnxruntime's ContribOperators.md"""

    input_names = ("a", "b", "a_scale", "b_scale", "a_zero_point", "b_zero_point", "bias")
    required_inputs, b_index, b_zero_index = 4, 1, 5

    def _spec(self, inputs: Sequence[Value]) -> Spec:
        return Spec(matmul_shape(tuple(inputs[0].shape), tuple(inputs[1].shape), "MatMulIntegerToFloat"), inputs[2].dtype)

    def _computed(self, inputs: Sequence[Value], matrix: IntegerMatrix, out: Array | None) -> Array:
        a, _, a_scale, b_scale, a_zero, _, bias = inputs
        product = matrix.times(a, a_zero, self._multiply).astype(FLOAT, copy=False)
        product = product * (along_rows(a_scale, FLOAT) * along_columns(b_scale, FLOAT))
        return stored(self._xp, product if bias is None else product + widened(bias), a_scale.dtype, out)


@operator("DynamicQuantizeMatMul", domain=_MS, absorbs=("b", "b_zero_point"))
class DynamicQuantizeMatMul(IntegerProduct):
    """A quantised to uint8 by its own range, times the quantised B, in floating point. Spec: onnxruntime's ContribOperators.md"""

    input_names = ("a", "b", "b_scale", "b_zero_point", "bias")
    required_inputs, b_index, b_zero_index = 3, 1, 3

    def _spec(self, inputs: Sequence[Value]) -> Spec:
        return Spec(matmul_shape(tuple(inputs[0].shape), tuple(inputs[1].shape), "DynamicQuantizeMatMul"), inputs[0].dtype)

    def _computed(self, inputs: Sequence[Value], matrix: IntegerMatrix, out: Array | None) -> Array:
        a, _, b_scale, _, bias = inputs
        codes, scale, zero = dynamic_quantize_linear(self._xp, a)
        product = matrix.times(codes, zero, self._multiply).astype(FLOAT, copy=False)
        product = product * (scale * along_columns(b_scale, FLOAT))
        return stored(self._xp, product if bias is None else product + bias, a.dtype, out)


@operator("QGemm", domain=_MS, absorbs=("b", "b_zero_point"))
class QGemm(IntegerProduct):
    """alpha * op(A) op(B) + C, where C is int32 in units of alpha * a_scale * b_scale; float32 if no y_scale is given.

    Spec: onnxruntime's ContribOperators.md
    """

    input_names = ("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "c", "y_scale", "y_zero_point")
    required_inputs, b_index, b_zero_index = 6, 3, 5

    def _as_right(self, b: Array) -> Array:
        return b.T if self._attributes.get("transB", 0) else b

    def _left(self, a: Array) -> Array:
        return a.T if self._attributes.get("transA", 0) else a

    def _spec(self, inputs: Sequence[Value]) -> Spec:
        a, b, y_zero = inputs[0].shape, inputs[3].shape, inputs[8]
        rows, inner = a[::-1] if self._attributes.get("transA", 0) else a
        depth, columns = b[::-1] if self._attributes.get("transB", 0) else b
        if inner != depth:
            raise InvalidArgument(f"QGemm: expected matrices that multiply, got shapes {list(a)} and {list(b)}")
        return Spec((rows, columns), FLOAT if inputs[7] is None else inputs[0].dtype if y_zero is None else y_zero.dtype)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """See `onnxgpu.provider.Kernel`.

        Raises:
            InvalidArgument: A or B is no matrix, or they do not multiply.
        """
        given = self._padded(inputs)
        ranks = [len(given[0].shape), len(self._right.spec(3, given).shape)]
        if ranks != [2, 2]:
            raise InvalidArgument(f"QGemm: expected matrices, got {ranks[0]} and {ranks[1]} axes")
        return super().outputs(inputs)

    def _computed(self, inputs: Sequence[Value], matrix: IntegerMatrix, out: Array | None) -> Array:
        a, a_scale, a_zero, _, b_scale, _, c, y_scale, y_zero = inputs
        product = matrix.times(self._left(a), a_zero, self._multiply)
        total = (product if c is None else product.astype(np.float64) + c).astype(FLOAT, copy=False)
        factor = FLOAT.type(self._attributes.get("alpha", 1.0)) * a_scale.reshape(()) * along_columns(b_scale, FLOAT)
        if y_scale is None:
            return stored(self._xp, total * factor, FLOAT, out)
        zero = self._xp.zeros((), a.dtype) if y_zero is None else y_zero
        return requantized(self._xp, total * (factor / y_scale.reshape(())), zero, out)


def _wide_specs(a: Array, b: Array) -> Spec:
    unsigned = a.dtype.kind == b.dtype.kind == "u"
    return Spec(matmul_shape(tuple(a.shape), tuple(b.shape), "MatMulInteger16"), np.dtype(np.uint32) if unsigned else INT32)


@operator("MatMulInteger16", domain=_MS, specs=_wide_specs)
def matmul_integer_16(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """Matrix product of 16-bit integers into 32 bits, which wrap. Spec: onnxruntime's ContribOperators.md

    float64 holds sums of 2**21 such products exactly.
    """
    product = xp.matmul(a.astype(np.float64), b.astype(np.float64))
    return stored(xp, product.astype(np.int64), _wide_specs(a, b).dtype, out)
