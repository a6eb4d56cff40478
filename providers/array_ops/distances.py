"""CDist of domain com.microsoft: distances between the rows of two matrices."""

from __future__ import annotations

from typing import Any

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array, Operation, Spec
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.array_ops.registry import operator

METRICS = ("sqeuclidean", "euclidean")


def _unknown_metric(operation: Operation) -> str | None:
    metric = operation.attributes.get("metric", METRICS[0])
    return None if metric in METRICS else f"knows the metrics {' and '.join(METRICS)}, not {metric!r} (neither does onnxruntime)"


def _specs(a: Array, b: Array, **_: Any) -> Spec:
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[1]:
        raise InvalidArgument(f"CDist: expected matrices (M, N) and (K, N), got shapes {list(a.shape)} and {list(b.shape)}")
    return Spec((a.shape[0], b.shape[0]), a.dtype)


@operator("CDist", domain="com.microsoft", specs=_specs, types=frozenset({"double", "float"}), when=_unknown_metric)
def cdist(xp: Any, a: Array, b: Array, *, metric: str = "sqeuclidean", out: Array = None) -> Array:
    """Squared or plain Euclidean distance of each row of `a` to each of `b`: |a|² - 2 a b + |b|², at least 0.

    Spec: onnxruntime's ContribOperators.md
    """
    result = xp.matmul(a, b.T) * -2
    result += xp.sum(a * a, axis=1)[:, None]
    result += xp.sum(b * b, axis=1)
    xp.maximum(result, 0, out=result)
    return stored(xp, xp.sqrt(result) if metric == "euclidean" else result, a.dtype, out)
