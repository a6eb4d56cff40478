"""Axis numbers as ONNX gives them: negative ones count from the back."""

from __future__ import annotations

from collections.abc import Iterable

from onnxgpu.errors import InvalidArgument


def normalized_axis(axis: int, rank: int, operator: str) -> int:
    """`axis` as a number in [0, rank).

    Raises:
        InvalidArgument: there is no such axis.
    """
    axis = int(axis)
    if not -rank <= axis < rank:
        raise InvalidArgument(f"{operator}: expected an axis in [{-rank}, {rank - 1}] for an input of rank {rank}, got {axis}")
    return axis % rank


def normalized_axes(axes: Iterable[int], rank: int, operator: str) -> tuple[int, ...]:
    """Each of `axes` as a number in [0, rank), in the given order.

    Raises:
        InvalidArgument: there is no such axis, or one is named twice.
    """
    found = tuple(normalized_axis(axis, rank, operator) for axis in axes)
    if len(set(found)) != len(found):
        raise InvalidArgument(f"{operator}: expected each axis once, got {list(found)}")
    return found
