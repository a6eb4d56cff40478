"""What the classifiers and regressors of ai.onnx.ml share: rows of features, class labels and post-transforms of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.strings import string_array

DOMAIN = "ai.onnx.ml"
FLOAT = np.dtype(np.float32)
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")

_WINITZKI = np.float32(0.147)
"""The constant of S. Winitzki's closed form of the inverse error function, as onnxruntime has it."""


def rows_of(x: Array, operator: str) -> Array:
    """`x` [N,F] or [F] as a matrix [N,F].

    Raises:
        InvalidArgument: `x` has another rank.
    """
    if x.ndim not in (1, 2):
        raise InvalidArgument(f"{operator}: expected an input of shape [N,F] or [F], got {braced(x.shape)}")
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(x.shape[0] if x.ndim == 2 else 1, x.shape[-1])


def class_labels(strings: Sequence[str], integers: Sequence[int]) -> np.ndarray:
    """The labels of a classifier: the strings if there are any, else int64."""
    return string_array(strings, (len(strings),)) if len(strings) else np.array(integers, np.int64)


def chosen_labels(xp: Any, labels: np.ndarray, index: Array) -> Array:
    """The label at each index; strings are in host memory."""
    if labels.dtype == object:
        return labels[np.asarray(index.tolist(), np.intp)]
    return xp.asarray(labels)[index]


def transformed(xp: Any, scores: Array, transform: str) -> Array:
    """Scores [N,K] after a post-transform, float32 or float64 as they were; of one column only PROBIT changes anything.

    Raises:
        InvalidArgument: `transform` is none of ONNX's.
    """
    if transform not in TRANSFORMS:
        raise InvalidArgument(f"post_transform: expected one of {', '.join(TRANSFORMS)}, got {transform!r}")
    if transform == "PROBIT":
        return probit(xp, scores)
    if transform == "NONE" or scores.shape[1] < 2:
        return scores
    if transform == "LOGISTIC":
        return logistic(xp, scores)
    return _softmax(xp, scores) if transform == "SOFTMAX" else _softmax_zero(xp, scores)


def two_scores(xp: Any, score: Array, transform: str, *, complement: bool) -> Array:
    """Scores [N,2] of two classes from that of the second, [N,1].

    The first is 1 - score, or -score without `complement`; of the post-transforms only LOGISTIC and PROBIT have an effect
    (as in onnxruntime).
    """
    if transform == "PROBIT":
        score = probit(xp, score)
    elif transform == "LOGISTIC":
        return logistic(xp, xp.concatenate([-score, score], axis=1))
    return xp.concatenate([1 - score if complement else -score, score], axis=1)


def logistic(xp: Any, x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    positive = 1 / (1 + xp.exp(-abs(x)))
    return xp.where(x < 0, 1 - positive, positive)


def probit(xp: Any, x: Array) -> Array:
    """The quantile function of the normal distribution over sqrt(2), in float32 precision; NaN outside of (0,1)."""
    y = (2 * x - 1).astype(FLOAT)
    with np.errstate(invalid="ignore", divide="ignore"):
        log = xp.log((1 - y) * (1 + y))
        v = 2 / (np.float32(3.14159) * _WINITZKI) + np.float32(0.5) * log
        root = xp.sqrt(xp.sqrt(v * v - 1 / _WINITZKI * log) - v)
    return (np.float32(1.41421356) * xp.where(y < 0, -root, root)).astype(x.dtype)


def _softmax(xp: Any, x: Array) -> Array:
    y = xp.exp(x - x.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


def _softmax_zero(xp: Any, x: Array) -> Array:
    """Softmax over the scores that are not zero; those that are stay (nearly) zero."""
    most = x.max(axis=1, keepdims=True)
    counted = abs(x) > 1e-7
    y = xp.where(counted, xp.exp(x - most), x * xp.exp(-most))
    with np.errstate(invalid="ignore", divide="ignore"):
        return y / xp.where(counted, y, 0).sum(axis=1, keepdims=True)
