"""The seed of random operators that have none of their own."""

from __future__ import annotations

import threading

import numpy as np

_lock = threading.Lock()
_sequence: np.random.SeedSequence | None = None


def set_seed(seed: int) -> None:
    """From here on, random operators without a seed draw a reproducible series of numbers, which begins anew now.

    Runs in several threads take their turns in the order in which they come.

    Raises:
        TypeError: `seed` is no integer of 64 bits.
    """
    global _sequence
    if not hasattr(seed, "__index__") or not -(2**63) <= int(seed) < 2**63:
        raise TypeError(f"set_seed(): incompatible function arguments. It wants an integer of 64 bits, got {seed!r}")
    with _lock:
        _sequence = np.random.SeedSequence(int(seed) % 2**64)


def next_seed() -> int | None:
    """The seed of the next draw, 64 bits; None if `set_seed` was not called: any."""
    with _lock:
        return None if _sequence is None else int(_sequence.spawn(1)[0].generate_state(1, np.uint64)[0])
