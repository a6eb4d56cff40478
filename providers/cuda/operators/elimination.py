"""Det and Inverse: a block a matrix, which lies in shared memory if it fits."""

from __future__ import annotations

from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.precision import accumulation_dtype
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES, FLOATS, Template, dense, whole_warps
from onnxgpu.providers.cuda.registry import array_specs, operator

DETERMINANTS = Template("elimination.cu", "determinants<{T}>", "pppli", T=FLOATS)
INVERSES = Template("elimination.cu", "inverses<{T}>", "pppli", T=FLOATS)

_SHARED_BYTES = 47 * 1024
_MOST_BLOCKS = 4096


def _launch(xp: Any, kernel: Template, x: Array, out: Array) -> Array:
    """Into `out`, for each matrix of `x`."""
    n = x.shape[-1]
    matrices = x.size // (n * n) if n else out.size
    wide = accumulation_dtype(x.dtype)
    row_bytes = n * (wide.itemsize + 4) + 2 * wide.itemsize
    is_shared = row_bytes + n * n * wide.itemsize <= _SHARED_BYTES
    scratch = None if is_shared else xp.empty((matrices, n, n), wide)
    kernel.instance(T=x.dtype).launch(
        min(matrices, _MOST_BLOCKS),
        whole_warps(n * n, 512),
        dense(xp, x),
        scratch,
        out,
        matrices,
        n,
        shared=row_bytes + (n * n * wide.itemsize if is_shared else 0),
    )
    return out


@operator("Det", since=11, specs=array_specs("Det"), types=FLOAT_NAMES)
def det(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Determinant of each matrix. Spec: https://onnx.ai/onnx/operators/onnx__Det.html"""
    return _launch(xp, DETERMINANTS, x, xp.empty(x.shape[:-2], x.dtype) if out is None else out)


@operator("Inverse", domain="com.microsoft", specs=array_specs("Inverse", domain="com.microsoft"), types=FLOAT_NAMES - {"bfloat16"})
def inverse(xp: Any, x: Array, *, out: Array = None) -> Array:
    """Inverse of each matrix; infinities or NaN where there is none. Spec: onnxruntime's ContribOperators.md"""
    return _launch(xp, INVERSES, x, xp.empty(x.shape, x.dtype) if out is None else out)
