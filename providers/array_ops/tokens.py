"""Words to tokens and to vectors: Tokenizer and WordConvEmbedding of domain com.microsoft."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.gathering import check_bounds
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.strings import STRINGS, compiled_re2, string_array

START, END = "\x02", "\x03"

_CHOICES = re.compile(r"[|?{]|[*+].*[*+]", re.DOTALL)
"""Syntax with which the first match that `re` finds at a place may not be the longest, as RE2 is asked for."""

_ANCHORS = re.compile(r"\$|\\[bBzZ]")


def _characters(operation: Operation) -> bool:
    attributes = operation.attributes
    return tuple(attributes.get("separators", ())) == ("",) or attributes.get("tokenexp") == "."


def _unusable(operation: Operation) -> str | None:
    attributes = operation.attributes
    separators = attributes.get("separators", ())
    patterns = list(separators) or [attributes["tokenexp"]] if separators or attributes.get("tokenexp") else []
    if not patterns:
        return "needs separators or a tokenexp"
    if attributes.get("mincharnum", 1) < 1 or (_characters(operation) and attributes["mincharnum"] > 1):
        return "needs a mincharnum of at least 1, and of 1 where every character is a token"
    for pattern in patterns:
        try:
            compiled_re2(pattern)
        except re.error as problem:
            return f"cannot read the pattern {pattern!r}: {problem}"
        if _CHOICES.search(pattern) and _ANCHORS.search(pattern):
            return f"cannot find the longest match of a pattern with choices and anchors: {pattern!r}"
    return None


def _longest_match(pattern: re.Pattern[str], text: str, start: int) -> tuple[int, int] | None:
    """The first place from `start` on where `pattern` matches, and the end of its longest match there, as RE2 gives it."""
    found = pattern.search(text, start)
    if found is None:
        return None
    first, last = found.span()
    if _CHOICES.search(pattern.pattern):
        last = next((end for end in range(len(text), last, -1) if pattern.fullmatch(text, first, end)), last)
    return first, last


def _between(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """What lies between the matches; an empty match takes the character behind it."""
    start = 0
    while start <= len(text) and (found := _longest_match(pattern, text, start)):
        yield text[start : found[0]]
        start = max(found[1], found[0] + 1)
    yield text[start:]


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    start = 0
    while start < len(text) and (found := _longest_match(pattern, text, start)):
        yield text[found[0] : found[1]]
        start = max(found[1], found[0] + 1)


def _splitter(separators: Sequence[str], tokenexp: str, shortest: int) -> Callable[[str], list[str]]:
    """What gives the tokens of a text: the separators cut one after the other, the pieces that are too short left out."""
    if tuple(separators) == ("",) or (not separators and tokenexp == "."):
        return list
    if not separators:
        pattern = compiled_re2(tokenexp)
        return lambda text: [token for token in _matches(pattern, text) if len(token) >= shortest]
    patterns = [compiled_re2(separator) for separator in separators]

    def split(text: str) -> list[str]:
        pieces = [text]
        for pattern in patterns:
            pieces = [part for piece in pieces for part in _between(pattern, piece) if len(part) >= shortest]
        return pieces

    return split


@operator("Tokenizer", domain="com.microsoft", types=STRINGS, when=_unusable)
def tokenizer(
    xp: Any, x: Array, *, mark: int, mincharnum: int, pad_value: str, separators: Sequence[str] = (), tokenexp: str = ""
) -> Array:
    r"""The tokens of each string of [C] or [N,C] along a new last axis, filled up with `pad_value`.

    Tokens are what lies between separators or, without them, the matches of `tokenexp` (RE2 patterns, longest match);
    those of fewer than `mincharnum` characters are left out. With `mark` those of a string stand between \x02 and \x03.
    Spec: onnxruntime's ContribOperators.md
    """
    if x.ndim not in (1, 2):
        raise InvalidArgument(f"Tokenizer: expected an input of shape [C] or [N,C], got {braced(x.shape)}")
    if x.size == 0:
        return string_array([], x.shape if x.ndim == 1 else (x.shape[0], 0))
    split = _splitter(separators, tokenexp, mincharnum)
    rows = [split(text) for text in x.reshape(-1)]
    longest = max(map(len, rows))
    if mark and longest:
        rows, longest = [[START, *row, END] for row in rows], longest + 2
    return string_array([token for row in rows for token in row + [pad_value] * (longest - len(row))], (*x.shape, longest))


def _embedding_specs(sequence: Array, w: Array, b: Array, c: Array, **_: Any) -> Spec:
    if len(sequence.shape) != 2 or len(w.shape) != 4 or len(c.shape) != 2 or w.shape[3] != c.shape[1] or w.shape[2] > sequence.shape[1]:
        raise InvalidArgument(
            "WordConvEmbedding: expected words (count, length), weights (filters, 1, window, size) with a window of at most the length, "
            f"and a character table (characters, size), got shapes {list(sequence.shape)}, {list(w.shape)} and {list(c.shape)}"
        )
    return Spec((sequence.shape[0], w.shape[0]), w.dtype)


@operator("WordConvEmbedding", domain="com.microsoft", specs=_embedding_specs)
def word_conv_embedding(
    xp: Any,
    sequence: Array,
    w: Array,
    b: Array,
    c: Array,
    *,
    char_embedding_size: int | None = None,
    conv_window_size: int | None = None,
    embedding_size: int | None = None,
    out: Array = None,
) -> Array:
    """The greatest of tanh(convolution) over the characters of each word; 0 is no character, and an empty word gives zeros.

    Shapes: `sequence`, the characters, (words, length); the weights `w` (filters, 1, window, size) and `b` (filters,); the
    characters' vectors `c` (characters, size); the result (words, filters). The attributes repeat what the shapes say.
    Spec: onnxruntime's ContribOperators.md
    """
    check_bounds(sequence, c.shape[0])
    window, places = w.shape[2], sequence.shape[1] - w.shape[2] + 1
    letters = c[sequence]
    total = b + sum(xp.matmul(letters[:, i : i + places], w[:, 0, i].T) for i in range(window))
    lengths = xp.where(sequence[:, 0] > 0, xp.sum(sequence > 0, axis=1), 0)
    used = xp.arange(places) < xp.maximum(lengths - window + 1, 1)[:, None]
    greatest = xp.max(xp.where(used[..., None], xp.tanh(total), -1), axis=1)
    result = xp.where(lengths[:, None] > 0, greatest, 0).astype(w.dtype)
    if out is None:
        return result
    out[...] = result
    return out
