"""NonMaxSuppression: scores in order, a block for each batch and label; only the number of boxes comes to the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.detection import check_shapes, limits_of
from onnxgpu.providers.cuda.kernels import MOST_BLOCKS, Template, dense, whole_warps
from onnxgpu.providers.cuda.operators.scans import scanned
from onnxgpu.providers.cuda.operators.sorting import sorted_rows
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.sizes import size_on_host

SUPPRESS = Template("detection.cu", "suppress", "ppppppllllfbfb")
STORE = Template("detection.cu", "store_kept", "ppplll")

_SETTINGS = ("max_output_boxes_per_class", "iou_threshold", "score_threshold")


@operator("NonMaxSuppression", since=10, host=_SETTINGS, types=frozenset({"float"}))
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
    batches, labels, count = scores.shape
    rows, most = batches * labels, min(limits.most, count)
    if rows == 0 or most == 0:
        return xp.empty((0, 3), np.int64)
    values, order = xp.empty(scores.shape, scores.dtype), xp.empty(scores.shape, np.int64)
    sorted_rows(xp, scores, 2, count, True, values, order)
    alive, kept, ends = xp.empty((rows, count), bool), xp.empty((rows, most), np.int64), xp.empty(rows, np.int64)
    blocks, has_least = min(rows, MOST_BLOCKS), limits.least_score is not None
    SUPPRESS.instance().launch(
        blocks, whole_warps(count, 512), dense(xp, boxes), values, order, alive, kept, ends, rows, labels, count, most,
        limits.overlap, has_least, limits.least_score if has_least else 0.0, bool(center_point_box),
    )  # fmt: skip
    total = size_on_host(scanned(xp, "Sum", ends, rows, 1, ends))
    result = xp.empty((total, 3), np.int64)
    STORE.instance().launch(blocks if total else 0, whole_warps(most, 256), kept, ends, result, rows, labels, most)
    return result
