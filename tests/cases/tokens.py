"""Tokenizer and WordConvEmbedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal

_TEXTS = np.array(["Hello World", "I love  computer science !", ""], object)
_EMPTY = np.array(["", "  "], object)


def _tokens(*texts: str, x: np.ndarray | None = None, mark: int = 0, mincharnum: int = 1, **attributes: Any) -> Case:
    given = np.array(texts, object) if x is None else x
    return Case(
        "Tokenizer", [given], {"mark": mark, "mincharnum": mincharnum, "pad_value": "#", **attributes}, opset=1, domain="com.microsoft"
    )


def _words(*rows: list[int], **sizes: int) -> Case:
    weights = [normal(4, 1, 2, 3), normal(4), normal(8, 3)]
    return Case("WordConvEmbedding", [np.array(rows, "i4"), *weights], sizes, opset=1, domain="com.microsoft")


CASES = [
    _tokens(x=_TEXTS, separators=[" "]),
    _tokens(x=_TEXTS, separators=[" "], mark=1),
    _tokens(x=_TEXTS.reshape(1, 3), separators=[" "], mincharnum=3),
    _tokens(x=_TEXTS.reshape(3, 1), separators=[""]),
    _tokens(x=_TEXTS, separators=[""], mark=1),
    _tokens(x=_TEXTS, tokenexp="."),
    _tokens(x=_TEXTS, tokenexp="[a-z]+"),
    _tokens(x=_TEXTS, tokenexp="[a-z]+", mark=1, mincharnum=4),
    *(_tokens(x=_EMPTY, separators=[separator], mark=mark) for separator in (" ", "x") for mark in (0, 1)),
    *(_tokens(x=np.zeros(shape, object), separators=[" "]) for shape in ((0,), (2, 0), (0, 2))),
    _tokens("a,b;c  d", separators=[",", ";", " "]),
    _tokens("a,b;c  d", separators=["[,;]", "\\s+"]),
    _tokens("xabcx", separators=["ab", "abc"]),
    _tokens("xabcx", separators=["a|abc"]),
    _tokens("xabab1bax", separators=["b", "aba"]),
    _tokens("xaax", "xbab", separators=["a*"]),
    _tokens("ab cd", separators=["b", ""]),
    _tokens("ab ab", separators=["^ab"]),
    _tokens("aXb", separators=["$"]),
    _tokens("été à", separators=["t"], mincharnum=2),
    _tokens("été à", tokenexp="."),
    _tokens("aab", tokenexp="a*"),
    _tokens("abcabd", tokenexp="ab|abc"),
    _tokens("abab", tokenexp="(ab)+?"),
    _tokens("a\nb", tokenexp="a.b"),
    _tokens("Ab é1", tokenexp="\\w+"),
    _tokens("ab ab", tokenexp="^ab"),
    _tokens("foobar foo", tokenexp="\\bfoo\\b"),
    _words([1, 2, 3, 4, 5], [1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [1, 0, 3, 4, 5], [1, 2, 0, 3, 0]),
    _words([7, 7], embedding_size=4, conv_window_size=2, char_embedding_size=3),
]
