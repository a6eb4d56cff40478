"""Whisper's rules for timestamps among the tokens of a transcription.

Timestamps come in pairs, an end and the beginning of what follows, and never go back. Source: onnxruntime's WhisperBeamSearch
with logits_processor 1, and ApplyTimestampRules of OpenAI's Whisper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.token_scores import NEVER

_LATEST_FIRST = 50
"""How many steps after the first timestamp token the first one may lie."""


@dataclass(frozen=True, slots=True)
class TimestampRules:
    """The tokens that the rules are about.

    Attributes:
        first_timestamp: the token of time 0; all behind it are timestamps.
        eos: the token that ends a sequence; those before it are text.
        never: tokens that may never follow.
        only_first: tokens that may follow only before the first timestamp.
    """

    first_timestamp: int
    eos: int
    never: tuple[int, ...]
    only_first: tuple[int, ...]

    def applied(self, xp: Any, scores: Array, sequences: np.ndarray) -> Array:
        """New scores (rows, vocabulary) of what follows sequences (rows, length) in host memory."""
        tokens = np.arange(scores.shape[1])
        blocked = np.zeros((len(sequences), len(tokens)), bool)
        blocked[:, [token for token in self.never if 0 <= token < len(tokens)]] = True
        is_time = sequences >= self.first_timestamp
        length = sequences.shape[1]
        begins = np.where(is_time.any(axis=1, keepdims=True), is_time.argmax(axis=1, keepdims=True) + 1, length)
        later = begins < length
        blocked |= later & np.isin(tokens, self.only_first)
        last = is_time[:, -1:]
        before = ~later
        if length > 1:
            before = before | is_time[:, -2:-1]
        times = tokens >= self.first_timestamp
        blocked |= last & before & times
        blocked |= last & ~before & (tokens < self.eos)
        latest = np.take_along_axis(sequences, length - 1 - is_time[:, ::-1].argmax(axis=1)[:, None], axis=1)
        lowest = np.where(last & ~before, latest, latest + 1)
        blocked |= is_time.any(axis=1, keepdims=True) & times & (tokens < lowest)
        blocked |= ~later & (tokens > self.first_timestamp + _LATEST_FIRST)
        scores = xp.where(xp.asarray(blocked), np.float32(NEVER), scores)
        return self._timed_if_likely(xp, scores)

    def _timed_if_likely(self, xp: Any, scores: Array) -> Array:
        """Without text, where the timestamps together are likelier than any text token."""
        first = self.first_timestamp
        likely = _log_sum(xp, scores[:, first:]) > xp.max(scores[:, :first], axis=1, keepdims=True)
        text = xp.arange(scores.shape[1]) < first
        return xp.where(likely & text, np.float32(NEVER), scores)


def _log_sum(xp: Any, scores: Array) -> Array:
    greatest = xp.max(scores, axis=1, keepdims=True)
    return greatest + xp.log(xp.sum(xp.exp(scores - greatest), axis=1, keepdims=True))
