"""The error function and Gelu, exact and by tanh, over blocks of memory that stay in cache.

NumPy has no error function. In float32, x·Φ(x) is taken as x/2·(1 + tanh(x·P(x²))) with P the weighted minimax fit of
degree 6 to atanh(erf(x/√2))/x over |x| ≤ 6: 7e-8 from the true value in exact arithmetic, 8e-7 in float32.
"""

from __future__ import annotations

import math

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.threads import scratch

_COEFFICIENTS = (
    0.7978842161676927,
    0.03633428334445034,
    -3.312986440803182e-05,
    -5.524019731598813e-05,
    3.969114763815452e-06,
    -1.334467362532832e-07,
    1.8056237009880496e-09,
)
_TANH_COEFFICIENTS = (math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715)
_LARGEST_SQUARE = 36.0


def erf(x: Array, out: Array) -> None:
    """The error function of one block of float32; `out` may be `x`."""
    wide = scratch(x.size, x.dtype, slot=8).reshape(x.shape)
    np.multiply(x, x.dtype.type(math.sqrt(2)), out=wide)
    np.tanh(_argument(wide, _COEFFICIENTS), out=out)


def gelu(x: Array, out: Array) -> None:
    """x·Φ(x) of one block of float32; `out` may be `x`."""
    _tanh_form(x, _COEFFICIENTS, out)


def gelu_tanh(x: Array, out: Array) -> None:
    """x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) of one block; `out` may be `x`."""
    _tanh_form(x, _TANH_COEFFICIENTS, out)


def _tanh_form(x: Array, coefficients: tuple[float, ...], out: Array) -> None:
    kind = x.dtype.type
    factor = _argument(x, coefficients)
    np.tanh(factor, out=factor)
    np.add(factor, kind(1), out=factor)
    np.multiply(factor, kind(0.5), out=factor)
    np.multiply(factor, x, out=out)


def _argument(x: Array, coefficients: tuple[float, ...]) -> Array:
    """x·P(x²), in scratch memory."""
    kind = x.dtype.type
    square = scratch(x.size, x.dtype, slot=6).reshape(x.shape)
    polynomial = scratch(x.size, x.dtype, slot=7).reshape(x.shape)
    np.square(x, out=square)
    if len(coefficients) > 2:
        np.clip(square, kind(0), kind(_LARGEST_SQUARE), out=square)
    np.multiply(square, kind(coefficients[-1]), out=polynomial)
    for coefficient in coefficients[-2:0:-1]:
        np.add(polynomial, kind(coefficient), out=polynomial)
        np.multiply(polynomial, square, out=polynomial)
    np.add(polynomial, kind(coefficients[0]), out=polynomial)
    np.multiply(polynomial, x, out=polynomial)
    return polynomial
