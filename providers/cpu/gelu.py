"""The error function and exact Gelu over blocks of memory that stay in cache.

NumPy has no error function. In float32, x·Φ(x) is taken as x/2·(1 + tanh(x·P(x²))) with P the weighted minimax fit of
degree 6 to atanh(erf(x/√2))/x over |x| ≤ 6: 7e-8 from the true value in exact arithmetic, 8e-7 in float32. Of a few elements
Python's `math` gives the function itself in less time than the twenty calls of NumPy take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

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
_LARGEST_SQUARE = 36.0
_MOST_SINGLE = 64
"""Elements up to which one after the other is faster."""


def erf(x: Array, out: Array) -> None:
    """The error function of one block of float32; `out` may be `x`."""
    if out.size <= _MOST_SINGLE:
        out.flat = list(map(math.erf, _numbers(x, out)))
        return
    wide = scratch(x.size, x.dtype, slot=8).reshape(x.shape)
    np.multiply(x, _constant(math.sqrt(2)), wide)
    np.tanh(_argument(wide), out)


def gelu(x: Array, out: Array) -> None:
    """x·Φ(x) of one block of float32; `out` may be `x`."""
    if out.size <= _MOST_SINGLE:
        out.flat = [number * 0.5 * math.erfc(number * -math.sqrt(0.5)) for number in _numbers(x, out)]
        return
    factor = _argument(x)
    np.tanh(factor, factor)
    np.add(factor, _constant(1.0), factor)
    np.multiply(factor, _constant(0.5), factor)
    np.multiply(factor, x, out)


def _numbers(x: Array, out: Array) -> Iterable[float]:
    """The elements of `x`, broadcast to `out`."""
    if x.shape != out.shape:
        x = np.broadcast_to(x, out.shape)
    numbers: list[float] = x.ravel().tolist()
    return numbers


def _argument(x: Array) -> Array:
    """x·P(x²), in scratch memory."""
    square = scratch(x.size, x.dtype, slot=6).reshape(x.shape)
    polynomial = scratch(x.size, x.dtype, slot=7).reshape(x.shape)
    np.square(x, square)
    square.clip(_constant(0.0), _constant(_LARGEST_SQUARE), square)
    np.multiply(square, _constant(_COEFFICIENTS[-1]), polynomial)
    for coefficient in _COEFFICIENTS[-2:0:-1]:
        np.add(polynomial, _constant(coefficient), polynomial)
        np.multiply(polynomial, square, polynomial)
    np.add(polynomial, _constant(_COEFFICIENTS[0]), polynomial)
    np.multiply(polynomial, x, polynomial)
    return polynomial


@cache
def _constant(value: float) -> Array:
    """A 0-d array: NumPy takes twice as long for a scalar of its own."""
    return np.array(value, np.float32)
