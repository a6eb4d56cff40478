"""Shapes as the bindings hold them: at most eight numbers, equal to a tuple or a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from onnxgpu.providers.tensorrt.stand_in.registry import implements

MAX_DIMS = 8


@implements("Dims")
class Dims:
    """Any number of dimensions up to `MAX_DIMS`."""

    length: ClassVar[int | None] = None

    def __init__(self, *numbers: int | Sequence[int]) -> None:
        flat = tuple(each for number in numbers for each in ((number,) if isinstance(number, int) else number))
        if len(flat) > MAX_DIMS:
            raise ValueError(f"Input length {len(flat)} exceeds max expected length {MAX_DIMS}")
        if self.length and flat and len(flat) != self.length:
            name = type(self).__name__
            raise ValueError(f"Input length {len(flat)} not equal to expected {name} length, which is {self.length}")
        self.shape: tuple[int, ...] = flat or (0,) * (self.length or 0)

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, place: int | slice) -> int | tuple[int, ...]:
        if isinstance(place, int) and not -len(self) <= place < len(self):
            raise IndexError("Out of bounds")
        return self.shape[place]

    def __setitem__(self, place: int | slice, value: int | tuple[int, ...]) -> None:
        numbers = list(self.shape)
        if isinstance(place, int):
            if not isinstance(value, int) or not -len(self) <= place < len(self):
                raise IndexError("Out of bounds")
            numbers[place] = value
        elif isinstance(value, tuple) and len(value) == len(numbers[place]):
            numbers[place] = value
        else:
            raise ValueError("the slice and the value have different lengths")
        self.shape = tuple(numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple | list) and self.shape == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self.shape)

    __repr__ = __str__


@implements("Dims2")
class Dims2(Dims):
    """Two dimensions."""

    length = 2


@implements("DimsHW")
class DimsHW(Dims2):
    """Height and width."""

    @property
    def h(self) -> int:
        """The first."""
        return self.shape[0]

    @h.setter
    def h(self, value: int) -> None:
        self.shape = (value, self.shape[1])

    @property
    def w(self) -> int:
        """The second."""
        return self.shape[1]

    @w.setter
    def w(self, value: int) -> None:
        self.shape = (self.shape[0], value)


@implements("Dims3")
class Dims3(Dims):
    """Three dimensions."""

    length = 3


@implements("Dims4")
class Dims4(Dims):
    """Four dimensions."""

    length = 4
