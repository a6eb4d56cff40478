"""QAttention: self-attention whose input and packed projections are in 8 bits (domain com.microsoft).

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation, Spec, Value
from onnxgpu.providers.array_ops.attention_core import (
    attention_scores,
    join_heads,
    positions_allowed,
    softmax_over_keys,
    split_heads,
    weighted_values,
)
from onnxgpu.providers.array_ops.contrib_attention import padding_bias
from onnxgpu.providers.array_ops.exact_sums import FLOAT
from onnxgpu.providers.array_ops.integer_products import IntegerMatrix, IntegerProduct, along_columns
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.registry import operator

_NAME = "QAttention"


def unsupported(operation: Operation) -> str | None:
    """Why the node is not run: it wants rotated positions, or a cache that is written in place."""
    for attribute in ("do_rotary", "past_present_share_buffer"):
        if operation.attributes.get(attribute):
            return f"with {attribute} is not implemented"
    return None


@operator("QAttention", domain="com.microsoft", absorbs=("weight", "weight_zero_point"), when=unsupported)
class QAttention(IntegerProduct):
    """Attention of the input times three packed projections, in the type of the bias; also keys and values with those of the past."""

    input_names = (
        "input",
        "weight",
        "bias",
        "input_scale",
        "weight_scale",
        "mask_index",
        "input_zero_point",
        "weight_zero_point",
        "past",
    )
    required_inputs, b_index, b_zero_index = 5, 1, 7

    def __init__(self, xp: Any, operation: Operation) -> None:
        super().__init__(xp, operation)
        self._count = len(operation.outputs)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec]:
        """(batch, length, hidden), and keys and values (2, batch, heads, all, size)."""
        x, bias, past = inputs[0], inputs[2], self._padded(inputs)[8]
        hidden, heads = bias.shape[0] // 3, int(self._attributes["num_heads"])
        keys = x.shape[1] + (0 if past is None else past.shape[3])
        present = Spec((2, x.shape[0], heads, keys, hidden // heads), bias.dtype)
        return (Spec((*x.shape[:2], hidden), bias.dtype), present)[: self._count]

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None = None) -> Sequence[Value]:
        """See `onnxgpu.provider.Kernel`."""
        given, xp = self._padded(inputs), self._xp
        projected = self._projected(given, self._right.of(given))
        third = projected.shape[2] // 3
        heads = int(self._attributes["num_heads"])
        q, k, v = (split_heads(xp, projected[..., i * third : (i + 1) * third], heads, _NAME) for i in range(3))
        past, offset = given[8], 0
        if past is not None:
            offset = past.shape[3]
            k, v = xp.concatenate((widened(past[0]), k), axis=2), xp.concatenate((widened(past[1]), v), axis=2)
        result = join_heads(xp, weighted_values(xp, softmax_over_keys(xp, self._scores(q, k, given[5], offset)), v))
        places = outputs or (None, None)
        dtype = given[2].dtype
        first = stored(xp, result, dtype, places[0])
        return (first,) if self._count == 1 else (first, stored(xp, xp.stack((k, v)), dtype, places[1]))

    def _projected(self, inputs: Sequence[Value], matrix: IntegerMatrix) -> Array:
        x, _, bias, x_scale, w_scale, _, x_zero, *_ = inputs
        product = matrix.times(x, x_zero, self._multiply).astype(FLOAT, copy=False)
        return product * (widened(x_scale).reshape(()) * along_columns(widened(w_scale), FLOAT)) + widened(bias)

    def _scores(self, q: Array, k: Array, mask: Array | None, offset: int) -> Array:
        xp = self._xp
        scores = attention_scores(xp, q, k, self._attributes.get("scale") or 1 / math.sqrt(q.shape[3]), _NAME)
        if mask is not None:
            masked = self._attributes.get("mask_filter_value", -10000.0)
            scores = scores + padding_bias(xp, mask, q.shape[0], k.shape[2], masked, _NAME)
        if self._attributes.get("unidirectional", 0):
            allowed = positions_allowed(xp, q.shape[2], k.shape[2], offset, -1, 0)
            scores = xp.where(allowed, scores, np.float32(-np.inf))
        return scores
