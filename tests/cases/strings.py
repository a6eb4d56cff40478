"""StringConcat, StringNormalizer, StringSplit, RegexFullMatch, TfIdfVectorizer."""

from typing import Any

import numpy as np

from tests.cases import Case

TEXTS = np.array(["a b  c", "", " x ", "a,b,,c"], object)
DAYS = np.array(["Monday", "tuesday", "MONDAY", "été"], object)
NGRAMS = {
    "max_gram_length": 2,
    "max_skip_count": 1,
    "min_gram_length": 1,
    "ngram_counts": [0, 4],
    "ngram_indexes": [6, 1, 2, 3, 4, 5, 0],
    "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7],
}
TOKENS = np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]], np.int64)


def words(*texts: str) -> np.ndarray:
    return np.array(texts, object)


SPLITS: list[dict[str, Any]] = [{}, {"delimiter": ","}, {"maxsplit": 1}, {"delimiter": ",", "maxsplit": 2}, {"maxsplit": 0}]

CASES = [
    Case("StringConcat", [words("a", "b"), words("c", "é")]),
    Case("StringConcat", [TEXTS.reshape(2, 2), words("!")]),
    Case("StringConcat", [np.array("x", object), TEXTS]),
    Case("StringConcat", [np.zeros((0, 2), object), words("!")]),
    *(Case("StringSplit", [TEXTS], options, outputs=2) for options in SPLITS),
    Case("StringSplit", [TEXTS.reshape(2, 2)], {"delimiter": ""}, outputs=2),
    Case("StringSplit", [np.array("a b", object)], outputs=2),
    Case("StringSplit", [words("")], {"delimiter": ","}, outputs=2),
    Case("StringSplit", [np.zeros((0, 2), object)], outputs=2),
    Case("StringSplit", [words("a--b---c")], {"delimiter": "--"}, outputs=2),
    Case(
        "StringNormalizer",
        [DAYS],
        {"case_change_action": "UPPER", "stopwords": ["monday"]},
        expected=[words("TUESDAY", "ÉTÉ")],
        note="onnxruntime needs the locale",
    ),
    Case(
        "StringNormalizer",
        [DAYS],
        {"stopwords": ["Monday"], "is_case_sensitive": 1},
        expected=[DAYS[1:]],
        note="onnxruntime needs the locale",
    ),
    Case(
        "StringNormalizer",
        [DAYS.reshape(1, 4)],
        {"case_change_action": "LOWER"},
        expected=[words("monday", "tuesday", "monday", "été").reshape(1, 4)],
        note="onnxruntime needs the locale",
    ),
    Case(
        "StringNormalizer",
        [DAYS[:1].reshape(1, 1)],
        {"stopwords": ["MONDAY"]},
        expected=[words("").reshape(1, 1)],
        note="onnxruntime needs the locale",
    ),
    Case("RegexFullMatch", [words("www.google.com", "www.facebook.com", "www.bbc.co.uk")], {"pattern": r"www\.[\w.-]+\.\bcom\b"}),
    Case("RegexFullMatch", [words("ab1", "é", "", "ab")], {"pattern": r"[[:alpha:]]+\z"}),
    Case("RegexFullMatch", [words("Ab", "aB\n").reshape(2, 1)], {"pattern": "(?i)ab"}),
    Case("RegexFullMatch", [np.zeros((0,), object)], {"pattern": "a*"}),
    *(Case("TfIdfVectorizer", [TOKENS], NGRAMS | {"mode": mode}) for mode in ("TF", "IDF", "TFIDF")),
    *(
        Case("TfIdfVectorizer", [TOKENS], NGRAMS | {"mode": mode, "weights": [1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]})
        for mode in ("TF", "IDF", "TFIDF")
    ),
    Case("TfIdfVectorizer", [TOKENS[0]], NGRAMS | {"mode": "TF", "min_gram_length": 2}),
    Case("TfIdfVectorizer", [TOKENS.astype(np.int32)], NGRAMS | {"mode": "TF", "max_skip_count": 2}),
    Case("TfIdfVectorizer", [np.tile(TOKENS, (1, 90))], NGRAMS | {"mode": "TFIDF", "weights": [1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]}),
    Case(
        "TfIdfVectorizer",
        [words("a", "b", "a", "c")],
        {
            "mode": "TF",
            "max_gram_length": 2,
            "min_gram_length": 1,
            "max_skip_count": 0,
            "ngram_counts": [0, 2],
            "ngram_indexes": [0, 1, 2],
            "pool_strings": ["a", "c", "b", "a"],
        },
    ),
]
