"""Operators on tensors of strings (object arrays of `str`): StringConcat, StringNormalizer, StringSplit, RegexFullMatch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.registry import operator

STRINGS = frozenset({"string"})


def string_array(strings: Sequence[str], shape: Sequence[int]) -> np.ndarray:
    """An object array of `shape` from its elements in order."""
    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(shape)


@operator("StringConcat", since=20, types=STRINGS)
def string_concat(xp: Any, x: Array, y: Array) -> Array:
    """Each string of `x` followed by that of `y`, broadcast. Spec: https://onnx.ai/onnx/operators/onnx__StringConcat.html"""
    return np.asarray(np.add(x, y), dtype=object)


@operator("StringNormalizer", since=10, types=STRINGS)
def string_normalizer(
    xp: Any, x: Array, *, case_change_action: str = "NONE", is_case_sensitive: int = 0, locale: str = "", stopwords: Sequence[str] = ()
) -> Array:
    """Strings [C] or [1,C] without the stop words, in lower or upper case; one empty string where none is left.

    Case follows Unicode, whatever `locale` says. Spec: https://onnx.ai/onnx/operators/onnx__StringNormalizer.html
    """
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1) or x.size == 0:
        raise InvalidArgument(f"StringNormalizer: input shape must have either [C] or [1,C] dimensions where C > 0, got {braced(x.shape)}")
    if case_change_action not in ("NONE", "LOWER", "UPPER"):
        raise InvalidArgument(f"StringNormalizer: expected case_change_action 'LOWER', 'UPPER' or 'NONE', got {case_change_action!r}")
    words = list(x.reshape(-1))
    if is_case_sensitive:
        dropped = frozenset(stopwords)
        words = [word for word in words if word not in dropped]
    else:
        dropped = frozenset(word.lower() for word in stopwords)
        words = [word for word in words if word.lower() not in dropped]
    if case_change_action != "NONE":
        words = [word.lower() if case_change_action == "LOWER" else word.upper() for word in words]
    words = words or [""]
    return string_array(words, (1, len(words)) if x.ndim == 2 else (len(words),))


def _parts(text: str, delimiter: str, limit: int) -> list[str]:
    if not text:
        return []
    return text.split(delimiter, limit) if delimiter else text.strip().split(None, limit)


@operator("StringSplit", since=20, types=STRINGS)
def string_split(xp: Any, x: Array, *, delimiter: str = "", maxsplit: int | None = None) -> tuple[Array, Array]:
    """Each string cut at `delimiter` (at white space without one), at most `maxsplit` times.

    Returns:
        The parts, in the input's shape with one dimension more, filled up with empty strings; how many there are of
        each string, int64 in the input's shape. An empty string has no parts.

    Spec: https://onnx.ai/onnx/operators/onnx__StringSplit.html
    """
    limit = -1 if maxsplit is None else maxsplit
    parts = [_parts(text, delimiter, limit) for text in x.reshape(-1)]
    longest = max(map(len, parts), default=0)
    padded = [part for found in parts for part in found + [""] * (longest - len(found))]
    counts = np.array([len(found) for found in parts], np.int64).reshape(x.shape)
    return string_array(padded, (*x.shape, longest)), counts


_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


@cache
def compiled_re2(pattern: str) -> re.Pattern[str]:
    r"""An RE2 pattern as Python's `re` reads it: ASCII classes, `[:alpha:]` and `\z` translated.

    Raises:
        re.error: the pattern is not valid, or uses syntax that only RE2 has.
    """
    translated = re.sub(r"\[:(\w+):\]", lambda found: _CLASSES.get(found[1], found[0]), pattern)
    translated = re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", translated)
    return re.compile(translated, re.ASCII)


def _unknown_pattern(operation: Operation) -> str | None:
    pattern = operation.attributes.get("pattern", "")
    try:
        compiled_re2(pattern)
    except re.error as problem:
        return f"cannot read the pattern {pattern!r}: {problem}"
    return None


@operator("RegexFullMatch", since=20, types=STRINGS, when=_unknown_pattern)
def regex_full_match(xp: Any, x: Array, *, pattern: str = "") -> Array:
    """Whether the whole of each string matches an RE2 pattern, bool. Spec: https://onnx.ai/onnx/operators/onnx__RegexFullMatch.html"""
    match = compiled_re2(pattern).fullmatch
    return np.fromiter((match(text) is not None for text in x.reshape(-1)), bool, x.size).reshape(x.shape)
