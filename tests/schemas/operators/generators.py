"""Random operators: the specification leaves the generator open, so only types and shapes are compared."""

from __future__ import annotations

import numpy as np

from onnxgpu.dtypes import code_of, is_integer
from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates


@generates("RandomNormal", "RandomUniform")
def drawn(draw: Draw) -> Example:
    target = draw.dtype("output")
    attributes = draw.some({"seed": lambda: 1.0, "mean": lambda: 1.0, "scale": lambda: 2.0, "low": lambda: -1.0, "high": lambda: 2.0})
    attributes |= draw.some({"dtype": lambda: code_of(target)})
    return Example([], {"shape": list(draw.shape((1, 3), (1, 3))), **attributes}, values=False)


@generates("RandomNormalLike", "RandomUniformLike", "Bernoulli")
def drawn_like(draw: Draw) -> Example:
    target = draw.dtype("output")
    only = {"float", "double", "float16"}
    x = draw.plain(draw.dtype("input", lambda name: name in only), draw.shape((0, 3)), 0, 1)
    attributes = draw.some({"seed": lambda: 1.0, "mean": lambda: 1.0, "scale": lambda: 2.0, "low": lambda: -1.0, "high": lambda: 2.0})
    return Example([x], attributes | draw.some({"dtype": lambda: code_of(target)}), values=False)


@generates("Multinomial")
def multinomial(draw: Draw) -> Example:
    x = draw.plain(draw.dtype("input"), (draw.integer(1, 2), draw.integer(1, 4)), -1, 1)
    target = draw.dtype("output")
    attributes = draw.some({"sample_size": lambda: draw.integer(1, 5), "seed": lambda: 1.0, "dtype": lambda: code_of(target)})
    return Example([x], attributes, values=False)


def whole(value: int, dtype: np.dtype) -> np.ndarray:
    return np.array(value, dtype)


@generates("BlackmanWindow", "HammingWindow", "HannWindow")
def signal_window(draw: Draw) -> Example:
    """As integers the window is cut off, and its middle is a rounding error below 1 or not."""
    target = draw.dtype("output")
    attributes = draw.some({"periodic": lambda: draw.integer(0, 1), "output_datatype": lambda: code_of(target)})
    atol = 1 if is_integer(target) and "output_datatype" in attributes else 1e-5
    return Example([whole(draw.integer(2, 8), draw.dtype("size"))], attributes, atol=atol)


@generates("MelWeightMatrix")
def mel_weights(draw: Draw) -> Example:
    kind, edge = draw.dtype("num_mel_bins"), draw.dtype("lower_edge_hertz")
    target = draw.dtype("output")
    inputs = [whole(value, kind) for value in (draw.integer(2, 4), draw.among([16, 32]), 8192)]
    edges = [np.array(value, edge) for value in (draw.among([0, 20]), 4000)]
    return Example([*inputs, *edges], draw.some({"output_datatype": lambda: code_of(target)}))


@generates("DFT")
def fourier(draw: Draw) -> Example:
    """Over any axis but the last, of real or complex numbers, padded or cut to a length, one-sided or inverse."""
    rank = draw.integer(2, 3)
    inverse, onesided = draw.integer(0, 1), draw.integer(0, 1)
    parts = 2 if (inverse or draw.flag()) and not (onesided and not inverse) else 1
    shape = (*draw.shape((rank - 1, rank - 1), (1, 4)), parts)
    onesided = onesided if not inverse else 0
    axis = draw.integer(0, rank - 2)
    axis = axis - rank if draw.flag() else axis
    x = draw.plain(draw.dtype("input"), shape)
    length = np.array(draw.integer(1, 6), draw.dtype("dft_length")) if draw.flag() else None
    attributes = {"inverse": inverse, "onesided": onesided}
    if draw.version < 20:
        return Example([x] + ([] if length is None else [length]), attributes | {"axis": axis}, atol=1e-4)
    return Example([x, length, np.array(axis)] if draw.flag() or axis % rank != rank - 2 else [x], attributes, atol=1e-4)


@generates("STFT")
def short_time_fourier(draw: Draw) -> Example:
    dtype, kind = draw.dtype("signal"), draw.dtype("frame_step")
    length, frame = draw.integer(4, 9), draw.integer(2, 4)
    parts = draw.integer(1, 2)
    onesided = draw.integer(0, 1) if parts == 1 else 0
    signal = draw.plain(dtype, (draw.integer(1, 2), length, parts))
    window = draw.plain(dtype, (frame,), 0, 1) if draw.flag() else None
    sizes = [whole(frame, kind)] if window is None or draw.flag() else []
    return Example([signal, whole(draw.integer(1, 3), kind), window, *sizes], {"onesided": onesided}, atol=1e-4)
