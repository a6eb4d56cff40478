"""onnxruntime's fused layers of domain com.microsoft: convolution and Gemm with activation, and skip normalisation.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.convolution import convolution_windows, convolved
from onnxgpu.providers.array_ops.matrix_products import gemm_specs, scaled_product
from onnxgpu.providers.array_ops.normalization import per_channel, scaled_by_root_mean_square, standardized
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.recurrent_steps import sigmoid
from onnxgpu.providers.array_ops.registry import operator

FLOAT = np.dtype(np.float32)


def activated(xp: Any, x: Array, name: str | None, parameters: Sequence[float]) -> Array:
    """`x` after the activation that onnxruntime names in a fused node; None is none.

    Raises:
        InvalidArgument: there is no such activation.
    """
    first, second = [*parameters, *(0.0, 0.0)][:2]
    if not name:
        return x
    if name == "Relu":
        return xp.maximum(x, 0)
    if name == "Tanh":
        return xp.tanh(x)
    if name == "Sigmoid":
        return sigmoid(xp, x)
    if name == "LeakyRelu":
        return xp.where(x < 0, x * (first if parameters else 0.01), x)
    if name == "Clip":
        return xp.clip(x, first, second)
    if name == "HardSigmoid":
        return xp.clip((first if parameters else 0.2) * x + (second if parameters else 0.5), 0, 1)
    raise InvalidArgument(f"activation: expected Relu, Tanh, Sigmoid, LeakyRelu, Clip or HardSigmoid, got {name!r}")


def _conv_specs(x: Array, w: Array, b: Array = None, z: Array = None, **attributes: Any) -> Spec:
    return Spec((x.shape[0], w.shape[0], *convolution_windows("FusedConv", x, w, attributes).output), x.dtype)


@operator("FusedConv", domain="com.microsoft", specs=_conv_specs)
def fused_conv(
    xp: Any,
    x: Array,
    w: Array,
    b: Array = None,
    z: Array = None,
    *,
    activation: str | None = None,
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    out: Array = None,
) -> Array:
    """activation(convolution + bias + z)."""
    attributes = {
        "auto_pad": auto_pad,
        "dilations": dilations,
        "group": group,
        "kernel_shape": kernel_shape,
        "pads": pads,
        "strides": strides,
    }
    result = convolved(xp, widened(x), widened(w), convolution_windows("FusedConv", x, w, attributes), group)
    if b is not None:
        result += per_channel(widened(b), len(x.shape))
    if z is not None:
        result += widened(z)
    return stored(xp, activated(xp, result, activation, activation_params), x.dtype, out)


@operator("FusedGemm", domain="com.microsoft", specs=gemm_specs)
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
    """activation(alpha * op(A) op(B) + beta * C)."""
    parameters = [value for value in (activation_alpha, activation_beta, activation_gamma) if value is not None]
    result = activated(xp, scaled_product(xp, a, b, c, alpha, beta, transA, transB), activation, parameters)
    return stored(xp, result, a.dtype, out)


def _skip_sum(x: Array, skip: Array, gamma: Array, bias: Array | None, name: str) -> Array:
    if skip.shape[-1:] != x.shape[-1:] or tuple(gamma.shape) != tuple(x.shape[-1:]):
        raise InvalidArgument(
            f"{name}: expected input, skip and gamma of one last size, "
            f"got shapes {list(x.shape)}, {list(skip.shape)} and {list(gamma.shape)}"
        )
    total = widened(x) + widened(skip)
    return total if bias is None else total + widened(bias)


@operator("SkipLayerNormalization", domain="com.microsoft")
def skip_layer_normalization(
    xp: Any, x: Array, skip: Array, gamma: Array, beta: Array = None, bias: Array = None, *, epsilon: float = 1e-12, output_count: int = 1
) -> tuple[Array, ...]:
    """Layer normalisation of input + skip + bias over the last axis; also mean, inverse deviation and the sum."""
    total = _skip_sum(x, skip, gamma, bias, "SkipLayerNormalization")
    result, mean, inverse = standardized(xp, total, (len(x.shape) - 1,), epsilon)
    result = result * widened(gamma)
    result = result if beta is None else result + widened(beta)
    return (stored(xp, result, x.dtype), stored(xp, mean, FLOAT), stored(xp, inverse, FLOAT), stored(xp, total, x.dtype))[:output_count]


@operator("SkipSimplifiedLayerNormalization", domain="com.microsoft")
def skip_simplified_layer_normalization(
    xp: Any, x: Array, skip: Array, gamma: Array, bias: Array = None, *, epsilon: float = 1e-12, output_count: int = 1
) -> tuple[Array | None, ...]:
    """RMS normalisation of input + skip + bias over the last axis; also the inverse root mean square and the sum."""
    total = _skip_sum(x, skip, gamma, bias, "SkipSimplifiedLayerNormalization")
    result, inverse = scaled_by_root_mean_square(xp, total, (len(x.shape) - 1,), epsilon)
    first = stored(xp, result * widened(gamma), x.dtype)
    return (first, None, stored(xp, inverse, FLOAT), stored(xp, total, x.dtype))[:output_count]
