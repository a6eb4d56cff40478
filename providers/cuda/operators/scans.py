"""CumSum and CumProd: a block or a thread a row; long rows in parts."""

from __future__ import annotations

from math import prod
from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.axes import normalized_axis
from onnxgpu.providers.array_ops.host_values import integer
from onnxgpu.providers.array_ops.precision import accumulation_dtype
from onnxgpu.providers.cuda.kernels import C_TYPES, FLOAT_NAMES, MOST_BLOCKS, Template, dense, whole_warps
from onnxgpu.providers.cuda.registry import array_specs, operator

NUMBERS = FLOAT_NAMES | {"int32", "int64", "uint32", "uint64"}
_TYPES = tuple(C_TYPES[name] for name in sorted(NUMBERS))
_COMBINE = {"CumSum": "Sum", "CumProd": "Product"}

ROWS = Template("scans.cu", "scan_rows<{T}, {combine}>", "ppppllllbb", T=_TYPES, combine=tuple(_COMBINE.values()))
COLUMNS = Template("scans.cu", "scan_columns<{T}, {combine}>", "ppppllllbb", T=_TYPES, combine=tuple(_COMBINE.values()))

_SHORT = 32
_THREADS = 256
_ENOUGH_BLOCKS = 512
_LEAST_SPAN = 4096


def scanned(
    xp: Any, combine: str, x: Array, count: int, inner: int, out: Array, *, exclusive: bool = False, reverse: bool = False
) -> Array:
    """Running combinations ("Sum" or "Product") of dense x, [outer, count, inner], into `out`, which may be x."""
    if not x.size:
        return out
    rows = x.size // count
    by_thread = inner > 1 or count < _SHORT
    blocks = -(-rows // _THREADS) if by_thread else rows
    parts = max(1, min(count // _LEAST_SPAN, _ENOUGH_BLOCKS // blocks))
    span = -(-count // parts)
    parts = -(-count // span)
    kernel = (COLUMNS if by_thread else ROWS).instance(T=x.dtype, combine=combine)
    shape = (min(MOST_BLOCKS, blocks), parts), _THREADS if by_thread else whole_warps(span, 512)
    carry = None
    if parts > 1:
        carry = xp.empty(rows * parts, accumulation_dtype(x.dtype))
        kernel.launch(*shape, x, None, None, carry, rows, count, inner, span, False, reverse)
        scanned(xp, combine, carry, parts, 1, carry, exclusive=True)
    kernel.launch(*shape, x, carry, out, None, rows, count, inner, span, exclusive, reverse)
    return out


def _register(name: str, since: int) -> None:
    @operator(name, since=since, specs=array_specs(name), host=("axis",), types=NUMBERS)
    def run(xp: Any, x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0, out: Array = None) -> Array:
        along = normalized_axis(integer(axis, name, "axis"), len(x.shape), name)
        result = xp.empty(x.shape, x.dtype) if out is None else out
        flags = {"exclusive": bool(exclusive), "reverse": bool(reverse)}
        return scanned(xp, _COMBINE[name], dense(xp, x), x.shape[along], prod(x.shape[along + 1 :]), result, **flags)


_register("CumSum", 11)
_register("CumProd", 26)
