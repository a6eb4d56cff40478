"""Layers that onnxruntime has on GPUs alone: biases, dropout with its masks, complex numbers, biases by distance, Gemma's rotation.

The expectations are written out, since no oracle on the CPU runs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erf, log
from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import i64, normal, scalar

_NOTE = "onnxruntime has it on GPUs alone"
_FLOATS = ("float32", "float16", "float64")


def _case(
    name: str, inputs: Sequence[Any], expected: Sequence[np.ndarray], attributes: Mapping[str, Any] | None = None, **more: Any
) -> Case:
    return Case(
        name, inputs, attributes or {}, opset=1, domain="com.microsoft", outputs=len(expected), expected=expected, note=_NOTE, **more
    )


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2)


def _softmax(x: np.ndarray, first: int) -> np.ndarray:
    rows = x.reshape(*x.shape[:first], -1)
    exponentials = np.exp(rows - rows.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True)).reshape(x.shape)


def _bias_add(dtype: str) -> Case:
    x, bias, skip = normal(2, 3, 5, dtype=dtype), normal(5, dtype=dtype), normal(2, 3, 5, dtype=dtype, seed=1)
    return _case("BiasAdd", [x, bias, skip], [(x.astype("d") + bias + skip).astype(dtype)])


def _split_gelu(dtype: str, size: int = 6) -> Case:
    x, bias = normal(2, 3, size, dtype=dtype), normal(size, dtype=dtype)
    left, right = np.split(x.astype("d") + bias, 2, axis=-1)
    return _case("BiasSplitGelu", [x, bias], [(left * _gelu(right)).astype(dtype)])


def _bias_softmax(bias_shape: tuple[int, ...], axis: int, is_inner: int, dtype: str = "float32") -> Case:
    x, bias = normal(2, 3, 4, 5, dtype=dtype), normal(*bias_shape, dtype=dtype, seed=1)
    expected = _softmax(x.astype("d") + bias, axis % 4).astype(dtype)
    return _case("BiasSoftmax", [x, bias], [expected], {"axis": axis, "is_inner_broadcast": is_inner})


def _dropout(name: str, count: int = 2, bias: int = 0, residual: bool = False, ratio: float | None = None, training: bool = False) -> Case:
    """With a seed, so that the mask is NumPy's. `bias`: how many axes it has."""
    data = normal(3, 4, 7)
    terms = [data]
    if bias:
        terms.append(normal(*data.shape[-bias:], seed=2))
    if residual:
        terms.append(normal(3, 4, 7, seed=3))
    share = 0.5 if ratio is None else ratio
    keeps = np.random.RandomState(11).random_sample(data.shape) >= share if training and share else np.ones(data.shape, bool)
    biased = data + terms[1] if bias else data
    expected = biased * keeps / (1 - share) if training else biased
    expected = (expected + terms[-1] if residual else expected).astype("f")
    bits = np.ones(-(-data.size // 32) * 32, bool)
    bits[: data.size] = keeps.reshape(-1)
    packed = np.packbits(bits, bitorder="little").view("<u4")
    mask = packed if name.startswith("Bitmask") else keeps
    inputs = [*terms, *([] if residual or not bias else [None])] if bias else terms
    inputs += [None if ratio is None else scalar(ratio), np.array(training)]
    return _case(name, inputs, [expected, mask][:count], {"seed": 11})


def _complex(name: str, a_shape: tuple[int, ...], b_shape: tuple[int, ...], dtype: str = "float32") -> Case:
    a, b = normal(*a_shape, 2, dtype=dtype), normal(*b_shape, 2, dtype=dtype, seed=1)
    left, right = (x[..., 0].astype("d") + 1j * x[..., 1] for x in (a, b))
    product = left * (right.conj() if name.endswith("Conj") else right)
    return _case(name, [a, b], [np.stack((product.real, product.imag), -1).astype(dtype)])


def _rfft(shape: tuple[int, ...], dtype: str = "float32", axes: int = 1) -> Case:
    x = normal(*shape, dtype=dtype)
    spectrum = np.fft.rfftn(x.astype("d"), axes=tuple(range(-axes, 0)))
    expected = np.stack((spectrum.real, spectrum.imag), -1).astype(dtype)
    return _case(
        "Rfft", [x], [expected], {"signal_ndim": axes, "onesided": 1, "normalized": 0}, rtol=1e-2 if dtype == "float16" else 1e-4, atol=1e-4
    )


def _irfft(shape: tuple[int, ...], dtype: str = "float32", axes: int = 1) -> Case:
    signal = normal(*shape, dtype=dtype)
    spectrum = np.fft.rfftn(signal.astype("d"), axes=tuple(range(-axes, 0)))
    x = np.stack((spectrum.real, spectrum.imag), -1).astype(dtype)
    tolerances = {"rtol": 1e-2, "atol": 1e-2} if dtype == "float16" else {"rtol": 1e-4, "atol": 1e-5}
    return _case("Irfft", [x], [signal], {"signal_ndim": axes}, **tolerances)


def _bucket(distance: int, buckets: int, longest: int, is_bidirectional: bool) -> int:
    """By Mesh TensorFlow's definition, as T5 has it; `distance` is key minus query."""
    first = 0
    if is_bidirectional:
        buckets //= 2
        first = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    return first + min(exact + int(log(distance / exact) / log(longest / exact) * (buckets - exact) + 1e-9), buckets - 1)


def _relative(length: int, is_bidirectional: bool, buckets: int = 32, longest: int = 128, dtype: str = "float32") -> Case:
    heads = 3
    table = normal(heads, buckets, dtype=dtype)
    places = [[_bucket(k - q, buckets, longest, is_bidirectional) for k in range(length)] for q in range(length)]
    attributes = {"max_distance": longest, "is_bidirectional": int(is_bidirectional)}
    return _case("RelativePositionBias", [table.reshape(buckets, heads), i64(length), i64(length)], [table[:, places][None]], attributes)


def _gated(dtype: str = "float32", length: int = 5) -> Case:
    batch, heads, size, width = 2, 3, 4, 8
    query, query_bias = normal(batch, length, heads * size, dtype=dtype), normal(heads * size, dtype=dtype)
    rel_pos, weight = normal(1, heads, length, length, dtype=dtype), normal(size, width, dtype=dtype)
    bias, eco_a = normal(width, dtype=dtype), normal(1, heads, 1, 1, dtype=dtype)
    rows = (query.astype("d") + query_bias).reshape(batch, length, heads, size).swapaxes(1, 2)
    sums = (rows @ weight + bias).reshape(batch, heads, length, 2, width // 2).sum(-1)
    gates = 1 / (1 + np.exp(-sums))
    gate = gates[..., :1] * (gates[..., 1:] * eco_a - 1) + 2
    inputs = [query, query_bias, rel_pos, weight, bias, eco_a]
    return _case(
        "GatedRelativePositionBias",
        inputs,
        [(gate * rel_pos).astype(dtype)],
        {"num_heads": heads},
        rtol=5e-3 if dtype == "float16" else None,
    )


def _gemma() -> Case:
    emb = normal(2, 3, 6)
    q, q_rot = normal(2, 4, 3, 6, dtype="float16"), normal(2, 4, 3, 6, dtype="float16", seed=1)
    k, k_rot = normal(2, 2, 3, 6, dtype="float16"), normal(2, 2, 3, 6, dtype="float16", seed=1)
    cosine, sine = (f(emb).astype("float16").astype("f")[:, None] for f in (np.cos, np.sin))
    expected = [(x * cosine + turned * sine).astype("float16") for x, turned in ((q, q_rot), (k, k_rot))]
    return _case("GemmaRotaryEmbedding", [emb, q, q_rot, k, k_rot], expected)


CASES = [
    *(_bias_add(dtype) for dtype in _FLOATS),
    *(_split_gelu(dtype) for dtype in _FLOATS),
    _split_gelu("float32", 64),
    *(_bias_softmax((2, 1, 1, 5), 3, 1, dtype) for dtype in _FLOATS),
    _bias_softmax((1, 1, 4, 5), 3, 0),
    _bias_softmax((4, 5), -1, 0),
    _bias_softmax((2, 1, 4, 5), 2, 1),
    _bias_softmax((2, 3, 4, 5), 3, 1),
    *(_dropout(name, bias=1) for name in ("BiasDropout", "BitmaskBiasDropout")),
    *(_dropout(name, bias=3, residual=True, ratio=0.3, training=True) for name in ("BiasDropout", "BitmaskBiasDropout")),
    *(_dropout(name, bias=1, count=1, ratio=0.25, training=True) for name in ("BiasDropout", "BitmaskBiasDropout")),
    _dropout("BiasDropout", bias=1, residual=True),
    _dropout("BitmaskDropout"),
    _dropout("BitmaskDropout", ratio=0.75, training=True),
    _dropout("BitmaskDropout", ratio=0.0, training=True),
    *(_complex(name, (3, 4), (3, 4), dtype) for name in ("ComplexMul", "ComplexMulConj") for dtype in _FLOATS),
    _complex("ComplexMul", (2, 1, 4), (3, 1)),
    _complex("ComplexMulConj", (5,), (2, 3, 5)),
    *(_rfft((2, 3, 8), dtype) for dtype in _FLOATS),
    _rfft((3, 4, 6), axes=2),
    _rfft((2, 3, 4, 6), axes=3),
    *(_irfft((2, 3, 8), dtype) for dtype in _FLOATS),
    _irfft((3, 5, 6), axes=2),
    *(_relative(length, both) for length in (7, 150) for both in (False, True)),
    _relative(20, True, buckets=8, longest=16, dtype="float16"),
    _gated(),
    _gated("float16"),
    _gated(length=40),
    _gemma(),
]
