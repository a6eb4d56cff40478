"""Let equal constants be one."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import onnx_ir as ir

from onnxgpu.model_file import is_constant
from onnxgpu.rewrite.editing import Rewriting
from onnxgpu.rewrite.rule import graph_rule
from onnxgpu.rewrite.values import constant_array, constant_shape, element_type, labelled

_SAMPLES = 16


@graph_rule
def merge_duplicate_initializers(graph: ir.Graph, rewriting: Rewriting) -> list[str]:
    """An initializer with the type, shape and bytes of an earlier one of the same graph gives way to it.

    Of large tensors a few elements are compared first, so that most are never read as a whole.
    """
    alike: dict[Hashable, list[ir.Value]] = {}
    for value in graph.initializers.values():
        if is_constant(value) and not value.is_graph_output():
            alike.setdefault((element_type(value), constant_shape(value)), []).append(value)
    texts: list[str] = []
    for group in alike.values():
        if len(group) > 1:
            texts += _merge_group(group, rewriting)
    return texts


def _merge_group(group: list[ir.Value], rewriting: Rewriting) -> list[str]:
    texts: list[str] = []
    kept: dict[Hashable, list[ir.Value]] = {}
    for value in group:
        array = constant_array(value)
        if array is None:
            continue
        candidates = kept.setdefault(_sample(array), [])
        first = next((other for other in candidates if _equal(array, constant_array(other))), None)
        if first is None:
            candidates.append(value)
            continue
        texts.append(f"{labelled(value)} is {labelled(first)}")
        rewriting.replace(value, first)
        rewriting.release([value])
    return texts


def _sample(array: np.ndarray) -> Hashable:
    flat = array.reshape(-1)
    part = flat[:: max(1, flat.size // _SAMPLES)]
    return tuple(part.tolist()) if array.dtype.kind == "O" else part.tobytes()


def _equal(left: np.ndarray, right: np.ndarray | None) -> bool:
    """Equal bit by bit: NaN equals NaN, 0 differs from -0."""
    if right is None:
        return False
    if left.dtype.kind == "O":
        return bool(left.tolist() == right.tolist())
    mine, other = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (left, right))
    return bool(np.array_equal(mine, other))
