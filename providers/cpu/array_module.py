"""NumPy as operators of `array_ops` are given it: products do not use the threads of the BLAS, which spin (see blas.py).

What a step of a recurrent layer multiplies is large enough for OpenBLAS to take its threads, and too small for them to pay. Where anything
else wants a core, each step then waits for the scheduler: two quantised LSTMs over a sentence took 22 to 101 ms, and 14 to 25 so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from onnxgpu.provider import Array
from onnxgpu.providers.cpu.blas import FEW_MULTIPLICATIONS, matmul, product_seconds, single_threaded
from onnxgpu.providers.cpu.threads import WORTH_SECONDS

_OF_THE_BLAS = ("dot", "einsum", "inner", "tensordot", "vdot")


def _matmul(a: Array, b: Array, out: Array = None, **options: Any) -> Array:
    if type(a) is not np.ndarray or type(b) is not np.ndarray or a.size * b.shape[-1] <= FEW_MULTIPLICATIONS:
        return np.matmul(a, b, out=out, **options)
    if options or not _is_worth_sharing(a, b) or (out is not None and out.dtype != a.dtype):
        with single_threaded():
            return np.matmul(a, b, out=out, **options)
    result = np.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype) if out is None else out
    matmul(a, b, result)
    return result


def _is_worth_sharing(a: Array, b: Array) -> bool:
    """True for matrices of one type of float whose product may take long enough; of two batches every pair counts."""
    if min(a.ndim, b.ndim) < 2 or a.dtype != b.dtype or a.dtype.kind != "f" or a.shape[-1] != b.shape[-2]:
        return False
    return product_seconds(a.size * b.shape[-1] * max(1, prod(b.shape[:-2]))) > WORTH_SECONDS


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def limited(*arguments: Any, **options: Any) -> Any:
        with single_threaded():
            return function(*arguments, **options)

    return limited


NUMPY = ModuleType(np.__name__, np.__doc__)
NUMPY.__dict__.update(vars(np), matmul=_matmul, **{name: _limited(getattr(np, name)) for name in _OF_THE_BLAS})
