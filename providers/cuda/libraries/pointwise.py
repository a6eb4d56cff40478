"""Convolutions whose windows are single elements, as products by cuBLASLt: of the weights (M, C) with each sample (C, positions).

cuBLASLt chooses among kernels for flat, narrow and deep products, where cuDNN has for many of these shapes one that does any convolution,
and converts float16 to channels-last and back. It adds a vector to columns alone, which are channels only where a sample has
one position; elsewhere residual, bias and activation are one generated kernel behind the product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from onnxgpu.operators import Registry
from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.convolution import conv_specs
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.libraries.convolution_graphs import split_attributes
from onnxgpu.providers.cuda.libraries.cublas import Plans
from onnxgpu.providers.cuda.libraries.kernel import Context
from onnxgpu.providers.cuda.libraries.products import EPILOGUES, Product, Terms
from onnxgpu.providers.cuda.operators.matrix_products import activation_refusal

REGISTRY = Registry()
operator = REGISTRY.operator


def _refusal(operation: Operation) -> str | None:
    values = [value for value in operation.inputs if value is not None]
    if len({value.dtype for value in values}) > 1:
        return "takes tensors of one element type"
    attributes = operation.attributes
    window = attributes.get("kernel_shape") or (values[1].shape or ())[2:]
    if not window or any(size != 1 for size in window):
        return "is a product only where its windows are known to be of one element"
    if attributes.get("group", 1) != 1:
        return "is more than a product where it has groups"
    if any(step != 1 for step in attributes.get("strides") or ()) or any(attributes.get("pads") or ()):
        return "is more than a product where it has strides or padding"
    return activation_refusal(operation)


@operator("FusedConv", domain="onnxgpu", types=FLOAT_NAMES, when=_refusal)
@operator("FusedConv", domain="com.microsoft", types=FLOAT_NAMES, when=_refusal)
@operator("Conv", types=FLOAT_NAMES, when=_refusal)
class PointwiseConv(Product):
    """activation(W X + residual + bias). Spec: https://onnx.ai/onnx/operators/onnx__Conv.html"""

    input_names = ("x", "w", "b", "z")

    def __init__(self, context: Context[Plans], operation: Operation) -> None:
        super().__init__(context, operation)
        self._geometry, self._attributes = split_attributes(operation.attributes)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(N, M, positions…)."""
        return (conv_specs(*inputs[:3], **self._geometry),)

    def _terms(self, xp: Any, inputs: Sequence[Value], out: Array, dense: Callable[[Array], Array]) -> Terms:
        x, w = (_dense(value, dense) for value in inputs[:2])
        bias, residual = (None if value is None else _dense(value, dense) for value in (*inputs[2:4], None, None)[:2])
        (samples, channels), positions, maps = x.shape[:2], prod(x.shape[2:]), w.shape[0]
        w = w.reshape(maps, channels)
        if positions == 1:
            c = None if residual is None else residual.reshape(samples, maps)
            return Terms(x.reshape(samples, channels), w.T, out.reshape(samples, maps), c=c, bias=bias)
        x, out = x.reshape(samples, channels, positions), out.reshape(samples, maps, positions)
        residual = None if residual is None else residual.reshape(out.shape)
        if bias is None and self._activation in EPILOGUES:
            return Terms(w, x, out, c=residual)
        added = (residual, None if bias is None else bias.reshape(maps, 1))
        return Terms(w, x, out, behind=tuple(each for each in added if each is not None))


def _dense(x: Array, dense: Callable[[Array], Array]) -> Array:
    return x if x.flags.c_contiguous else dense(x)
