"""DynamicTimeWarping and BifurcationDetector."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import i64, integers, normal, uniform


def _warping(cost: np.ndarray) -> Case:
    return Case("DynamicTimeWarping", [cost], opset=1, domain="com.microsoft")


def _bifurcation(
    source: np.ndarray, current: np.ndarray, start: int, predicted: np.ndarray | None, shortest: int = 1, longest: int = 3
) -> Case:
    inputs = [source, current, i64(start), *([] if predicted is None else [predicted])]
    attributes = {"min_ngram_size": shortest, "max_ngram_size": longest}
    return Case("BifurcationDetector", inputs, attributes, opset=1, domain="com.microsoft", outputs=2)


def _random_bifurcation(seed: int) -> Case:
    generator = np.random.default_rng(seed)
    source = generator.integers(0, 3, generator.integers(1, 10))
    start, shortest = int(generator.integers(0, len(source) + 1)), int(generator.integers(1, 3))
    predicted = np.append(source[start:], 7)
    predicted[generator.integers(0, len(predicted)) :] = generator.integers(0, 3)
    current = generator.integers(0, 3, generator.integers(1, 6))
    return _bifurcation(source, current, start, predicted, shortest, shortest + int(generator.integers(0, 3)))


CASES = [
    *(_warping(uniform(*shape, seed=seed)) for shape in ((1, 1), (1, 6), (6, 1), (5, 9), (12, 7), (1, 4, 5)) for seed in range(2)),
    _warping(np.zeros((3, 5), "f")),
    _warping(np.zeros((5, 3), "f")),
    _warping(integers(8, 8, low=0, high=3, dtype="f")),
    _warping(normal(20, 30)),
    _bifurcation(i64(5, 6, 7, 8, 9), i64(2, 5), 0, i64(5, 6, 9, 9, 1, 1)),
    _bifurcation(i64(5, 6, 7, 8, 9), i64(2, 5), 0, None),
    _bifurcation(i64(1, 2, 3, 1, 2), i64(1, 2), 5, i64(4)),
    *(_random_bifurcation(seed) for seed in range(12)),
]
