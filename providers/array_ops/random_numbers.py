"""Random tensors: RandomNormal, RandomUniform, their forms like another tensor, Bernoulli and Multinomial.

A kernel keeps no state, so with a seed every run draws the same numbers and without one every run draws others, in a series
that `set_seed` begins. The numbers are not onnxruntime's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.dtypes import dtype_of
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.seeds import next_seed

FLOAT = np.dtype(np.float32)


def generator(xp: Any, seed: float | None) -> Any:
    """A new generator: the same stream for the same seed, the next of `set_seed`'s, or any, without."""
    return xp.random.default_rng(next_seed() if seed is None else int(np.float64(seed).view(np.uint64)))


def _drawing_dtype(dtype: np.dtype) -> np.dtype:
    return dtype if dtype == np.float64 else FLOAT


def _shape_specs(*, shape: tuple[int, ...], dtype: int = 1, **_: Any) -> Spec:
    return Spec(tuple(shape), dtype_of(dtype))


def _like_specs(x: Array, *, dtype: int | None = None, **_: Any) -> Spec:
    return Spec(tuple(x.shape), dtype_of(dtype) if dtype else x.dtype)


def _store(xp: Any, values: Array, spec: Spec, out: Array) -> Array:
    if out is None:
        return xp.asarray(values).astype(spec.dtype)
    out[...] = values
    return out


def _normal(xp: Any, spec: Spec, mean: float, scale: float, seed: float | None, out: Array) -> Array:
    values = generator(xp, seed).standard_normal(spec.shape, dtype=_drawing_dtype(spec.dtype))
    return _store(xp, values * scale + mean, spec, out)


def _uniform(xp: Any, spec: Spec, low: float, high: float, seed: float | None, out: Array) -> Array:
    values = generator(xp, seed).random(spec.shape, dtype=_drawing_dtype(spec.dtype))
    return _store(xp, values * (high - low) + low, spec, out)


@operator("RandomNormal", specs=_shape_specs, deterministic=False)
def random_normal(
    xp: Any, *, shape: tuple[int, ...], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """Normal with this mean and standard deviation. Spec: https://onnx.ai/onnx/operators/onnx__RandomNormal.html"""
    return _normal(xp, _shape_specs(shape=shape, dtype=dtype), mean, scale, seed, out)


@operator("RandomNormalLike", specs=_like_specs, shape_only=("x",), deterministic=False)
def random_normal_like(
    xp: Any, x: Array, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """As `random_normal`, with the shape of x. Spec: https://onnx.ai/onnx/operators/onnx__RandomNormalLike.html"""
    return _normal(xp, _like_specs(x, dtype=dtype), mean, scale, seed, out)


@operator("RandomUniform", specs=_shape_specs, deterministic=False)
def random_uniform(
    xp: Any, *, shape: tuple[int, ...], dtype: int = 1, low: float = 0.0, high: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """Uniform in [low, high). Spec: https://onnx.ai/onnx/operators/onnx__RandomUniform.html"""
    return _uniform(xp, _shape_specs(shape=shape, dtype=dtype), low, high, seed, out)


@operator("RandomUniformLike", specs=_like_specs, shape_only=("x",), deterministic=False)
def random_uniform_like(
    xp: Any, x: Array, *, dtype: int | None = None, low: float = 0.0, high: float = 1.0, seed: float | None = None, out: Array = None
) -> Array:
    """As `random_uniform`, with the shape of x. Spec: https://onnx.ai/onnx/operators/onnx__RandomUniformLike.html"""
    return _uniform(xp, _like_specs(x, dtype=dtype), low, high, seed, out)


@operator("Bernoulli", since=15, specs=_like_specs, deterministic=False)
def bernoulli(xp: Any, x: Array, *, dtype: int | None = None, seed: float | None = None, out: Array = None) -> Array:
    """1 with probability x, else 0. Spec: https://onnx.ai/onnx/operators/onnx__Bernoulli.html"""
    drawn = generator(xp, seed).random(x.shape, dtype=np.float64)
    return _store(xp, drawn < x.astype(np.float64), _like_specs(x, dtype=dtype), out)


def _multinomial_specs(x: Array, *, dtype: int = 6, sample_size: int = 1, **_: Any) -> Spec:
    return Spec((x.shape[0], sample_size), dtype_of(dtype))


@operator("Multinomial", since=7, specs=_multinomial_specs, deterministic=False)
def multinomial(xp: Any, x: Array, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None, out: Array = None) -> Array:
    """Class numbers [batch, sample_size] drawn by unnormalised log-probabilities [batch, classes].

    Spec: https://onnx.ai/onnx/operators/onnx__Multinomial.html
    """
    logits = x.astype(np.float64)
    cumulative = xp.cumsum(xp.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    drawn = generator(xp, seed).random((x.shape[0], sample_size), dtype=np.float64) * cumulative[:, -1:]
    classes = (cumulative[:, None, :] <= drawn[:, :, None]).sum(axis=2)
    return _store(xp, classes, _multinomial_specs(x, dtype=dtype, sample_size=sample_size), out)
