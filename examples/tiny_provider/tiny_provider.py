"""TinyExecutionProvider: a few operators on the host, found by onnxgpu as soon as the package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from onnxgpu.host_provider import HostProvider
from onnxgpu.operators import Registry
from onnxgpu.provider import Claim, Operation, Refusal, Spec

REGISTRY = Registry()
FLOATS = frozenset({"float", "double"})


def like_first(x: Any, *_: Any, **__: Any) -> Spec:
    """The output has the first input's shape and dtype, and may take over its memory."""
    return Spec(tuple(x.shape), x.dtype, may_reuse=(0,))


def product_shape(a: Any, b: Any) -> Spec | None:
    """Rows of `a` by columns of `b`; unknown until run for more than two dimensions."""
    return Spec((a.shape[0], b.shape[1]), a.dtype) if len(a.shape) == len(b.shape) == 2 else None


@REGISTRY.operator("Relu", types=FLOATS, specs=like_first)
def relu(xp: Any, x: Any, *, out: Any = None) -> Any:
    """max(x, 0)."""
    return xp.maximum(x, 0, out=out)


@REGISTRY.operator("LeakyRelu", since=6, types=FLOATS)
def leaky_relu(xp: Any, x: Any, *, alpha: float = 0.01) -> Any:
    """x where positive, alpha x elsewhere; without `specs` a function returns arrays of its own."""
    return xp.where(x >= 0, x, x.dtype.type(alpha) * x)


@REGISTRY.operator("MatMul", types=FLOATS, specs=product_shape)
def matmul(xp: Any, a: Any, b: Any, *, out: Any = None) -> Any:
    """Matrix product."""
    return xp.matmul(a, b, out=out)


class TinyProvider(HostProvider):
    """The operators above; whatever else a model has goes to the next provider in the list."""

    name: ClassVar[str] = "TinyExecutionProvider"
    option_types: ClassVar[Mapping[str, type]] = {"verbose": bool}
    used_unasked: ClassVar[bool] = False

    def claim(self, operation: Operation) -> Claim | Refusal:
        """See `onnxgpu.provider.Provider`."""
        return REGISTRY.claim(np, operation)
