"""Random operators where nothing is left to chance: what they draw is the only thing that can be drawn.

The distributions are tested in tests/emulated/test_random_numbers.py, types and shapes in tests/schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal

_INF = float("inf")


def _case(name: str, inputs: Sequence[np.ndarray], expected: np.ndarray, attributes: Mapping[str, Any] | None = None) -> Case:
    return Case(name, inputs, attributes or {}, expected=[expected], note="what is drawn is certain")


def _bernoulli(dtype: str) -> Case:
    whether = np.array([[0, 1, 1], [1, 0, 0]], dtype)
    return _case("Bernoulli", [whether], whether)


CASES = [
    *(_bernoulli(dtype) for dtype in ("float32", "float64", "float16")),
    _case("Multinomial", [np.array([[-_INF, 0, -_INF], [2, -_INF, -_INF]], "f")], np.array([[1] * 4, [0] * 4], "i4"), {"sample_size": 4}),
    _case("RandomNormal", [], np.full((2, 3), 1.5, "f"), {"shape": [2, 3], "mean": 1.5, "scale": 0.0}),
    _case("RandomNormalLike", [normal(3, 2)], np.full((3, 2), -2.0, "f"), {"mean": -2.0, "scale": 0.0}),
    _case("RandomUniform", [], np.full((5,), 0.25, "f"), {"shape": [5], "low": 0.25, "high": 0.25}),
    *(
        _case("RandomUniformLike", [normal(3, 2, dtype=dtype)], np.full((3, 2), 3, dtype), {"low": 3.0, "high": 3.0})
        for dtype in ("float32", "float64")
    ),
]
