"""Arrays of every ONNX element type: small numbers, which sum exactly, or anything the type can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from onnxgpu.dtypes import is_integer

WORDS = ("", "a", "B", "ab", "Straße", "日本", "a b", "-1")


def plain(generator: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], low: float = -4, high: float = 4) -> np.ndarray:
    """Numbers from low to high: whole ones for integers, else multiples of 1/4, so that few roundings hide in sums."""
    if dtype.kind == "O":
        return words(generator, shape)
    if dtype.kind == "b":
        return np.asarray(generator.random(shape) < 0.5)
    if dtype.kind == "c":
        real, imaginary = (plain(generator, np.dtype(np.float64), shape, low, high) for _ in range(2))
        return np.asarray(real + 1j * imaginary, dtype)
    if is_integer(dtype):
        least, most = integer_range(dtype)
        return np.asarray(generator.integers(max(least, int(np.ceil(low))), min(most, int(high)) + 1, shape)).astype(dtype)
    return np.asarray(generator.integers(int(np.ceil(low * 4)), int(high * 4) + 1, shape) / 4).astype(dtype)


def anything(generator: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Plain numbers, some of them replaced by the type's extremes, infinities, NaN and signed zeros."""
    array = plain(generator, dtype, shape)
    if dtype.kind == "O" or dtype.kind == "b":
        return array
    special = specials(dtype)
    chosen = generator.random(shape) < 0.4
    picked: np.ndarray = np.where(chosen, special[generator.integers(0, len(special), shape)], array)
    return picked.astype(dtype)


def specials(dtype: np.dtype) -> np.ndarray:
    """The numbers of a type at which operators go wrong."""
    if dtype.kind == "c":
        return np.array([0, 1j, complex(-0.0, 0.0), complex(1e3, -1e3)], dtype)
    if is_integer(dtype):
        least, most = integer_range(dtype)
        return np.array([least, most, 0, 1], dtype)
    limits = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    with np.errstate(all="ignore"):
        numbers = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 100.0, -100.0, 0.5, -1.5], np.float64).astype(dtype)
    return np.concatenate([numbers, np.array([limits.max, limits.min, limits.smallest_normal, limits.eps], dtype)])


def integer_range(dtype: np.dtype) -> tuple[int, int]:
    limits: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(limits.min), int(limits.max)


def words(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Strings."""
    return picked(generator, WORDS, shape)


def picked(generator: np.random.Generator, options: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    """Strings, each one of `options`."""
    array = np.empty(shape, object)
    array.reshape(-1)[:] = [options[i] for i in generator.integers(0, len(options), array.size)]
    return array
