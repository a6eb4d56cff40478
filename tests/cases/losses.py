"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, uniform

_X, _LABELS = normal(3, 5), integers(3, low=0, high=5)
_IMAGE, _IMAGE_LABELS = normal(2, 5, 3, 2), integers(2, 3, 2, low=0, high=5)
_IGNORED = np.where(_IMAGE_LABELS == 2, -1, _IMAGE_LABELS)
_WEIGHT = uniform(5)


def _both(inputs: list[np.ndarray], **attributes: str | int) -> list[Case]:
    return [
        Case("NegativeLogLikelihoodLoss", inputs, attributes, opset=13),
        Case("SoftmaxCrossEntropyLoss", inputs, attributes, opset=13, outputs=2),
    ]


CASES = [
    *_both([_X, _LABELS]),
    *_both([_X, _LABELS, _WEIGHT], reduction="sum"),
    *_both([_IMAGE, _IMAGE_LABELS], reduction="none"),
    *_both([_IMAGE, _IGNORED, _WEIGHT], ignore_index=-1),
    *_both([_IMAGE, _IGNORED], ignore_index=-1, reduction="none"),
    Case("SoftmaxCrossEntropyLoss", [_X, _LABELS], opset=12),
    Case("NegativeLogLikelihoodLoss", [_X, _LABELS], opset=12),
]
