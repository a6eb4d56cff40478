"""Products of 8-bit matrices, their float32 products shared by this provider's threads (see `array_ops.integer_products`)."""

from __future__ import annotations

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops import integer_products, quantized_attention
from onnxgpu.providers.cpu.matmul import product
from onnxgpu.providers.cpu.narrow_matrix import MANY, NarrowMatrix
from onnxgpu.providers.cpu.registry import operator

_MS = "com.microsoft"
_ABSORBED = ("b", "b_zero_point")


class Shared(integer_products.IntegerProduct):
    """Multiplies with this provider's threads, and keeps large matrices narrow."""

    def _made(self, b: Array, zero: Array | None) -> integer_products.IntegerMatrix:
        if b.ndim == 2 and b.size >= MANY and (zero is None or zero.ndim < 2):
            return NarrowMatrix(self._as_right(b), zero)
        return super()._made(b, zero)

    def _multiply(self, a: Array, b: Array) -> Array:
        if a.ndim < 2:
            return np.asarray(np.matmul(a, b))
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        out = np.empty(shape, a.dtype)
        product(a, b, out)
        return out


@operator("MatMulInteger", since=10, absorbs=_ABSORBED)
class MatMulInteger(Shared, integer_products.MatMulInteger):
    """Spec: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html"""


@operator("QLinearMatMul", since=10, absorbs=_ABSORBED)
class QLinearMatMul(Shared, integer_products.QLinearMatMul):
    """Spec: https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html"""


@operator("MatMulIntegerToFloat", domain=_MS, absorbs=_ABSORBED)
class MatMulIntegerToFloat(Shared, integer_products.MatMulIntegerToFloat):
    """Spec: onnxruntime's ContribOperators.md"""


@operator("DynamicQuantizeMatMul", domain=_MS, absorbs=_ABSORBED)
class DynamicQuantizeMatMul(Shared, integer_products.DynamicQuantizeMatMul):
    """Spec: onnxruntime's ContribOperators.md"""


@operator("QGemm", domain=_MS, absorbs=_ABSORBED)
class QGemm(Shared, integer_products.QGemm):
    """Spec: onnxruntime's ContribOperators.md"""


@operator("QAttention", domain=_MS, absorbs=("weight", "weight_zero_point"), when=quantized_attention.unsupported)
class QAttention(Shared, quantized_attention.QAttention):
    """Spec: onnxruntime's ContribOperators.md"""
