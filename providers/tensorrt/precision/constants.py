"""Constants in a small type, and what is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.dtypes import dtype_named

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.precision.view import View


_MAGNITUDE = np.uint16(0x7FFF)
"""The bits of both small types without the sign."""


@dataclass(frozen=True)
class Converted:
    """A constant in a small type.

    Attributes:
        array: of the small type.
        overflowed: how many finite elements became infinite.
        flushed: how many elements that are not 0 became 0.
        largest: the largest finite magnitude there was.
    """

    array: np.ndarray
    overflowed: int
    flushed: int
    largest: float


class Conversions:
    """The constants of a segment in a small type, each converted once.

    Args:
        view: of the segment.
        small: "float16" or "bfloat16".
    """

    def __init__(self, view: View, small: str) -> None:
        self.small = small
        self._view = view
        self._known: dict[str, Converted] = {}

    def of(self, name: str) -> Converted:
        """The float32 constant `name` in the small type."""
        if name not in self._known:
            array = self._view.constant(name)
            assert array is not None
            self._known[name] = converted(array, self.small)
        return self._known[name]


def converted(array: np.ndarray, small: str) -> Converted:
    """`array`, of float32, rounded to the nearest of `small` ("float16" or "bfloat16"); never an error."""
    if not array.size:
        return Converted(array.astype(dtype_named(small)), 0, 0, 0.0)
    with np.errstate(all="ignore"):
        rounded = array.astype(dtype_named(small))
        largest = float(max(array.max(), -array.min()))
        if not np.isfinite(largest):
            largest = float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))
        overflowed = 0
        if not np.isfinite(np.float32(largest).astype(rounded.dtype)):
            overflowed = int(np.count_nonzero(np.isfinite(array) & ~np.isfinite(rounded)))
        flushed = int(np.count_nonzero(array) - np.count_nonzero(rounded.view(np.uint16) & _MAGNITUDE))
    return Converted(rounded, overflowed, flushed, largest)


def largest_finite(small: str) -> float:
    """The largest finite number of the type."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype_named(small)).max)  # type: ignore[no-untyped-call]
