"""Divisions by numbers that the host knows, which kernels do by multiplying."""

from __future__ import annotations

import numpy as np


def divisions(*divisors: int) -> np.ndarray:
    """The structures `Division` of `division.cuh`, a row each; no number that they take is divided by 0, or by 2^31 and more."""
    known = [min(max(divisor, 1), (1 << 31) - 1) for divisor in divisors]
    shifts = [(divisor - 1).bit_length() for divisor in known]
    fields = [(d, ((1 << 32) * ((1 << shift) - d)) // d + 1, shift) for d, shift in zip(known, shifts, strict=True)]
    return np.array(fields, np.uint32).reshape(-1, 3)
