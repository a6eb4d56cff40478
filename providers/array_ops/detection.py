"""NonMaxSuppression: of boxes that overlap too much only the best remains.

Runs on the host: each choice depends on the ones before, and the number of choices is the output's shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.registry import operator

_TINY = np.finfo(np.float32).tiny
_INPUTS = ("boxes", "scores", "max_output_boxes_per_class", "iou_threshold", "score_threshold")


def _number(value: Any, default: float) -> float:
    return default if value is None or np.size(value) == 0 else float(np.asarray(value).reshape(-1)[0])


@dataclass(frozen=True, slots=True)
class Limits:
    """How many boxes of a class remain, how much of them may be common, and what their scores are above."""

    most: int
    overlap: float
    least_score: float | None


def limits_of(most: Any, overlap: Any, least_score: Any) -> Limits:
    """From the operator's host inputs.

    Raises:
        InvalidArgument: the overlap is none.
    """
    threshold = _number(overlap, 0.0)
    if not 0 <= threshold <= 1:
        raise InvalidArgument(f"NonMaxSuppression: expected iou_threshold in [0, 1], got {threshold}")
    least = None if least_score is None or np.size(least_score) == 0 else _number(least_score, 0.0)
    return Limits(max(0, int(_number(most, 0))), threshold, least)


def check_shapes(boxes: Array, scores: Array) -> None:
    """Boxes (batch, count, 4) and scores (batch, classes, count).

    Raises:
        InvalidArgument: they are not.
    """
    if len(boxes.shape) != 3 or boxes.shape[2] != 4 or len(scores.shape) != 3 or scores.shape[::2] != boxes.shape[:2]:
        raise InvalidArgument(
            f"NonMaxSuppression: expected boxes (batch, boxes, 4) and scores (batch, classes, boxes), "
            f"got shapes {list(boxes.shape)} and {list(scores.shape)}"
        )


def _rows(boxes: np.ndarray, center_point_box: int) -> np.ndarray:
    """Boxes (count, 4) as rows y1, x1, y2, x2 and area (5, count), the lesser of each pair first."""
    first, second = boxes[:, :2].T, boxes[:, 2:].T
    low, high = (first - second / 2, first + second / 2) if center_point_box else (np.minimum(first, second), np.maximum(first, second))
    return np.concatenate([low, high, np.prod(high - low, axis=0, keepdims=True)])


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (5,) with others (5, count); 0 for boxes without area."""
    heights = np.minimum(box[2], others[2]) - np.maximum(box[0], others[0])
    widths = np.minimum(box[3], others[3]) - np.maximum(box[1], others[1])
    common = np.maximum(heights, 0) * np.maximum(widths, 0)
    union = np.maximum(box[4] + others[4] - common, _TINY)
    result: np.ndarray = common / union
    return result


def _kept(rows: np.ndarray, scores: np.ndarray, limits: Limits) -> np.ndarray:
    """Indices of the boxes that remain, best first."""
    candidates = np.arange(len(scores)) if limits.least_score is None else np.flatnonzero(scores > limits.least_score)
    order = candidates[np.argsort(-scores[candidates], kind="stable")]
    ordered = rows[:, order]
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    while len(kept) < limits.most and alive.any():
        best = int(alive.argmax())
        kept.append(best)
        alive[: best + 1] = False
        alive[best + 1 :] &= _overlaps(ordered[:, best], ordered[:, best + 1 :]) <= limits.overlap
    return order[np.array(kept, np.int64)]


@operator("NonMaxSuppression", since=10, host=_INPUTS)
def non_max_suppression(
    xp: Any,
    boxes: Array,
    scores: Array,
    max_output_boxes_per_class: Array = None,
    iou_threshold: Array = None,
    score_threshold: Array = None,
    *,
    center_point_box: int = 0,
) -> Array:
    """Rows (batch, class, box) of the boxes that remain. Spec: https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html"""
    check_shapes(boxes, scores)
    limits = limits_of(max_output_boxes_per_class, iou_threshold, score_threshold)
    found = [np.zeros((0, 3), np.int64)]
    for batch in range(boxes.shape[0]):
        rows = _rows(np.asarray(boxes[batch], np.float32), center_point_box)
        for label in range(scores.shape[1] if limits.most > 0 else 0):
            kept = _kept(rows, np.asarray(scores[batch, label]), limits)
            found.append(np.stack([np.full_like(kept, batch), np.full_like(kept, label), kept], axis=1))
    return xp.asarray(np.concatenate(found))
