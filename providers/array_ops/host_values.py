"""Small integer inputs that decide shapes, read on the host, and shapes as error messages print them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array

INT64 = np.dtype(np.int64)


def integers(values: Array) -> list[int]:
    """The elements of a host array of any rank, in order, as Python integers."""
    found: list[int] = values.reshape(-1).tolist()
    return found


def integer(value: Array, operator: str, name: str) -> int:
    """The one element of a host array of shape [] or [1], cut to an integer.

    Raises:
        InvalidArgument: `value` has more or fewer elements.
    """
    if value.size != 1:
        raise InvalidArgument(f"{operator}: expected one value for input {name!r}, got shape {braced(value.shape)}")
    return int(value.reshape(-1)[0])


def braced(shape: Sequence[int]) -> str:
    """A shape as onnxruntime writes it: `{2,3}`."""
    return "{" + ",".join(map(str, shape)) + "}"
