"""Constants in a small type, and what is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.dtypes import dtype_named

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.precision.view import View


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
    with np.errstate(all="ignore"):
        rounded = array.astype(dtype_named(small))
        back = rounded.astype(np.float32)
        finite = np.isfinite(array)
        overflowed = int(np.count_nonzero(finite & ~np.isfinite(back)))
        flushed = int(np.count_nonzero((array != 0) & (back == 0)))
        largest = float(np.max(np.abs(array), where=finite, initial=0.0))
    return Converted(rounded, overflowed, flushed, largest)


def largest_finite(small: str) -> float:
    """The largest finite number of the type."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype_named(small)).max)  # type: ignore[no-untyped-call]
