"""NGramRepeatBlock: scores of next tokens, without those that would repeat what was there."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.array_ops.registry import operator


def block_repeated_ngrams(xp: Any, tokens: Array, scores: Array, size: int) -> None:
    """Set the scores (batch, vocabulary) of tokens that would repeat an n-gram of `tokens` (batch, length) to -inf, in place."""
    count = tokens.shape[1] - size + 1
    if size < 1 or count < 1:
        return
    repeats = xp.ones((tokens.shape[0], count), bool)
    for place in range(size - 1):
        repeats &= tokens[:, place : place + count] == tokens[:, count + place][:, None]
    rows, ngrams = xp.nonzero(repeats)
    scores[rows, tokens[rows, ngrams + size - 1]] = -np.inf


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
