"""TfIdfVectorizer: how often known n-grams occur in sequences of tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.registry import operator

FLOAT = np.dtype(np.float32)
MODES = ("TF", "IDF", "TFIDF")
Pool = Mapping[tuple[Hashable, ...], int]


@lru_cache(maxsize=64)
def ngram_pool(tokens: tuple[Hashable, ...], starts: tuple[int, ...], indexes: tuple[int, ...]) -> Pool:
    """Output position of each n-gram: those of length n are `tokens[starts[n-1]:starts[n]]`, n tokens each."""
    pool: dict[tuple[Hashable, ...], int] = {}
    for length, (start, stop) in enumerate(zip(starts, (*starts[1:], len(tokens)), strict=True), 1):
        for first in range(start, stop, length):
            pool[tokens[first : first + length]] = indexes[len(pool)]
    return pool


def _ngrams(row: Sequence[Hashable], shortest: int, longest: int, max_skip: int) -> Iterator[tuple[Hashable, ...]]:
    for length in range(shortest, longest + 1):
        for stride in range(1, 2 if length == 1 else max_skip + 2):
            reach = (length - 1) * stride + 1
            for first in range(len(row) - reach + 1):
                yield tuple(row[first : first + reach : stride])


def ngram_spec(x: Array, *, ngram_indexes: Sequence[int], **_: Any) -> Spec:
    """A count a place for each row of tokens.

    Raises:
        InvalidArgument: the tokens are in other than one or two axes.
    """
    if x.ndim not in (1, 2):
        raise InvalidArgument(f"TfIdfVectorizer: expected an input of shape [C] or [N,C], got {braced(x.shape)}")
    return Spec((*x.shape[:-1], max(ngram_indexes, default=-1) + 1), FLOAT)


@operator("TfIdfVectorizer", since=9, specs=ngram_spec)
def tf_idf_vectorizer(
    xp: Any,
    x: Array,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] = (),
    pool_strings: Sequence[str] = (),
    weights: Sequence[float] = (),
    out: Array = None,
) -> Array:
    """Counts of the pool's n-grams in each row of tokens [C] or [N,C], weighted as `mode` says; float32.

    Spec: https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html
    """
    if mode not in MODES:
        raise InvalidArgument(f"TfIdfVectorizer: expected mode {', '.join(MODES)}, got {mode!r}")
    result = xp.empty(ngram_spec(x, ngram_indexes=ngram_indexes).shape, FLOAT) if out is None else out
    result.fill(0)
    pool = ngram_pool(tuple(pool_strings or pool_int64s), tuple(ngram_counts), tuple(ngram_indexes))
    counts = result.reshape(-1, result.shape[-1])
    for row, tokens in zip(counts, x.reshape(-1, x.shape[-1]).tolist(), strict=True):
        for ngram in _ngrams(tokens, min_gram_length, max_gram_length, max_skip_count):
            position = pool.get(ngram)
            if position is not None:
                row[position] += 1
    if mode == "IDF":
        counts[...] = counts > 0
    if mode != "TF" and len(weights):
        counts[:, np.asarray(ngram_indexes)] *= np.asarray(weights, FLOAT)
    return result
