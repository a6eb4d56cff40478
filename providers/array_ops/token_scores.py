"""Scores of next tokens: NGramRepeatBlock, and the rules by which text generation changes scores before it chooses.

Sequences are (rows, length) in host memory, scores (rows, vocabulary); a row is a beam of an element of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.array_ops.registry import operator

NEVER = float(np.finfo(np.float32).min)
"""The score that generation gives to tokens that may not follow."""


@dataclass(frozen=True, slots=True)
class ScoreRules:
    """What is done to the scores of each step, in this order.

    Attributes:
        repetition_penalty: scores of tokens that occurred are divided by it, or multiplied where they are negative.
        no_repeat_ngram_size: n-grams of this size may not occur twice; 0: they may.
        vocabulary: 0 for tokens that may never follow, (vocabulary,).
        first_vocabulary: the same for the first step, (batch, vocabulary).
        min_length: sequences shorter than this do not end.
        eos_token: the token that ends a sequence.
        temperature: scores are divided by it.
        presence: how often each token's penalty is taken off, (batch, vocabulary).
        presence_penalty: that penalty.
    """

    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    vocabulary: Array | None = None
    first_vocabulary: Array | None = None
    min_length: int = 0
    eos_token: int = -1
    temperature: float = 1.0
    presence: Array | None = None
    presence_penalty: float = 0.0

    def applied(self, xp: Any, scores: Array, sequences: np.ndarray, first: bool) -> Array:
        """New scores; `first` for the first step of a generation."""
        scores = scores.copy()
        rows = scores.shape[0]
        if self.repetition_penalty != 1.0:
            seen = xp.zeros(scores.shape, bool)
            seen[xp.arange(rows)[:, None], xp.asarray(sequences)] = True
            penalty = np.float32(self.repetition_penalty)
            scores = xp.where(seen, xp.where(scores < 0, scores * penalty, scores / penalty), scores)
        if self.no_repeat_ngram_size:
            block_repeated_ngrams(xp, xp.asarray(sequences), scores, self.no_repeat_ngram_size, NEVER)
        if self.vocabulary is not None:
            scores = xp.where(self.vocabulary != 0, scores, np.float32(NEVER))
        if self.first_vocabulary is not None and first:
            beams = rows // self.first_vocabulary.shape[0]
            scores = xp.where(xp.repeat(self.first_vocabulary, beams, axis=0) != 0, scores, np.float32(NEVER))
        if sequences.shape[1] < self.min_length and self.eos_token >= 0:
            scores[:, self.eos_token] = NEVER
        if self.temperature not in (0.0, 1.0):
            scores = scores / np.float32(self.temperature)
        if self.presence is not None and self.presence_penalty:
            scores = scores - self.presence.astype(np.float32) * np.float32(self.presence_penalty)
        return scores


def block_repeated_ngrams(xp: Any, tokens: Array, scores: Array, size: int, blocked: float = -np.inf) -> None:
    """Set the scores of tokens that would repeat an n-gram of `tokens` (rows, length) to `blocked`, in place."""
    count = tokens.shape[1] - size + 1
    if size < 1 or count < 1:
        return
    repeats = xp.ones((tokens.shape[0], count), bool)
    for place in range(size - 1):
        repeats &= tokens[:, place : place + count] == tokens[:, count + place][:, None]
    rows, ngrams = xp.nonzero(repeats)
    scores[rows, tokens[rows, ngrams + size - 1]] = blocked


def _specs(input_ids: Array, scores: Array, *, ngram_size: int) -> Spec:
    if len(input_ids.shape) != 2 or len(scores.shape) != 2 or input_ids.shape[0] != scores.shape[0] or ngram_size < 1:
        raise InvalidArgument(
            f"NGramRepeatBlock: expected input_ids (batch, length), scores (batch, vocabulary) and ngram_size from 1, "
            f"got {braced(input_ids.shape)}, {braced(scores.shape)} and {ngram_size}"
        )
    return Spec(tuple(scores.shape), scores.dtype, may_reuse=(1,))


@operator("NGramRepeatBlock", domain="com.microsoft", specs=_specs)
def ngram_repeat_block(xp: Any, input_ids: Array, scores: Array, *, ngram_size: int, out: Array = None) -> Array:
    """The scores, -inf for tokens that would make an n-gram of `input_ids` occur again. Spec: onnxruntime's ContribOperators.md"""
    vocabulary = scores.shape[1]
    if input_ids.size and (int(input_ids.min()) < 0 or int(input_ids.max()) >= vocabulary):
        raise InvalidArgument(
            f"NGramRepeatBlock: expected tokens from 0 to {vocabulary - 1}, got {int(input_ids.min())} to {int(input_ids.max())}"
        )
    result = stored(xp, scores, scores.dtype, scores.copy() if out is None else out)
    block_repeated_ngrams(xp, input_ids, result, ngram_size)
    return result
