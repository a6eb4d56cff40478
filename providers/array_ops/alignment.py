"""Aligning sequences: DynamicTimeWarping and BifurcationDetector of domain com.microsoft, step by step on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.host_values import braced, integer, integers
from onnxgpu.providers.array_ops.registry import operator

_DIAGONAL, _UP, _LEFT = 0, 1, 2


def _moves(cost: np.ndarray) -> np.ndarray:
    """The last move of the cheapest path to each point of `cost` (M, N), in an array with a border of one: (M + 1, N + 1).

    Filled one anti-diagonal at a time: row i of `total` holds the sums at column j as element i of diagonal i + j.
    """
    rows, columns = cost.shape
    moves = np.full((rows + 1, columns + 1), _LEFT, np.int8)
    moves[1:, 0] = _UP
    total = np.full((rows + 1, columns + 1), np.inf, cost.dtype)
    total[0, 0] = 0
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before, up, left = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        through = (before < up) & (before < left)
        above = ~through & (up < before) & (up < left)
        moves[i, j] = np.where(through, _DIAGONAL, np.where(above, _UP, _LEFT))
        total[i, j] = cost[i - 1, j - 1] + np.where(through, before, np.where(above, up, left))
    return moves


@operator("DynamicTimeWarping", domain="com.microsoft", types=frozenset({"float"}), host=("cost",))
def dynamic_time_warping(xp: Any, cost: Array) -> Array:
    """The cheapest path through costs (M, N) or (1, M, N) from the first to the last element.

    Returns:
        int32 of shape (2, length): the rows and the columns of its points. A step goes one row, one column or both
        ahead; of equal ones the step along a row is taken.

    Spec: onnxruntime's ContribOperators.md
    """
    matrix = np.asarray(cost)
    matrix = matrix[0] if matrix.ndim == 3 and matrix.shape[0] == 1 else matrix
    if matrix.ndim != 2 or matrix.size == 0:
        raise InvalidArgument(f"DynamicTimeWarping: expected costs of shape {{M,N}} or {{1,M,N}}, got {braced(cost.shape)}")
    moves = _moves(matrix)
    i, j = matrix.shape
    path = []
    while i or j:
        path.append((i - 1, j - 1))
        move = moves[i, j]
        i -= move != _LEFT
        j -= move != _UP
    return xp.asarray(np.array(path[::-1], np.int32).T.copy())


def _found(tokens: list[int], ngram: list[int], start: int = 0) -> int:
    places = (i for i in range(start, len(tokens) - len(ngram) + 1) if tokens[i : i + len(ngram)] == ngram)
    return next(places, -1)


def _suffix_match(source: list[int], tokens: list[int], shortest: int, longest: int) -> int:
    """The place in `source` behind its one occurrence of the end of `tokens`, taking longer ends while there are several; or -1."""
    index = -1
    for length in range(shortest, min(longest, len(tokens)) + 1):
        ngram = tokens[len(tokens) - length :]
        place = _found(source, ngram)
        if place < 0:
            break
        index = place + length
        if index >= len(source) or _found(source, ngram, place + 1) < 0:
            break
        index = -1
    return index


@operator("BifurcationDetector", domain="com.microsoft", host=("src_tokens", "cur_tokens", "prev_suffix_match_idx", "pred_tokens"))
def bifurcation_detector(
    xp: Any,
    src_tokens: Array,
    cur_tokens: Array,
    prev_suffix_match_idx: Array,
    pred_tokens: Array | None = None,
    *,
    min_ngram_size: int = 1,
    max_ngram_size: int = 3,
) -> tuple[Array, Array]:
    """The current tokens with those predicted up to where they leave the source, and where their end occurs in the source.

    Returns:
        Tokens, int64 of shape (length,); the index behind the match of their last n-gram in the source, or -1, of shape (1,).

    Spec: onnxruntime's ContribOperators.md
    """
    source, tokens = integers(src_tokens), integers(cur_tokens)
    if pred_tokens is not None:
        start, predicted = integer(prev_suffix_match_idx, "BifurcationDetector", "prev_suffix_match_idx"), integers(pred_tokens)
        if not 0 <= start <= len(source) or len(predicted) != len(source) + 1 - start:
            raise InvalidArgument(
                f"BifurcationDetector: expected prev_suffix_match_idx in [0, {len(source)}], and as many pred_tokens as source tokens "
                f"from there on and one more, got {start} and {len(predicted)} pred_tokens"
            )
        expected = source[start:]
        agreed = next((i for i, (p, s) in enumerate(zip(predicted, expected, strict=False)) if p != s), len(expected))
        tokens += predicted[: agreed + 1]
    match = _suffix_match(source, tokens, min_ngram_size, max_ngram_size)
    return xp.asarray(np.array(tokens, np.int64)), xp.asarray(np.array([match], np.int64))
