"""CuPy as operators of `array_ops` are given it: matrices are multiplied by the provider's own MatMul, and cuBLAS is not needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxgpu.dtypes import name_of
from onnxgpu.provider import Array, Claim, Kernel, Operation, Refusal, ValueInfo
from onnxgpu.providers.array_ops.precision import stored
from onnxgpu.providers.cuda import contractions
from onnxgpu.providers.cuda.products import TYPES

_BY_CUBLAS = frozenset({"cublas", "dot", "inner", "kron", "linalg", "outer", "tensordot", "vdot"})
"""What of CuPy calls cuBLAS, or may."""


class ArrayModule:
    """CuPy, with products of its own.

    Args:
        cupy: the module.
        claim: the provider's answer to an operation, with libraries as its options say.
    """

    def __init__(self, cupy: Any, claim: Callable[[Operation], Claim | Refusal]) -> None:
        self._cupy, self._claim = cupy, claim
        self._products: dict[np.dtype, Kernel] = {}

    def __getattr__(self, name: str) -> Any:
        """Of CuPy.

        Raises:
            AttributeError: CuPy has no such name, or it is one of a product: there is `matmul`, and `einsum`.
        """
        if name in _BY_CUBLAS:
            raise AttributeError(f"{name} of CuPy calls cuBLAS: write it with matmul or einsum")
        value = getattr(self._cupy, name)
        setattr(self, name, value)
        return value

    def matmul(self, a: Array, b: Array, out: Array = None) -> Array:
        """As `numpy.matmul`, of numbers of one type or two.

        Raises:
            TypeError: there is no product of this element type.
        """
        dtype = a.dtype if a.dtype == b.dtype else self._cupy.result_type(a, b)
        wide = np.dtype(np.int32) if dtype.kind in "iu" and dtype.itemsize < 4 else dtype
        a, b = (x.astype(wide, copy=False) for x in (a, b))
        kernel = self._product_of(wide)
        wanted = kernel.workspace([a, b])
        target = None if out is None or out.dtype != wide else [out]
        (result,) = kernel.launch([a, b], target, self._cupy.empty(wanted, np.uint8) if wanted else None)
        return stored(self._cupy, result, dtype, out)

    def einsum(self, equation: str, *operands: Array, optimize: object = True) -> Array:
        """As `numpy.einsum`, factors multiplied in the order that it names.

        Raises:
            ValueError: the equation does not fit the operands.
        """
        return contractions.einsum(self, equation, operands)

    def _product_of(self, dtype: np.dtype) -> Kernel:
        kernel = self._products.get(dtype)
        if kernel is None:
            if name_of(dtype) not in TYPES:
                raise TypeError(f"matrices of {name_of(dtype)} are not multiplied: use {', '.join(sorted(TYPES))}")
            factors = tuple(ValueInfo(name, dtype, (None, None)) for name in ("a", "b"))
            claim = self._claim(Operation("MatMul", factors, (ValueInfo("y", dtype),)))
            assert isinstance(claim, Claim), claim.reason
            kernel = self._products[dtype] = claim.build()
        return kernel
