"""Seeded random inputs for any model, made from what a session says of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEQUENCE_LENGTH = 128
VOCABULARY = 400
"""Token ids stay below this: the small text models have 500 rows in their embedding tables."""

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True, slots=True)
class InputDescription:
    """An input as a session describes it: `type` as in `tensor(float)`, a dimension is an int, a symbol or None."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


def described_inputs(session: Any) -> list[InputDescription]:
    """What a session of onnxgpu or onnxruntime says of its inputs."""
    return [InputDescription(i.name, i.type, tuple(i.shape or ())) for i in session.get_inputs()]


def make_inputs(descriptions: Sequence[InputDescription], *, seed: int = 0, sequence: int = SEQUENCE_LENGTH) -> dict[str, np.ndarray]:
    """Random values for each input: normal for floats, small non-negative numbers for integers, ones for masks.

    An unknown first dimension counts as 1, any other as `sequence`.

    Raises:
        ValueError: for an input type that is none of the numeric tensor types.
    """
    generator = np.random.default_rng(seed)
    return {d.name: _make_input(d, generator, sequence) for d in descriptions}


def _make_input(description: InputDescription, generator: np.random.Generator, sequence: int) -> np.ndarray:
    if description.type not in _DTYPES:
        raise ValueError(f"input '{description.name}' is a {description.type}; expected one of {', '.join(_DTYPES)}")
    dtype = np.dtype(_DTYPES[description.type])
    shape = tuple(_size(d, 1 if axis == 0 else sequence) for axis, d in enumerate(description.shape))
    name = description.name.lower()
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if "mask" in name or dtype == np.bool_:
        return np.ones(shape, dtype)
    if "type" in name:
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.integers(0, min(VOCABULARY, 2 ** (8 * dtype.itemsize - 1)), shape).astype(dtype)


def _size(dimension: int | str | None, otherwise: int) -> int:
    return dimension if isinstance(dimension, int) and dimension > 0 else otherwise
