"""Memory for an operator's results where the caller gives none."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.cuda.narrow import stored_dtype, typed


def result_for(xp: Any, spec: Spec, out: Array | None) -> Array:
    """`out`, or a new array with `spec`."""
    return typed(xp.empty(spec.shape, stored_dtype(spec.dtype)), spec.dtype) if out is None else out
