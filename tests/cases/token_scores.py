"""Scores of next tokens: n-grams that may not occur again."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal

_TOKENS = np.array([[1, 2, 3, 1, 2], [4, 4, 4, 4, 4], [7, 1, 7, 1, 7]])

CASES = [
    *(
        Case("NGramRepeatBlock", [_TOKENS, normal(3, 8)], {"ngram_size": n}, opset=1, domain="com.microsoft", oracle="onnxruntime")
        for n in (1, 2, 3, 5, 6)
    ),
    Case("SampleOp", [normal(3)], opset=1, domain="com.microsoft", oracle="onnxruntime"),
]
