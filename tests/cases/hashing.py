"""Hashes of numbers, strings and token n-grams (domain com.microsoft)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import i64, integers, normal, scalar


def _case(name: str, inputs: list[np.ndarray | None], outputs: int = 1, **attributes: Any) -> Case:
    return Case(name, inputs, attributes, opset=1, domain="com.microsoft", outputs=outputs)


_STRINGS = np.array([["a", "", "abc"], ["abcd", "héé", "abcdefghijklmnopqrstuvwxyz"]], object)
_WORDS = [integers(3, 4, low=0, high=1 << 31, dtype=t) for t in ("i4", "i8", "u4", "u8")]
_NUMBERS = [*_WORDS, normal(5), normal(5, dtype="f8"), np.zeros((0, 2), "f"), np.array(7, "i4"), _WORDS[0].T, _STRINGS, _STRINGS[:0]]


def _dense() -> list[Case]:
    name = "NGramHashMapping"
    ids, multipliers, sizes = integers(2, 6, low=0, high=9), i64(3, 5, -7), i64(11, 13, 17, 19)
    sizes_of = {"max_ngram_size": 3, "n_head_per_ngram": 2, "pad_id": 1}
    past, offsets, end = integers(2, 2, low=0, high=9, seed=1), i64(100, 200, 300, 400), scalar(4, "int64")
    segments = np.array([[0, 0, 1, 1, 1, 2], [5, 5, 5, 3, 3, 5]], "int32")
    cases = [
        _case(name, [ids, multipliers, sizes, *rest], 2, reset_on_eos=reset, **sizes_of)
        for reset in (0, 1)
        for rest in ((), (past,), (past, offsets), (past, None, end), (None, None, end, segments), (past, offsets, None, segments))
    ]
    wide = np.array([[2**31 - 1, 2**31 - 2, 5]], "int32")
    vectors = [np.array([2**31 - 1, 3], "int32"), np.array([97], "int32")]
    cases.append(_case(name, [wide, *vectors], max_ngram_size=2, n_head_per_ngram=1, pad_id=0))
    cases.append(_case(name, [ids[:, :1].copy(), multipliers, sizes], 2, **sizes_of))
    return cases


def _packed() -> list[Case]:
    name = "VarlenNGramHashMapping"
    ids, multipliers, sizes = integers(7, low=0, high=9), i64(3, 5, 7), i64(1009, 1013)
    limits = np.array([0, 4, 6, 7], "int32")
    sizes_of = {"max_ngram_size": 3, "n_head_per_ngram": 1, "pad_id": 1}
    past, offsets, end = integers(3, 2, low=0, high=9, seed=1), i64(100, 200), scalar(4, "int64")
    segments, past_segments = np.array([3, 3, 4, 4, 5, 5, 9], "int32"), np.array([[2, 3], [5, 5], [7, 8]], "int32")
    cases = [
        _case(name, [ids, multipliers, sizes, limits, *rest], 2, reset_on_eos=reset, **sizes_of)
        for reset in (0, 1)
        for rest in ((), (past,), (past, offsets), (None, None, end), (past, None, end))
    ]
    for rest in ((None, None, None, segments), (past, None, end, segments), (past, offsets, end, segments, past_segments)):
        cases.append(_case(name, [ids, multipliers, sizes, limits, *rest], 3, reset_on_eos=1, **sizes_of))
    for counts in ((3, 1, 1), (9, -1, 2)):
        capture = [None, None, None, segments, None, np.array(counts, "int32")]
        cases.append(_case(name, [ids, multipliers, sizes, limits, *capture], 4, state_update_capacity=3, **sizes_of))
    return cases


CASES = [
    *(_case("MurmurHash3", [x], seed=seed, positive=positive) for x in _NUMBERS for seed, positive in ((0, 1), (7, 0))),
    *_dense(),
    *_packed(),
]
