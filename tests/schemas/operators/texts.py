"""Strings."""

from __future__ import annotations

import numpy as np

from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates

SENTENCES = ("Monday", "tuesday", "a b  c", "", "monday ", "ÄB", "a,b,,c", "x1@y.org")


def sentences(draw: Draw, rank: tuple[int, int], size: tuple[int, int] = (0, 3)) -> np.ndarray:
    return draw.words(SENTENCES, draw.shape(rank, size))


@generates("StringNormalizer")
def string_normalizer(draw: Draw) -> Example:
    """[C] or [1, C], which ONNX's own inference wants to see."""
    x = draw.words(SENTENCES, draw.among([(3,), (1, 3), (1,)]))
    attributes = {
        "case_change_action": lambda: draw.among(["LOWER", "UPPER", "NONE"]),
        "is_case_sensitive": lambda: draw.integer(0, 1),
        "stopwords": lambda: ["monday", "a b  c"],
    }
    return Example([x], draw.some(attributes), fixed=True)


@generates("StringSplit")
def string_split(draw: Draw) -> Example:
    attributes = {"delimiter": lambda: draw.among(["", ",", " ", "b"]), "maxsplit": lambda: draw.integer(1, 3)}
    return Example([sentences(draw, (0, 2))], draw.some(attributes), 2)


@generates("RegexFullMatch")
def regex_full_match(draw: Draw) -> Example:
    patterns = [r".*day", r"[a-z]+", r"", r"\w+@(\w+)\.org", r"(?i)monday\s?"]
    return Example([sentences(draw, (0, 2))], {"pattern": draw.among(patterns)})


@generates("TfIdfVectorizer")
def tf_idf(draw: Draw) -> Example:
    """Unigrams and bigrams of three tokens."""
    dtype = draw.dtype("X")
    tokens = np.array(["a", "b", "c"], object) if dtype.kind == "O" else np.array([1, 2, 3], dtype)
    x = tokens[draw.generator.integers(0, 3, draw.among([(6,), (1, 6), (2, 4)]))]
    low, high = draw.among([(1, 1), (1, 2), (2, 2)])
    pool = [0, 1, 2, 0, 1, 1, 2]
    attributes = {
        "min_gram_length": low,
        "max_gram_length": high,
        "max_skip_count": draw.integer(0, 2),
        "mode": draw.among(["TF", "IDF", "TFIDF"]),
        "ngram_counts": [0, 3],
        "ngram_indexes": draw.order(5),
        ("pool_strings" if dtype.kind == "O" else "pool_int64s"): [tokens[i] if dtype.kind == "O" else int(tokens[i]) for i in pool],
    }
    return Example([x], attributes | draw.some({"weights": lambda: [draw.real() for _ in range(5)]}))
