"""The arithmetic of paired timings: a ratio per round, its median and spread, and the geometric mean over models."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the ratios of all rounds, with their quartiles."""

    median: float
    spread: tuple[float, float]


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Ratio ours/theirs, round by round, so that a drift of the machine over the rounds cancels.

    Raises:
        ValueError: the two have different lengths, or none.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"expected as many rounds on both sides, at least one; got {len(ours)} and {len(theirs)}")
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(ratios), quartiles(ratios))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The 25th and 75th percentile, interpolated between neighbours."""
    ordered = sorted(values)
    return _percentile(ordered, 0.25), _percentile(ordered, 0.75)


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean: 2 and 0.5 average to 1; NaN where there are no values."""
    return math.exp(math.fsum(math.log(v) for v in values) / len(values)) if values else math.nan


def geomean_ratio(models: Mapping[str, Mapping[str, float]], key: str = "ratio") -> float:
    """Geometric mean of one number over the models of a result."""
    return geometric_mean([model[key] for model in models.values()])
