"""Einstein sums as products of matrices, two factors at a time."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from onnxgpu.provider import Array

Label = str | int
"""A letter of the equation, or an axis of its ellipsis, counted from the back: -1 is the last."""


@dataclass(frozen=True, slots=True)
class Factor:
    """An array and the labels of its axes, all different; axes of one element are left out."""

    array: Array
    labels: tuple[Label, ...]

    def summed(self, kept: AbstractSet[Label]) -> Factor:
        """Without the labels that are not in `kept`."""
        axes = tuple(axis for axis, label in enumerate(self.labels) if label not in kept)
        if not axes:
            return self
        return Factor(self.array.sum(axis=axes, dtype=self.array.dtype), tuple(label for label in self.labels if label in kept))

    def joined(self, *groups: Sequence[Label]) -> Array:
        """With an axis for each group of labels."""
        order = [self.labels.index(label) for group in groups for label in group]
        return self.array.transpose(order).reshape([prod(self.size(label) for label in group) for group in groups])

    def size(self, label: Label) -> int:
        """Of the axis."""
        return int(self.array.shape[self.labels.index(label)])


def einsum(xp: Any, equation: str, operands: Sequence[Array]) -> Array:
    """As `numpy.einsum`, of operands of one element type, by `xp.matmul`.

    Raises:
        ValueError: the equation does not fit the operands.
    """
    path, _ = np.einsum_path(equation, *(np.broadcast_to(np.zeros((), x.dtype), x.shape) for x in operands), optimize="greedy")
    terms, result = _labels_of(equation, [x.ndim for x in operands])
    sizes = dict.fromkeys(result, 1)
    for term, x in zip(terms, operands, strict=True):
        sizes |= {label: size for label, size in zip(term, x.shape, strict=True) if size != 1}
    factors = [_distinct(xp, x, term) for x, term in zip(operands, terms, strict=True)]
    for chosen in path[1:]:
        first, *others = [factors.pop(place) for place in sorted(chosen, reverse=True)]
        for place, other in enumerate(others):
            kept = {*result, *(label for factor in (*factors, *others[place + 1 :]) for label in factor.labels)}
            first = _product(xp, first, other, kept)
        factors.append(first)
    (last,) = factors
    last = last.summed({*result})
    return last.joined(*([label] for label in result if label in last.labels)).reshape([sizes[label] for label in result])


def _labels_of(equation: str, ranks: Sequence[int]) -> tuple[list[list[Label]], list[Label]]:
    """Of the axes of each operand, and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    most = max([0, *(count for term, count in zip(terms, hidden, strict=True) if "..." in term)])
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        right = "..." + "".join(sorted(letter for letter in {*letters} if letters.count(letter) == 1))
    return [_spelt(term, count) for term, count in zip(terms, hidden, strict=True)], _spelt(right, most)


def _spelt(term: str, hidden: int) -> list[Label]:
    before, ellipsis, after = term.partition("...")
    return [*before, *(range(-hidden, 0) if ellipsis else ()), *after]


def _distinct(xp: Any, x: Array, labels: Sequence[Label]) -> Factor:
    """The diagonal of axes with one label, without the axes of one element."""
    left = [label for label, size in zip(labels, x.shape, strict=True) if size != 1]
    array = x.reshape([size for size in x.shape if size != 1])
    for label in dict.fromkeys(left):
        while left.count(label) > 1:
            first, second = [axis for axis, each in enumerate(left) if each == label][:2]
            array = xp.diagonal(array, 0, first, second)
            left = [each for axis, each in enumerate(left) if axis not in (first, second)] + [label]
    return Factor(array, tuple(left))


def _product(xp: Any, a: Factor, b: Factor, kept: AbstractSet[Label]) -> Factor:
    """Of two factors, with sums over the labels that are not in `kept`."""
    a = a.summed(kept | {*b.labels})
    b = b.summed(kept | {*a.labels})
    batch = [label for label in a.labels if label in b.labels and label in kept]
    depth = [label for label in a.labels if label in b.labels and label not in kept]
    rows = [label for label in a.labels if label not in b.labels]
    columns = [label for label in b.labels if label not in a.labels]
    product = xp.matmul(a.joined(batch, rows, depth), b.joined(batch, depth, columns))
    shape = [*map(a.size, (*batch, *rows)), *map(b.size, columns)]
    return Factor(product.reshape(shape), (*batch, *rows, *columns))
