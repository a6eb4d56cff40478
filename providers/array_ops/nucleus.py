"""Sampling from the most likely tokens: which may be drawn, and the draws."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.seeds import next_seed

_MODULUS, _FACTOR = 2**31 - 1, 16807


class MinimalRandom:
    """The generator that onnxruntime draws with: multiplicative congruential (minimal standard), two steps for a double.

    Args:
        seed: where it begins; None: where `set_seed` says, or anywhere.
    """

    def __init__(self, seed: int | None) -> None:
        start = next_seed() if seed is None else seed
        self._state = (secrets.randbelow(_MODULUS - 1) + 1 if start is None else start % _MODULUS) or 1

    def _next(self) -> int:
        self._state = self._state * _FACTOR % _MODULUS
        return self._state - 1

    def uniform(self, count: int) -> np.ndarray:
        """`count` doubles in [0, 1)."""
        steps = float(_MODULUS - 1)
        return np.array([(self._next() + self._next() * steps) / (steps * steps) for _ in range(count)])


def filtered_scores(xp: Any, scores: Array, *, top_p: float, filter_value: float, kept: int, custom: bool) -> Array:
    """Scores (batch, vocabulary) with `filter_value` for tokens that may not be drawn.

    These are the least likely ones that have up to 1 - `top_p` together, or, with `custom`, all behind the most likely that have
    more than `top_p` together. The last `kept` are left as they are.
    """
    order = xp.argsort(-scores if custom else scores, axis=1, kind="stable")
    ranked = xp.take_along_axis(scores, order, axis=1)
    shares = xp.exp(ranked - xp.max(ranked, axis=1, keepdims=True))
    together = xp.cumsum(shares / xp.sum(shares, axis=1, keepdims=True), axis=1)
    dropped = xp.zeros(scores.shape, bool)
    if custom:
        dropped[:, 1:] = together[:, :-1] > np.float32(top_p)
    else:
        count = scores.shape[1] - kept
        dropped[:, :count] = together[:, :count] <= np.float32(1 - top_p)
        dropped[:, 0] = together[:, 0] <= np.float32(1 - top_p)
    places = xp.argsort(order, axis=1, kind="stable")
    return xp.where(xp.take_along_axis(dropped, places, axis=1), np.float32(filter_value), scores)


def sampled_tokens(xp: Any, scores: Array, random: MinimalRandom) -> np.ndarray:
    """One token for each row of scores (batch, vocabulary), drawn with the probabilities of their softmax; int32 on the host."""
    wide = scores.astype(np.float64)
    cumulative = xp.cumsum(xp.exp(wide - xp.max(wide, axis=1, keepdims=True)), axis=1)
    drawn = xp.asarray(random.uniform(scores.shape[0]))[:, None] * cumulative[:, -1:]
    tokens = np.array(xp.sum(cumulative <= drawn, axis=1).tolist(), np.int32)
    return np.minimum(tokens, np.int32(scores.shape[1] - 1))
