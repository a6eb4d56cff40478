"""Inputs that operator cases share: seeded numbers of every element type, and the extremes of floats."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS: list[Any] = [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def floats(shape: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Normal numbers, those near zero moved away from it."""
    values = np.random.default_rng(seed).standard_normal(shape) * 2
    return np.asarray(np.where(np.abs(values) < 0.05, 0.5, values)).astype(dtype)


def integers(shape: tuple[int, ...], dtype: Any, seed: int = 0, zero: bool = True) -> np.ndarray:
    """Small integers of both signs where the type has them; without zeros if `zero` is false."""
    least = -9 if np.dtype(dtype).kind == "i" else 0
    values = np.random.default_rng(seed).integers(least, 10, shape)
    return np.asarray(values if zero else np.where(values == 0, 3, values)).astype(dtype)


def array(values: Any) -> np.ndarray:
    """A float32 array of these values."""
    return np.array(values, np.float32)


def extremes(dtype: Any) -> np.ndarray:
    """Zeros of both signs, the least and greatest numbers, infinities and NaN."""
    info = np.finfo(dtype)
    return np.array([0.0, -0.0, info.tiny, info.max, info.min, np.inf, -np.inf, np.nan, 1.0, -1.0], dtype)
