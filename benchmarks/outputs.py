"""Checks of what a model answers: nothing is timed that gives nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class OutputFault(Exception):
    """An output is constant, not finite, or not what the other side computes."""


def check_outputs(name: str, outputs: Sequence[Any]) -> None:
    """Refuse outputs that a wrong runtime could give too: empty, constant, infinite or NaN.

    Raises:
        OutputFault: says which output of model `name` it is, and what is wrong with it.
    """
    if not outputs:
        raise OutputFault(f"{name}: no outputs")
    for index, output in enumerate(outputs):
        array = np.asarray(output)
        where = f"{name}: output {index} {array.dtype}{list(array.shape)}"
        if array.dtype.kind in "OSU":
            continue
        if not array.size:
            raise OutputFault(f"{where} is empty")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise OutputFault(f"{where} has {int((~np.isfinite(array)).sum())} values that are infinite or NaN")
        if array.size > 1 and (array == array.flat[0]).all():
            raise OutputFault(f"{where} is {array.flat[0]} everywhere")


def max_error(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """max|a−b| / max|b| over corresponding outputs, the largest of them; `inf` where shapes or dtypes differ.

    Outputs of the reference side that are zero throughout count with the absolute difference.
    """
    if len(ours) != len(theirs):
        return float("inf")
    return max((_relative_error(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def _relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return float("inf")
    if ours.dtype.kind in "OSU":
        return 0.0 if (ours == theirs).all() else float("inf")
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if not a.size:
        return 0.0
    difference, scale = float(np.abs(a - b).max()), float(np.abs(b).max())
    if not np.isfinite(difference):
        return float("inf")
    return difference / scale if scale else difference
