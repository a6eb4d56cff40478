"""How elementwise operators are registered and run: early opsets' attributes, cache-sized pieces, half types in float32.

Opsets 1 to 6 said where the second operand lies with `axis` and `broadcast` and had a `consumed_inputs` that means
nothing; later opsets broadcast as NumPy does. The decorators here register both forms of one function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

from onnxgpu.array_module import is_numpy
from onnxgpu.dtypes import dtype_named
from onnxgpu.provider import Array, Spec
from onnxgpu.providers.array_ops.registry import operator
from onnxgpu.providers.array_ops.specs import broadcast, like_first

ElementwiseFunction = Callable[..., Array]
PIECE = 32768
"""Elements a step: two float32 pieces stay in the second-level cache while a formula passes over them many times."""

_LONG = 4096
_PLAIN_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@cache
def is_narrow(dtype: np.dtype) -> bool:
    """True for the 16-bit floats, whose formulas are computed in float32."""
    return dtype in (np.dtype(np.float16), dtype_named("bfloat16"))


def at_least(xp: Any, x: Array, limit: Array | float, out: Array = None) -> Array:
    """max(x, limit), NaN stays; NumPy's loop for `clip` is twice as fast as the one for a maximum with a scalar."""
    if x.size < _LONG or x.dtype not in _PLAIN_FLOATS:
        return xp.maximum(x, limit, out=out)
    return xp.clip(x, limit, np.inf, out=out)


def at_most(xp: Any, x: Array, limit: Array | float, out: Array = None) -> Array:
    """min(x, limit); see `at_least`."""
    if x.size < _LONG or x.dtype not in _PLAIN_FLOATS:
        return xp.minimum(x, limit, out=out)
    return xp.clip(x, -np.inf, limit, out=out)


def unary(name: str, *, since: int = 1) -> Callable[[ElementwiseFunction], ElementwiseFunction]:
    """Register an operator whose output is like its first input; at opset 1 it may have `consumed_inputs`."""

    def register(function: ElementwiseFunction) -> ElementwiseFunction:
        if since < 6:
            operator(name, since=since, specs=like_first, alone=True)(ignoring(function, "consumed_inputs"))
        operator(name, since=max(since, 6), specs=like_first, alone=True)(function)
        return function

    return register


def binary(name: str, *, specs: Callable[..., Spec] = broadcast) -> Callable[[ElementwiseFunction], ElementwiseFunction]:
    """Register an operator of two operands: with `axis` and `broadcast` before opset 7, with NumPy's broadcasting since."""

    def register(function: ElementwiseFunction) -> ElementwiseFunction:
        def early_specs(a: Array, b: Array, **_: Any) -> Spec:
            return specs(a)

        def early(
            xp: Any, a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0, consumed_inputs: Any = None, out: Array = None
        ) -> Array:
            return function(xp, a, aligned(b, len(a.shape), axis) if broadcast else b, out=out)

        operator(name, specs=early_specs, alone=True)(early)
        operator(name, since=7, specs=specs, alone=True)(function)
        return function

    return register


def aligned(b: Array, rank: int, axis: int | None) -> Array:
    """The second operand of opsets 1 to 6, shaped for NumPy: its axes start at `axis` of the first, or end with the last."""
    if b.size == 1:
        return b.reshape((1,) * rank)
    if axis is None:
        return b
    start = axis + rank if axis < 0 else axis
    return b.reshape(tuple(b.shape) + (1,) * (rank - start - len(b.shape)))


def ignoring(function: ElementwiseFunction, *names: str) -> ElementwiseFunction:
    """`function`, which also takes these keywords and does nothing with them."""

    @wraps(function)
    def run(*inputs: Array, **attributes: Any) -> Array:
        return function(*inputs, **{n: v for n, v in attributes.items() if n not in names})

    signature = inspect.signature(function)
    extra = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None) for n in names]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *extra])  # type: ignore[attr-defined]
    return run


def in_pieces(function: ElementwiseFunction) -> ElementwiseFunction:
    """An operator `run(xp, x, *, out, …)` made of `function(xp, x, out, …)`, which computes one piece.

    `function` is given arrays of one shape, with one dimension or more, and of one dtype, float32 where the tensor's is float16
    or bfloat16; they may be the same array, so it reads `x` no more once it has written to `out`. Only host arrays are cut: on a
    device one launch over all elements is faster.
    """

    @wraps(function)
    def run(xp: Any, x: Array, *, out: Array = None, **attributes: Any) -> Array:
        if out is None:
            out = xp.empty(x.shape, x.dtype)
        elif not out.flags.c_contiguous:
            out[...] = run(xp, x, **attributes)
            return out
        if x.ndim and x.size <= PIECE and not is_narrow(x.dtype):
            function(xp, x, out, **attributes)
            return out
        source, target = x.reshape(-1), out.reshape(-1)
        narrow = is_narrow(x.dtype)
        step = PIECE if is_numpy(xp) else max(source.size, 1)
        for start in range(0, source.size, step):
            piece, result = source[start : start + step], target[start : start + step]
            if narrow:
                wide = piece.astype(np.float32)
                function(xp, wide, wide, **attributes)
                result[...] = wide
            else:
                function(xp, piece, result, **attributes)
        return out

    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "out"]
    out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    run.__signature__ = signature.replace(parameters=[*parameters, out])  # type: ignore[attr-defined]
    return run
