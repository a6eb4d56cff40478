"""DFT, STFT, and onnxruntime's Rfft and Irfft: rows in shared memory, longer ones factor by factor through global memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.complex_numbers import irfft_spec, rfft_spec
from onnxgpu.providers.array_ops.precision import accumulation_dtype
from onnxgpu.providers.array_ops.spectral import dft_spec, number, stft_sizes
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, FLOATS, THREADS, Template, blocks_for, dense, whole_warps
from onnxgpu.providers.cuda.registry import array_specs, operator

_PRECISIONS = ("float", "double")
TURNS = Template("spectral.cu", "fill_turns<{A}>", "pib", A=_PRECISIONS)
ROWS = Template("spectral.cu", "transform_rows<{T}>", "ppppliidllllliblllli", T=FLOATS)
LOAD = Template("spectral.cu", "load_rows<{T}>", "ppplilllllib", T=FLOATS)
STAGE = Template("spectral.cu", "transform_stage<{A}>", "pppliii", A=_PRECISIONS)
STORE = Template("spectral.cu", "store_rows<{T}>", "pplidllllli", T=FLOATS)

_SHARED_BYTES = 48 * 1024
_ELEMENTS_A_BLOCK = 1024
"""Short rows are put together in a block until they have about as many."""

_MOST_BLOCKS = 4096
_blocks = partial(blocks_for, most=_MOST_BLOCKS)


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows lie in a tensor, counted in (complex) elements: see spectral.cu."""

    outer_stride: int
    inner_stride: int
    stride: int
    count: int
    components: int

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """As the kernels take them."""
        return self.outer_stride, self.inner_stride, self.stride, self.count, self.components


@dataclass(frozen=True, slots=True)
class Transform:
    """`rows` transforms of length n; `inner` neighbouring rows have one outer index."""

    rows: int
    inner: int
    n: int
    source: Rows
    target: Rows
    is_inverse: bool = False
    is_half: bool = False


def factors(n: int) -> Iterator[int]:
    """The factors of n in the order in which the kernels take them: 4, 2, then odd primes."""
    while n > 1:
        odd = (p for p in range(3, int(n**0.5) + 1, 2) if n % p == 0)
        p = 4 if n % 4 == 0 else 2 if n % 2 == 0 else next(odd, n)
        yield p
        n //= p


def _transform(xp: Any, x: Array, window: Array | None, out: Array, how: Transform) -> Array:
    if not out.size:
        return out
    n, rows = how.n, how.rows
    wide = accumulation_dtype(x.dtype)
    precision = C_TYPES[name_of(wide)]
    row_bytes = 4 * wide.itemsize * n
    scale = 1.0 / n if how.is_inverse else 1.0
    turns = xp.empty(2 * n, wide)
    TURNS.instance(A=precision).launch(_blocks(n), THREADS, turns, n, how.is_inverse)
    window = None if window is None else dense(xp, window)
    source = (how.inner, *how.source.numbers, how.is_half)
    if row_bytes <= _SHARED_BYTES:
        group = max(1, min(_ELEMENTS_A_BLOCK // n, rows))
        ROWS.instance(T=x.dtype).launch(
            -(-rows // group), whole_warps(group * n, 512), dense(xp, x), window, turns, out, rows, group, n, scale, *source,
            *how.target.numbers, shared=group * row_bytes,
        )  # fmt: skip
        return out
    here, there = xp.empty((rows, n, 2), wide), xp.empty((rows, n, 2), wide)
    LOAD.instance(T=x.dtype).launch(_blocks(rows * n), THREADS, dense(xp, x), window, here, rows, n, *source)
    length = 1
    for p in factors(n):
        STAGE.instance(A=precision).launch(_blocks(rows * n), THREADS, here, turns, there, rows, n, length, p)
        here, there, length = there, here, length * p
    blocks = _blocks(rows * how.target.count)
    STORE.instance(T=x.dtype).launch(blocks, THREADS, here, out, rows, n, scale, how.inner, *how.target.numbers)
    return out


def _dft(xp: Any, x: Array, dft_length: Any, axis: int, inverse: int, onesided: int, out: Array | None) -> Array:
    spec = dft_spec(x, dft_length, axis, inverse, onesided)
    result = xp.empty(spec.shape, spec.dtype) if out is None else out
    axis = normalized_axis(axis, len(x.shape), "DFT")
    count, inner = x.shape[axis], prod(x.shape[axis + 1 : -1])
    n = number(dft_length, 2 * (count - 1) if inverse and onesided else count)
    how = Transform(
        rows=prod(x.shape[:axis]) * inner,
        inner=max(inner, 1),
        n=n,
        source=Rows(count * inner, 1, inner, count, x.shape[-1]),
        target=Rows(spec.shape[axis] * inner, 1, inner, spec.shape[axis], spec.shape[-1]),
        is_inverse=bool(inverse),
        is_half=bool(inverse and onesided),
    )
    return _transform(xp, x, None, result, how)


@operator("DFT", since=17, specs=array_specs("DFT", 17), host=("dft_length",), types=FLOAT_NAMES)
def dft_along_attribute(
    xp: Any, x: Array, dft_length: Array = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0, out: Array = None
) -> Array:
    """Discrete Fourier transform. Spec: https://onnx.ai/onnx/operators/onnx__DFT.html (opset 17)"""
    return _dft(xp, x, dft_length, axis, inverse, onesided, out)


@operator("DFT", since=20, specs=array_specs("DFT"), host=("dft_length", "axis"), types=FLOAT_NAMES)
def dft(
    xp: Any, x: Array, dft_length: Array = None, axis: Array = None, *, inverse: int = 0, onesided: int = 0, out: Array = None
) -> Array:
    """Discrete Fourier transform. Spec: https://onnx.ai/onnx/operators/onnx__DFT.html"""
    return _dft(xp, x, dft_length, number(axis, -2), inverse, onesided, out)


@operator("STFT", since=17, specs=array_specs("STFT"), host=("frame_step", "frame_length"), types=FLOAT_NAMES)
def stft(
    xp: Any, signal: Array, frame_step: Array, window: Array = None, frame_length: Array = None, *, onesided: int = 1, out: Array = None
) -> Array:
    """Fourier transforms of overlapping, windowed frames. Spec: https://onnx.ai/onnx/operators/onnx__STFT.html"""
    length, step, frames = stft_sizes(signal, frame_step, window, frame_length)
    bins = length // 2 + 1 if onesided else length
    result = xp.empty((signal.shape[0], frames, bins, 2), signal.dtype) if out is None else out
    how = Transform(
        rows=signal.shape[0] * frames,
        inner=frames,
        n=length,
        source=Rows(signal.shape[1], step, 1, length, signal.shape[2]),
        target=Rows(frames * bins, bins, 1, bins, 2),
    )
    return _transform(xp, signal, window, result, how)


def _signal_axes(rank: int, signal_ndim: int) -> range:
    """Those before the last of the signal, in a tensor of pairs with `rank` axes."""
    return range(rank - 1 - signal_ndim, rank - 2)


@operator("Rfft", domain="com.microsoft", specs=rfft_spec, types=FLOAT_NAMES)
def rfft(xp: Any, x: Array, *, signal_ndim: int = 1, normalized: int = 0, onesided: int = 1, out: Array = None) -> Array:
    """Fourier transform over the last `signal_ndim` axes of a real signal. Spec: onnxruntime's ContribOperators.md"""
    spec = rfft_spec(x, signal_ndim=signal_ndim, normalized=normalized, onesided=onesided)
    axes = _signal_axes(len(spec.shape), signal_ndim)
    result = _dft(xp, x[..., None], None, -2, 0, 1, None if axes else out)
    for axis in axes:
        result = _dft(xp, result, None, axis, 0, 0, out if axis == axes[-1] else None)
    return result


@operator("Irfft", domain="com.microsoft", specs=irfft_spec, types=FLOAT_NAMES)
def irfft(xp: Any, x: Array, *, signal_ndim: int, normalized: int = 0, onesided: int = 1, out: Array = None) -> Array:
    """The real signal over the `signal_ndim` axes before the pairs. Spec: onnxruntime's ContribOperators.md"""
    spec = irfft_spec(x, signal_ndim=signal_ndim, normalized=normalized, onesided=onesided)
    spectrum = x
    for axis in _signal_axes(len(x.shape), signal_ndim):
        spectrum = _dft(xp, spectrum, None, axis, 1, 0, None)
    return _dft(xp, spectrum, None, -2, 1, 1, None if out is None else out[..., None]).reshape(spec.shape)
