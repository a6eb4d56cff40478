"""The choices of one example: structure from hypothesis, which shrinks it; elements from a generator that it seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st

from onnxgpu.dtypes import dtype_named
from tests.schemas import numbers

T = TypeVar("T")
Shape = tuple[int, ...]


class Draw:
    """Choices for a node of one schema.

    Args:
        data: what `st.data()` gives.
        schema: the operator's schema; its type variables are bound as they are first asked for.
    """

    def __init__(self, data: Any, schema: onnx.defs.OpSchema) -> None:
        self._draw = data.draw
        self.schema = schema
        self.version: int = schema.since_version
        self.generator = np.random.default_rng(self.integer(0, 2**16))
        self._types: dict[str, str] = {}

    def among(self, options: Sequence[T]) -> T:
        """One of `options`; hypothesis shrinks towards the first."""
        chosen: T = options[self._draw(st.integers(0, len(options) - 1))]
        return chosen

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        return int(self._draw(st.integers(low, high)))

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self._draw(st.booleans()))

    def seldom(self) -> bool:
        """Yes once in eight."""
        return self.integer(0, 7) == 7

    def real(self, low: float = -2, high: float = 2) -> float:
        """A multiple of 1/8 from low to high."""
        return self.integer(int(low * 8), int(high * 8)) / 8

    def order(self, count: int) -> list[int]:
        """The numbers below `count` in some order."""
        return list(self._draw(st.permutations(range(count))))

    def some(self, attributes: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Values for some of these attributes; those that the schema lacks are left out."""
        return {name: value() for name, value in attributes.items() if name in self.schema.attributes and self.flag()}

    def type(self, parameter: str, only: Callable[[str], bool] = lambda name: True) -> str:
        """The type of a formal parameter (`tensor(float)`); those of one type variable are the same.

        Args:
            parameter: name of an input or output.
            only: which types will do.
        """
        formal = next(p for p in (*self.schema.inputs, *self.schema.outputs) if p.name == parameter)
        if formal.type_str not in self._types:
            self._types[formal.type_str] = self.among(sorted((t for t in formal.types if only(t)), key=_simplest_first))
        return self._types[formal.type_str]

    def dtype(self, parameter: str, only: Callable[[str], bool] = lambda name: True) -> np.dtype:
        """The element type of a tensor parameter; see `type`."""
        name = self.type(parameter, lambda text: text.startswith("tensor(") and only(text[7:-1]))
        return dtype_named(name[7:-1])

    def shape(self, rank: tuple[int, int] = (0, 3), size: tuple[int, int] = (0, 3)) -> Shape:
        """Sizes; 0 is less frequent than its share."""
        return tuple(self.size(*size) for _ in range(self.integer(*rank)))

    def size(self, low: int = 0, high: int = 3) -> int:
        """One size; 0 is less frequent than its share."""
        return 0 if low == 0 and self.seldom() else self.integer(max(low, 1), max(high, 1))

    def axis(self, rank: int, negative: bool = True) -> int:
        """An axis of a tensor with this rank, counted from either end."""
        return self.integer(-rank if negative else 0, rank - 1)

    def axes(self, rank: int, negative: bool = True, least: int = 0) -> list[int]:
        """Distinct axes in any order, counted from either end."""
        chosen = self.order(rank)[: self.integer(min(least, rank), rank)]
        return [a - rank if negative and self.flag() else a for a in chosen]

    def broadcast(self, count: int = 2, rank: int = 3) -> list[Shape]:
        """Shapes that broadcast with one another."""
        full = self.shape((0, rank))
        return [self.narrowed(full) for _ in range(count)]

    def narrowed(self, full: Shape) -> Shape:
        """A shape that broadcasts to `full`."""
        if self.flag():
            return full
        return tuple(1 if self.flag() else size for size in full[self.integer(0, len(full)) :])

    def plain(self, dtype: Any, shape: Shape, low: float = -4, high: float = 4) -> np.ndarray:
        """See `numbers.plain`."""
        return numbers.plain(self.generator, np.dtype(dtype), shape, low, high)

    def anything(self, dtype: Any, shape: Shape) -> np.ndarray:
        """See `numbers.anything`; every other array is plain."""
        return numbers.anything(self.generator, np.dtype(dtype), shape) if self.flag() else self.plain(dtype, shape)

    def words(self, options: Sequence[str], shape: Shape) -> np.ndarray:
        """Strings, each one of `options`."""
        return numbers.picked(self.generator, options, shape)

    def indices(self, shape: Shape, size: int, dtype: Any = np.int64, negative: bool = True) -> np.ndarray:
        """Indices into an axis of `size` elements, counted from either end."""
        return np.asarray(self.generator.integers(-size if negative else 0, max(size, 1), shape)).astype(dtype)


def _simplest_first(name: str) -> tuple[bool, str]:
    return name != "tensor(float)", name
