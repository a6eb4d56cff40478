"""NVIDIA's libraries in front of our own kernels: which are used, and for which operators.

A library has a registry of the operators that it computes. What it does not take, and everything where it is switched off or not
installed, goes to the kernels of `operators/`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from onnxgpu.errors import EPFail
from onnxgpu.operators import Registry
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops import REGISTRY as ARRAY_OPS
from onnxgpu.providers.cuda.device import cupy
from onnxgpu.providers.cuda.generated import evaluate
from onnxgpu.providers.cuda.kernels import FLOAT_NAMES
from onnxgpu.providers.cuda.operators.matrix_products import FusedMatMulBias, activation_step
from onnxgpu.providers.cuda.registry import REGISTRY

_PRODUCTS = {
    ("", "MatMul"),
    ("", "Gemm"),
    ("com.microsoft", "FusedGemm"),
    ("com.microsoft", "FusedMatMul"),
    ("com.microsoft", "SparseToDenseMatMul"),
    ("com.microsoft", "TransposeMatMul"),
}

CUBLAS = Registry()
"""Products of floats by cuBLAS, through CuPy."""

for _entry in ARRAY_OPS.entries():
    if (_entry.domain, _entry.operator) in _PRODUCTS:
        CUBLAS.operator(_entry.operator, domain=_entry.domain, since=_entry.since, specs=_entry.specs, types=FLOAT_NAMES, when=_entry.when)(
            _entry.implementation
        )

_fused = REGISTRY.entry("FusedMatMul", "onnxgpu", 1)
assert _fused is not None


@CUBLAS.operator("FusedMatMul", domain="onnxgpu", types=_fused.types, when=_fused.when)
class FusedMatMulByCublas(FusedMatMulBias):
    """The product by cuBLAS, what follows it by one generated kernel."""

    def _write(self, a: Array, b: Array, bias: Array | None, out: Array) -> None:
        steps = [f"Mul 0 ={float(self._attributes.get('alpha', 1.0))!r}"]
        if bias is not None:
            steps.append("Add %0 1")
        activation = activation_step(self._attributes, f"%{len(steps) - 1}")
        self._xp.matmul(a, b, out=out)
        evaluate((*steps, *([activation] if activation else [])), (out,) if bias is None else (out, bias), out)


def registry(*, cublas: bool | None) -> Registry:
    """The operators of a session that uses these libraries.

    Args:
        cublas: True, False, or None for "if it is installed".

    Raises:
        EPFail: a library that is asked for cannot be loaded.
    """
    problem = _cublas_problem() if cublas is not False else None
    if cublas and problem:
        raise EPFail(f"option enable_cublas: cuBLAS cannot be loaded: {problem}; install it, or leave the option out")
    return REGISTRY if cublas is False or problem else _with_cublas()


@cache
def _with_cublas() -> Registry:
    return CUBLAS.over(REGISTRY)


@cache
def _cublas_problem() -> str | None:
    """Why CuPy has no cuBLAS on the current device."""
    try:
        handle: Any = cupy().cuda.device.get_cublas_handle()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None if handle else "no handle"
