"""Array modules: what an operator is given to compute with, NumPy or a library with NumPy's interface."""

from __future__ import annotations

from typing import Any


def is_numpy(xp: Any) -> bool:
    """True for NumPy, and for NumPy with products of a provider's own."""
    return getattr(xp, "__name__", "") == "numpy"
