"""Which of NumPy's functions a stand-in knows, and what is called in their place: ufuncs and methods, which take less time."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from onnxgpu.provider import Array

REDUCTIONS: dict[Callable[..., Any], np.ufunc] = {
    np.sum: np.add,
    np.prod: np.multiply,
    np.max: np.maximum,
    np.amax: np.maximum,
    np.min: np.minimum,
    np.amin: np.minimum,
    np.any: np.logical_or,
    np.all: np.logical_and,
}
RUNNING: dict[Callable[..., Any], np.ufunc] = {np.cumsum: np.add, np.cumprod: np.multiply}
PERMUTATIONS = frozenset({np.transpose, np.swapaxes, np.moveaxis})
EXTREMES: dict[Callable[..., Any], Callable[..., Any]] = {np.argmax: np.ndarray.argmax, np.argmin: np.ndarray.argmin}
METHODS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.argsort: np.ndarray.argsort,
    np.repeat: np.ndarray.repeat,
    np.take: np.ndarray.take,
}
KNOWN_FUNCTIONS = frozenset(
    {*METHODS, np.concatenate, np.stack, np.tile, np.zeros_like, np.ones_like, np.full_like, np.take_along_axis} | {np.sort, np.var}
)
"""Those whose result has a shape that no value decides; each returns an array of its own."""

assigned = operator.setitem


def maximum(a: Array, b: Array, out: Array) -> None:
    """max(a, b); NumPy wants the output by keyword."""
    np.maximum(a, b, out=out)


def minimum(a: Array, b: Array, out: Array) -> None:
    """min(a, b); NumPy wants the output by keyword."""
    np.minimum(a, b, out=out)


WITH_KEYWORD: dict[np.ufunc, Callable[..., Any]] = {np.maximum: maximum, np.minimum: minimum}
