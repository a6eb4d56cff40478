"""Running sums and products along an axis: CumSum, CumProd."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.precision import widened
from onnxgpu.providers.array_ops.registry import operator


def _like(x: Array, axis: Array, **_: Any) -> Spec:
    return Spec(tuple(x.shape), x.dtype)


def _accumulated(xp: Any, name: str, x: Array, axis: int, exclusive: int, reverse: int, out: Array) -> Array:
    result = xp.empty(x.shape, x.dtype) if out is None else out
    along = (slice(None),) * axis
    source, target = x, result
    if reverse:
        backward = (*along, slice(None, None, -1))
        source, target = source[backward], target[backward]
    if exclusive:
        target[(*along, slice(0, 1))] = 0 if name == "cumsum" else 1
        source, target = source[(*along, slice(0, -1))], target[(*along, slice(1, None))]
    if source.size:
        wide = widened(source)
        if wide is source:
            getattr(xp, name)(source, axis=axis, dtype=x.dtype, out=target)
        else:
            target[...] = getattr(xp, name)(wide, axis=axis, dtype=wide.dtype)
    return result


@operator("CumSum", since=11, specs=_like, host=("axis",))
def cum_sum(xp: Any, x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0, out: Array = None) -> Array:
    """Sums of the elements up to each one along `axis`, or from it on; without it if exclusive.

    Spec: https://onnx.ai/onnx/operators/onnx__CumSum.html
    """
    along = normalized_axis(integer(axis, "CumSum", "axis"), x.ndim, "CumSum")
    return _accumulated(xp, "cumsum", x, along, exclusive, reverse, out)


@operator("CumProd", since=26, specs=_like, host=("axis",))
def cum_prod(xp: Any, x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0, out: Array = None) -> Array:
    """Products of the elements up to each one along `axis`, or from it on; without it if exclusive.

    Spec: https://onnx.ai/onnx/operators/onnx__CumProd.html
    """
    along = normalized_axis(integer(axis, "CumProd", "axis"), x.ndim, "CumProd")
    return _accumulated(xp, "cumprod", x, along, exclusive, reverse, out)
