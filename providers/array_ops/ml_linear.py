"""LinearClassifier and LinearRegressor: a matrix product, and what is made of its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.ml_scores import DOMAIN, FLOAT, chosen_labels, class_labels, rows_of, transformed, two_scores
from onnxgpu.providers.array_ops.registry import operator


def _scores(xp: Any, x: Array, coefficients: Sequence[float], intercepts: Sequence[float], targets: int, name: str) -> Array:
    rows = rows_of(x, name).astype(FLOAT, copy=False)
    needed = targets * rows.shape[1]
    if len(coefficients) < needed:
        raise InvalidArgument(
            f"{name}: expected at least {targets} x {rows.shape[1]} coefficients for {rows.shape[1]} features, got {len(coefficients)}"
        )
    scores = xp.matmul(rows, xp.asarray(np.array(coefficients[:needed], FLOAT).reshape(targets, rows.shape[1]).T))
    return scores + xp.asarray(np.array(intercepts, FLOAT)) if len(intercepts) == targets else scores


@operator("LinearRegressor", domain=DOMAIN, since=1)
def linear_regressor(
    xp: Any,
    x: Array,
    *,
    coefficients: Sequence[float] = (),
    intercepts: Sequence[float] = (),
    targets: int = 1,
    post_transform: str = "NONE",
) -> Array:
    """x · coefficients + intercepts: [N,F] or [F] to float32 [N,targets]; coefficients are [targets,F].

    Raises:
        InvalidArgument: there are fewer coefficients than targets x F.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_LinearRegressor.html
    """
    return transformed(xp, _scores(xp, x, coefficients, intercepts, targets, "LinearRegressor"), post_transform)


@operator("LinearClassifier", domain=DOMAIN, since=1)
def linear_classifier(
    xp: Any,
    x: Array,
    *,
    coefficients: Sequence[float],
    intercepts: Sequence[float] = (),
    classlabels_strings: Sequence[str] = (),
    classlabels_ints: Sequence[int] = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[Array, Array]:
    """Labels [N] and float32 scores [N,K] of the rows of [N,F] or [F].

    One row of coefficients for two labels gives the second label where the score is above 0, and two scores of its one
    (see `two_scores`). `multi_class` changes nothing.

    Raises:
        InvalidArgument: there are fewer coefficients than F times the number of intercepts.

    Spec: https://onnx.ai/onnx/operators/onnx_aionnxml_LinearClassifier.html
    """
    targets = len(intercepts) or len(coefficients) // max(x.shape[-1] if x.ndim else 1, 1)
    scores = _scores(xp, x, coefficients, intercepts, targets, "LinearClassifier")
    labels = class_labels(classlabels_strings, classlabels_ints)
    if targets > 1:
        return chosen_labels(xp, labels, scores.argmax(axis=1)), transformed(xp, scores, post_transform)
    if len(labels) != 2:
        labels = class_labels(("0", "1") if len(classlabels_strings) else (), (0, 1))
        return chosen_labels(xp, labels, (scores[:, 0] > 0).astype(np.intp)), transformed(xp, scores, post_transform)
    return chosen_labels(xp, labels, (scores[:, 0] > 0).astype(np.intp)), two_scores(xp, scores, post_transform, complement=True)
