"""Einsum of two operands as one matrix product.

The axes that both operands and the result have are the product's batch, those that both have and the result has not are summed. With
axes exchanged and joined, what is left is a matrix product, which the BLAS knows; `numpy.einsum` takes it only without a batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Call, Operation, Spec, Value
from onnxgpu.providers.array_ops.matrix_products import einsum
from onnxgpu.providers.cpu.blas import matmul
from onnxgpu.providers.cpu.registry import operator
from onnxgpu.tracing import are_few, traced_launch

_PRODUCT = re.compile(r"([A-Za-z]+),([A-Za-z]+)(?:->([A-Za-z]*))?")


class Product:
    """The axes of an equation that is a product; strings of letters, one an axis.

    Attributes:
        a, b, result: as the equation has them.
        batch, left, right, summed: in both and the result, in `a` alone, in `b` alone, in both but not in the result.
    """

    def __init__(self, a: str, b: str, result: str) -> None:
        self.a, self.b, self.result = a, b, result
        self.batch = "".join(axis for axis in a if axis in b and axis in result)
        self.summed = "".join(axis for axis in a if axis in b and axis not in result)
        self.left = "".join(axis for axis in a if axis not in b)
        self.right = "".join(axis for axis in b if axis not in a)

    @staticmethod
    def of(equation: str) -> Product | None:
        """The product that the equation is, or None: other operands, an axis twice in one of them, one summed by itself, nothing summed."""
        found = _PRODUCT.fullmatch(equation.replace(" ", ""))
        if found is None:
            return None
        a, b = found[1], found[2]
        result = found[3]
        if result is None:
            result = "".join(sorted(axis for axis in {*a, *b} if (a + b).count(axis) == 1))
        if any(len(set(axes)) != len(axes) for axes in (a, b, result)) or not set(result) <= {*a, *b}:
            return None
        product = Product(a, b, result)
        return product if product.summed and set(product.left + product.right) <= set(result) else None

    def sizes(self, a: Sequence[int], b: Sequence[int]) -> dict[str, int] | None:
        """The size of each axis for operands of these shapes; None if they do not agree."""
        if len(a) != len(self.a) or len(b) != len(self.b):
            return None
        sizes = dict(zip(self.a, a, strict=True))
        if any(sizes.setdefault(axis, size) != size for axis, size in zip(self.b, b, strict=True)):
            return None
        return sizes

    def run(self, a: Array, b: Array, sizes: Mapping[str, int], out: Array) -> None:
        """Write the product into `out`."""
        batch, rows, columns, depth = (prod(sizes[axis] for axis in axes) for axes in (self.batch, self.left, self.right, self.summed))
        left = _ordered(a, self.a, self.batch + self.left + self.summed).reshape(batch, rows, depth)
        right = _ordered(b, self.b, self.batch + self.summed + self.right).reshape(batch, depth, columns)
        order = self.batch + self.left + self.right
        if order == self.result:
            self._multiply(left, right, out.reshape(batch, rows, columns))
            return
        product = np.empty_like(out, shape=(batch, rows, columns))
        self._multiply(left, right, product)
        out[...] = _ordered(product.reshape([sizes[axis] for axis in order]), order, self.result)

    @staticmethod
    def _multiply(left: Array, right: Array, out: Array) -> None:
        if are_few(out):
            np.matmul(left, right, out=out)
        elif len(out) == 1:
            matmul(left[0], right[0], out[0])
        else:
            matmul(left, right, out)


def _ordered(x: Array, axes: str, order: str) -> Array:
    """`x`, whose axes are `axes`, with them in another order."""
    exchanged: Array = x.transpose([axes.index(axis) for axis in order])
    return exchanged


def _product_only(operation: Operation) -> str | None:
    equation = operation.attributes.get("equation", "")
    return None if Product.of(equation) else f"is fast for a product of two operands, the equation is {equation!r}"


@operator("Einsum", since=12, types=frozenset({"float", "double"}), when=_product_only)
class Einsum:
    """Einsum that is one matrix product. Spec: https://onnx.ai/onnx/operators/onnx__Einsum.html"""

    input_names = ("a", "b")
    required_inputs = 2

    def __init__(self, xp: Any, operation: Operation) -> None:
        self._equation = str(operation.attributes["equation"])
        product = Product.of(self._equation)
        assert product is not None
        self._product = product

    def _sizes(self, inputs: Sequence[Value]) -> dict[str, int] | None:
        a, b = inputs
        return self._product.sizes(a.shape, b.shape) if a.dtype == b.dtype else None

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """The sizes of the result's axes; None where `numpy.einsum` is to say what it makes of these operands."""
        sizes = self._sizes(inputs)
        return None if sizes is None else (Spec(tuple(sizes[axis] for axis in self._product.result), inputs[0].dtype),)

    def workspace(self, inputs: Sequence[Value]) -> int:
        """None."""
        return 0

    def calls(self, inputs: Sequence[Value], outputs: Sequence[Spec]) -> Sequence[Call] | None:
        """See `onnxgpu.provider.InlineKernel`."""
        return traced_launch(self, inputs, outputs)

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        sizes = self._sizes(inputs)
        if outputs is None or sizes is None:
            return (einsum(np, *inputs, equation=self._equation),)
        if outputs[0].size:
            self._product.run(inputs[0], inputs[1], sizes, outputs[0])
        return outputs
