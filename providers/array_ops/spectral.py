"""DFT, STFT and MelWeightMatrix.

Complex numbers are a last axis of size 2 (real, imaginary); real signals have a last axis of size 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator


def number(value: Any, default: int) -> int:
    """The first element of a host array, or `default` without one."""
    return default if value is None else int(np.asarray(value).reshape(-1)[0])


def dft_spec(x: Array, dft_length: Any, axis: int, inverse: int, onesided: int) -> Spec:
    """The transform of x along `axis`.

    Raises:
        InvalidArgument: the last axis is none of real or complex numbers, or is the one to transform.
    """
    shape = list(x.shape)
    if len(shape) < 2 or shape[-1] not in (1, 2):
        raise InvalidArgument(f"DFT: expected a last axis of size 1 (real) or 2 (complex), got shape {shape}")
    axis = normalized_axis(axis, len(shape), "DFT")
    if axis == len(shape) - 1:
        raise InvalidArgument(f"DFT: expected an axis before the last, which holds real and imaginary parts, got {axis}")
    length = number(dft_length, 2 * (shape[axis] - 1) if inverse and onesided else shape[axis])
    shape[axis] = length // 2 + 1 if onesided and not inverse else length
    shape[-1] = 1 if onesided and inverse else 2
    return Spec(tuple(shape), x.dtype)


def _as_complex(x: Array) -> Array:
    wide = widened(x)
    return wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]


def _transformed(xp: Any, x: Array, dft_length: Any, axis: int, inverse: int, onesided: int, out: Array | None) -> Array:
    axis = normalized_axis(axis, len(x.shape), "DFT")
    signal = _as_complex(x)
    if inverse and onesided:
        length = number(dft_length, 2 * (x.shape[axis] - 1))
        return stored(xp, xp.fft.irfft(signal, n=length, axis=axis)[..., None], x.dtype, out)
    length = number(dft_length, x.shape[axis])
    spectrum = (xp.fft.ifft if inverse else xp.fft.fft)(signal, n=length, axis=axis)
    if onesided:
        spectrum = xp.moveaxis(xp.moveaxis(spectrum, axis, 0)[: length // 2 + 1], 0, axis)
    return stored(xp, xp.stack((spectrum.real, spectrum.imag), axis=-1), x.dtype, out)


def _dft_attribute_specs(x: Array, dft_length: Any = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0) -> Spec:
    return dft_spec(x, dft_length, axis, inverse, onesided)


@operator("DFT", since=17, specs=_dft_attribute_specs, host=("dft_length",))
def dft_along_attribute(
    xp: Any, x: Array, dft_length: Array = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0, out: Array = None
) -> Array:
    """Discrete Fourier transform. Spec: https://onnx.ai/onnx/operators/onnx__DFT.html (opset 17)"""
    return _transformed(xp, x, dft_length, axis, inverse, onesided, out)


def _dft_input_specs(x: Array, dft_length: Any = None, axis: Any = None, *, inverse: int = 0, onesided: int = 0) -> Spec:
    return dft_spec(x, dft_length, number(axis, -2), inverse, onesided)


@operator("DFT", since=20, specs=_dft_input_specs, host=("dft_length", "axis"))
def dft(
    xp: Any, x: Array, dft_length: Array = None, axis: Array = None, *, inverse: int = 0, onesided: int = 0, out: Array = None
) -> Array:
    """Discrete Fourier transform. Spec: https://onnx.ai/onnx/operators/onnx__DFT.html"""
    return _transformed(xp, x, dft_length, number(axis, -2), inverse, onesided, out)


def stft_sizes(signal: Array, frame_step: Any, window: Any, frame_length: Any) -> tuple[int, int, int]:
    """Frame length, step and number of frames.

    Raises:
        InvalidArgument: the signal is none, or the frames do not fit into it.
    """
    if len(signal.shape) != 3 or signal.shape[2] not in (1, 2):
        raise InvalidArgument(f"STFT: expected a signal of shape (batch, length, 1 or 2), got {list(signal.shape)}")
    length = number(frame_length, signal.shape[1] if window is None else window.shape[0])
    step = number(frame_step, 0)
    if step < 1 or not 1 <= length <= signal.shape[1] or (window is not None and tuple(window.shape) != (length,)):
        raise InvalidArgument(
            f"STFT: expected a positive frame_step, a window of frame_length, and frame_length within the signal of {signal.shape[1]}, "
            f"got step {step}, length {length}, window {None if window is None else list(window.shape)}"
        )
    return length, step, (signal.shape[1] - length) // step + 1


def _stft_specs(signal: Array, frame_step: Any, window: Any = None, frame_length: Any = None, *, onesided: int = 1) -> Spec:
    length, _, frames = stft_sizes(signal, frame_step, window, frame_length)
    return Spec((signal.shape[0], frames, length // 2 + 1 if onesided else length, 2), signal.dtype)


@operator("STFT", since=17, specs=_stft_specs, host=("frame_step", "frame_length"))
def stft(
    xp: Any, signal: Array, frame_step: Array, window: Array = None, frame_length: Array = None, *, onesided: int = 1, out: Array = None
) -> Array:
    """Fourier transforms of overlapping, windowed frames. Spec: https://onnx.ai/onnx/operators/onnx__STFT.html"""
    length, step, frames = stft_sizes(signal, frame_step, window, frame_length)
    samples = xp.arange(frames)[:, None] * step + xp.arange(length)
    framed = _as_complex(signal)[:, samples]
    spectrum = xp.fft.fft(framed if window is None else framed * widened(window), axis=2)
    if onesided:
        spectrum = spectrum[:, :, : length // 2 + 1]
    return stored(xp, xp.stack((spectrum.real, spectrum.imag), axis=-1), signal.dtype, out)


def mel_specs(bins: Any, dft_length: Any, *_: Any, output_datatype: int = 1) -> Spec:
    """A weight for each bin of the spectrum and each triangle."""
    return Spec((number(dft_length, 0) // 2 + 1, number(bins, 0)), dtype_of(output_datatype))


MEL_INPUTS = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")


def mel_corners(bins: int, length: int, rate: int, lower_edge: Array, upper_edge: Array) -> np.ndarray:
    """The bins of the spectrum at which the triangles begin, are 1 and end, int64 [bins + 2]."""
    edges = np.array([float(np.asarray(edge).reshape(-1)[0]) for edge in (lower_edge, upper_edge)])
    low, high = 2595 * np.log10(1 + edges / 700)
    mels = np.arange(bins + 2) * ((high - low) / (bins + 2)) + low
    hertz = 700 * (10 ** (mels / 2595) - 1)
    corners: np.ndarray = ((length + 1) * hertz // rate).astype(np.int64)
    return corners


@operator("MelWeightMatrix", since=17, specs=mel_specs, host=MEL_INPUTS)
def mel_weight_matrix(
    xp: Any,
    num_mel_bins: Array,
    dft_length: Array,
    sample_rate: Array,
    lower_edge_hertz: Array,
    upper_edge_hertz: Array,
    *,
    output_datatype: int = 1,
    out: Array = None,
) -> Array:
    """Triangles on the mel scale over the bins of a spectrum. Spec: https://onnx.ai/onnx/operators/onnx__MelWeightMatrix.html"""
    length = number(dft_length, 0)
    corners = mel_corners(number(num_mel_bins, 0), length, number(sample_rate, 1), lower_edge_hertz, upper_edge_hertz)
    frequencies = np.arange(length // 2 + 1)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising = np.where(left == centre, 1.0, (frequencies - left) / np.maximum(centre - left, 1))
    falling = (right - frequencies) / np.maximum(right - centre, 1)
    weights = np.where((frequencies >= left) & (frequencies <= centre), rising, 0.0)
    weights = np.where((frequencies >= centre) & (frequencies < right), falling, weights)
    return stored(xp, xp.asarray(weights), dtype_of(output_datatype), out)
