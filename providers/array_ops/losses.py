"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.softmax import log_softmax_over


def _checked(name: str, scores: Array, target: Array, weight: Array | None, reduction: str) -> None:
    shape = tuple(scores.shape)
    if len(shape) < 2 or tuple(target.shape) != (shape[0], *shape[2:]):
        raise InvalidArgument(f"{name}: expected scores (N, C, …) and labels (N, …), got shapes {list(shape)} and {list(target.shape)}")
    if weight is not None and tuple(weight.shape) != (shape[1],):
        raise InvalidArgument(f"{name}: expected one weight for each of the {shape[1]} classes, got shape {list(weight.shape)}")
    if reduction not in ("none", "sum", "mean"):
        raise InvalidArgument(f"{name}: expected reduction to be none, sum or mean, got {reduction!r}")


def _likelihood_loss(
    xp: Any, log_probabilities: Array, target: Array, weight: Array | None, ignore_index: int | None, reduction: str
) -> Array:
    counted = xp.ones(target.shape, bool) if ignore_index is None else target != ignore_index
    label = xp.where(counted, target, xp.zeros_like(target))
    loss = -xp.take_along_axis(log_probabilities, xp.expand_dims(label, 1), axis=1)[:, 0]
    factor = counted.astype(loss.dtype) if weight is None else xp.where(counted, widened(weight)[label], xp.zeros_like(loss))
    loss = xp.where(counted, loss * factor, xp.zeros_like(loss))
    if reduction == "none":
        return loss
    return xp.sum(loss) if reduction == "sum" else xp.sum(loss) / xp.sum(factor)


def _specs(
    scores: Array, target: Array, weight: Array = None, *, reduction: str = "mean", output_count: int = 1, **_: Any
) -> tuple[Spec, ...]:
    _checked("loss", scores, target, weight, reduction)
    loss = Spec(tuple(target.shape) if reduction == "none" else (), scores.dtype)
    return (loss, Spec(tuple(scores.shape), scores.dtype))[:output_count]


@operator("NegativeLogLikelihoodLoss", since=12, specs=_specs)
def negative_log_likelihood_loss(
    xp: Any, x: Array, target: Array, weight: Array = None, *, ignore_index: int | None = None, reduction: str = "mean", out: Array = None
) -> Array:
    """Minus the log-probability of each label. Spec: https://onnx.ai/onnx/operators/onnx__NegativeLogLikelihoodLoss.html"""
    return stored(xp, _likelihood_loss(xp, widened(x), target, weight, ignore_index, reduction), x.dtype, out)


@operator("SoftmaxCrossEntropyLoss", since=12, specs=_specs)
def softmax_cross_entropy_loss(
    xp: Any,
    scores: Array,
    labels: Array,
    weights: Array = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    output_count: int = 1,
    out: Any = None,
) -> tuple[Array, ...]:
    """Cross entropy of softmaxed scores, and their log-probabilities.

    Spec: https://onnx.ai/onnx/operators/onnx__SoftmaxCrossEntropyLoss.html
    """
    log_probabilities = log_softmax_over(xp, widened(scores), (1,))
    loss = _likelihood_loss(xp, log_probabilities, labels, weights, ignore_index, reduction)
    first, second = (out, None) if output_count == 1 else out or (None, None)
    return (stored(xp, loss, scores.dtype, first), stored(xp, log_probabilities, scores.dtype, second))[:output_count]
