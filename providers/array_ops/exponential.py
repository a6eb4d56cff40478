"""Exp, Log, Sqrt and Erf, and the function behind Erf and Gelu."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.elementwise import at_most, in_pieces, unary

# Minimax coefficients of P in erf(x) = tanh(x P(x²)), |x| <= 4; error 1e-7 before rounding. Beyond t = 25 tanh is 1 in
# float32 whatever P is, so long as it stays positive.
ERF_ARGUMENT = (1.12837927, 1.02769056e-01, -1.91830416e-04, -6.19784981e-04, 8.76374447e-05, -5.66849429e-06, 1.41853270e-07)
ERF_SATURATION = 25.0

# Chebyshev interpolants as polynomials: erf(x) / x in x² for |x| < 1, and erfc(x) exp(x²) in (x - 3) / (x + 3) for 1 <= x <= 6.
_ERF_BELOW_ONE = (
    1.1283791670955126, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777, 0.0052239776071164225,
    -0.0008548325975389692, 0.00012055294904839707, -1.492473690741966e-05, 1.6447424703317362e-06,
    -1.6208483801871705e-07, 1.3720064546777686e-08, -7.795898827002142e-10,
)  # fmt: skip
_SCALED_ERFC = (
    0.17900115118138923, -0.3262335600430453, 0.245603801712746, -0.15011593649899332, 0.07166583715916637,
    -0.024392499445713273, 0.004269137639708936, 0.0007077505681312548, -0.0005970811395660003, 4.5188608658010266e-05,
    6.417089032921638e-05, -1.2340282011259606e-05, -8.038912582338107e-06, 5.299013187569616e-07,
)  # fmt: skip


@unary("Exp")
def exp(xp: Any, x: Array, *, out: Array = None) -> Array:
    """e to the power of x. Spec: https://onnx.ai/onnx/operators/onnx__Exp.html"""
    return xp.exp(x, out=out)


@unary("Log")
def log(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Natural logarithm; NaN below 0. Spec: https://onnx.ai/onnx/operators/onnx__Log.html"""
    return xp.log(x, out=out)


@unary("Sqrt")
def sqrt(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Square root; NaN below 0. Spec: https://onnx.ai/onnx/operators/onnx__Sqrt.html"""
    return xp.sqrt(x, out=out)


@unary("Erf", since=9)
def erf(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Error function, to 2e-7 in float32 and 4e-16 in float64. Spec: https://onnx.ai/onnx/operators/onnx__Erf.html"""
    if x.dtype.kind not in "iu":
        return erf_of_floats(xp, x, out=out)
    result = erf_of_floats(xp, x.astype(np.float64))
    if out is None:
        return result.astype(x.dtype)
    out[...] = result
    return out


@in_pieces
def erf_of_floats(xp: Any, x: Array, out: Array) -> Array:
    """Error function of one piece."""
    if x.dtype == np.float64:
        out[...] = _erf_of_doubles(xp, x)
        return out
    argument = erf_argument(xp, x, ERF_ARGUMENT, ERF_SATURATION)
    return xp.tanh(argument, out=out)


def erf_argument(xp: Any, x: Array, coefficients: tuple[float, ...], saturation: float) -> Array:
    """x P(x²) as a new array; P's argument is held at `saturation`."""
    square = xp.multiply(x, x)
    if saturation < np.inf:
        at_most(xp, square, saturation, square)
    result = polynomial(xp, square, coefficients)
    return xp.multiply(result, x, out=result)


def polynomial(xp: Any, x: Array, coefficients: tuple[float, ...]) -> Array:
    """The polynomial with these coefficients, lowest first, as a new array."""
    result = xp.multiply(x, coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        xp.add(result, coefficient, out=result)
        xp.multiply(result, x, out=result)
    return xp.add(result, coefficients[0], out=result)


def _erf_of_doubles(xp: Any, x: Array) -> Array:
    size = xp.minimum(xp.absolute(x), 6.0)
    square = size * size
    below = size * polynomial(xp, xp.minimum(square, 1.0), _ERF_BELOW_ONE)
    above = 1.0 - xp.exp(-square) * polynomial(xp, (size - 3.0) / (size + 3.0), _SCALED_ERFC)
    return xp.copysign(xp.where(size < 1.0, below, above), x)
