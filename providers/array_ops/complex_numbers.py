"""onnxruntime's complex numbers, pairs in a last axis of two: ComplexMul, ComplexMulConj, Rfft and Irfft.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast_shapes

DOMAIN = "com.microsoft"


def complex_product_spec(a: Array, b: Array, **_: Any) -> Spec:
    """Broadcast over all axes but the last.

    Raises:
        InvalidArgument: a last axis is not of two.
    """
    if any(not x.shape or x.shape[-1] != 2 for x in (a, b)):
        raise InvalidArgument(f"ComplexMul: expected last axes of 2 (real, imaginary), got shapes {list(a.shape)} and {list(b.shape)}")
    return Spec(broadcast_shapes(tuple(a.shape), tuple(b.shape)), a.dtype)


def _product(xp: Any, a: Array, b: Array, sign: int, out: Array | None) -> Array:
    complex_product_spec(a, b)
    left, right = widened(a), widened(b)
    (a_real, a_imaginary), (b_real, b_imaginary) = ((x[..., 0], x[..., 1]) for x in (left, right))
    b_imaginary = b_imaginary * sign
    real, imaginary = a_real * b_real - a_imaginary * b_imaginary, a_real * b_imaginary + a_imaginary * b_real
    return stored(xp, xp.stack((real, imaginary), axis=-1), a.dtype, out)


@operator("ComplexMul", domain=DOMAIN, specs=complex_product_spec)
def complex_mul(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """A times B."""
    return _product(xp, a, b, 1, out)


@operator("ComplexMulConj", domain=DOMAIN, specs=complex_product_spec)
def complex_mul_conj(xp: Any, a: Array, b: Array, *, out: Array = None) -> Array:
    """A times the conjugate of B."""
    return _product(xp, a, b, -1, out)


def _check(name: str, x: Array, signal_ndim: int, normalized: int, onesided: int, last: int) -> None:
    """Raise InvalidArgument for what onnxruntime does not define."""
    if normalized or not onesided:
        raise InvalidArgument(f"{name}: expected normalized 0 and onesided 1, got {normalized} and {onesided}")
    if not 1 <= signal_ndim <= len(x.shape) - last or (last and x.shape[-1] != 2):
        raise InvalidArgument(f"{name}: expected {signal_ndim} axes of a signal{' and a last axis of 2' * last}, got shape {list(x.shape)}")


def rfft_spec(x: Array, *, signal_ndim: int = 1, normalized: int = 0, onesided: int = 1) -> Spec:
    """Half the last axis and one, and pairs."""
    _check("Rfft", x, signal_ndim, normalized, onesided, 0)
    return Spec((*x.shape[:-1], x.shape[-1] // 2 + 1, 2), x.dtype)


def irfft_spec(x: Array, *, signal_ndim: int, normalized: int = 0, onesided: int = 1) -> Spec:
    """Twice the last axis of the signal but two."""
    _check("Irfft", x, signal_ndim, normalized, onesided, 1)
    return Spec((*x.shape[:-2], 2 * (x.shape[-2] - 1)), x.dtype)


@operator("Rfft", domain=DOMAIN, specs=rfft_spec)
def rfft(xp: Any, x: Array, *, signal_ndim: int = 1, normalized: int = 0, onesided: int = 1, out: Array = None) -> Array:
    """Fourier transform over the last `signal_ndim` axes of a real signal: the half of the spectrum that tells the other."""
    rfft_spec(x, signal_ndim=signal_ndim, normalized=normalized, onesided=onesided)
    spectrum = xp.fft.rfftn(widened(x), axes=tuple(range(-signal_ndim, 0)))
    return stored(xp, xp.stack((spectrum.real, spectrum.imag), axis=-1), x.dtype, out)


@operator("Irfft", domain=DOMAIN, specs=irfft_spec)
def irfft(xp: Any, x: Array, *, signal_ndim: int, normalized: int = 0, onesided: int = 1, out: Array = None) -> Array:
    """The real signal of an even length whose half spectrum x is, over the `signal_ndim` axes before the pairs."""
    irfft_spec(x, signal_ndim=signal_ndim, normalized=normalized, onesided=onesided)
    wide = widened(x)
    axes = tuple(range(-signal_ndim, 0))
    return stored(xp, xp.fft.irfftn(wide[..., 0] + 1j * wide[..., 1], axes=axes), x.dtype, out)
