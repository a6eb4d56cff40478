"""Unique of flattened tensors: sorted, cut into runs; only the number of distinct elements comes to the host in between."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxgpu.provider import Array, Operation
from onnxgpu.providers.cuda.kernels import C_TYPES, THREADS, Template, blocks_for, dense
from onnxgpu.providers.cuda.operators.scans import scanned
from onnxgpu.providers.cuda.operators.sorting import NUMBERS, sorted_rows
from onnxgpu.providers.cuda.registry import operator
from onnxgpu.providers.cuda.sizes import size_on_host

_TYPES = tuple(C_TYPES[name] for name in sorted(NUMBERS))
MARK = Template("unique.cu", "mark_starts<{T}>", "pppl", T=_TYPES)
STORE = Template("unique.cu", "store_runs", "pppppl")
DISTINCT = Template("unique.cu", "store_distinct<{T}>", "ppppppppll", T=_TYPES)
RENUMBER = Template("unique.cu", "renumber", "ppl")


def _distinct(xp: Any, x: Array, is_sorted: bool) -> tuple[Array, Array, Array, Array]:
    """The distinct elements, the index of the first of each, which of them each element is, and how often each occurs."""
    x, count = dense(xp, x).reshape(-1), x.size
    order, sums, inverse = (xp.empty(count, np.int64) for _ in range(3))
    sorted_rows(xp, x, 0, count, False, None, order)
    MARK.instance(T=x.dtype).launch(blocks_for(count), THREADS, x, order, sums, count)
    runs = size_on_host(scanned(xp, "Sum", sums, max(count, 1), 1, sums))
    first, begins, indices, counts = (xp.empty(runs, np.int64) for _ in range(4))
    STORE.instance().launch(blocks_for(count), THREADS, order, sums, first, begins, inverse, count)
    places = ranks = None
    if not is_sorted:
        places, ranks = xp.empty(runs, np.int64), xp.empty(runs, np.int64)
        sorted_rows(xp, first, 0, runs, False, None, places)
    values = xp.empty(runs, x.dtype)
    DISTINCT.instance(T=x.dtype).launch(blocks_for(runs), THREADS, x, first, begins, places, values, indices, counts, ranks, runs, count)
    if ranks is not None:
        RENUMBER.instance().launch(blocks_for(count), THREADS, inverse, ranks, count)
    return values, indices, inverse, counts


def _refusal(operation: Operation) -> str | None:
    return "compares elements, not slices" if "axis" in operation.attributes else None


@operator("Unique", since=11, types=NUMBERS, when=_refusal)
def unique(xp: Any, x: Array, *, axis: int | None = None, sorted: int = 1, output_count: int = 4) -> tuple[Array, ...]:
    """The distinct elements of the flattened input; see `array_ops`. Spec: https://onnx.ai/onnx/operators/onnx__Unique.html"""
    return _distinct(xp, x, bool(sorted))[:output_count]


@operator("Unique", domain="com.microsoft", types=NUMBERS)
def unique_microsoft(xp: Any, x: Array) -> tuple[Array, Array, Array]:
    """Distinct elements in the order of their first occurrence, where each is, and how often it occurs. Spec: ContribOperators.md"""
    values, _, inverse, counts = _distinct(xp, x, False)
    return values, inverse, counts
