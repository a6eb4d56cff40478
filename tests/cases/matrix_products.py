"""MatMul, Gemm, Einsum, Det, FusedMatMul."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal

_A, _B = normal(4, 5), normal(5, 3)
_MS = "com.microsoft"
_HALVES = (("float16", 1e-2), (ml_dtypes.bfloat16, 5e-2))
_ACTIVATIONS: dict[str, dict[str, float]] = {
    "Relu": {},
    "Sigmoid": {},
    "LeakyRelu": {"activation_alpha": 0.2},
    "HardSigmoid": {"activation_alpha": 0.3, "activation_beta": 0.4},
}


def _gemm(shape: tuple[int, ...] | None, opset: int = 13, **attributes: float) -> Case:
    a = normal(5, 4) if attributes.get("transA") else _A
    b = normal(3, 5) if attributes.get("transB") else _B
    return Case("Gemm", [a, b, *([] if shape is None else [normal(*shape)])], attributes, opset=opset)


def _einsum(equation: str, *shapes: tuple[int, ...]) -> Case:
    return Case("Einsum", [normal(*shape) for shape in shapes], {"equation": equation}, opset=12)


CASES = [
    Case("MatMul", [_A, _B]),
    Case("MatMul", [_A, _B], opset=1, oracle="reference"),
    Case("MatMul", [normal(2, 1, 4, 5), normal(3, 5, 2)]),
    Case("MatMul", [normal(5), normal(5)]),
    Case("MatMul", [normal(5), normal(2, 5, 3)]),
    Case("MatMul", [normal(2, 4, 5), normal(5)]),
    Case("MatMul", [normal(0, 5), normal(5, 3)]),
    Case("MatMul", [normal(2, 0), normal(0, 3)]),
    *(Case("MatMul", [integers(3, 4, dtype=d), integers(4, 2, dtype=d)]) for d in ("int32", "int64", "uint32", "uint64")),
    *(Case("MatMul", [_A.astype(d), _B.astype(d)], rtol=1e-2 if d == "float16" else None) for d in ("float16", "float64")),
    _gemm(None, 11),
    _gemm((3,)),
    _gemm((4, 1)),
    _gemm((1, 3), 9),
    _gemm((4, 3), 7, alpha=0.5, beta=2.0),
    _gemm((), alpha=0.25),
    _gemm((3,), transA=1, transB=1),
    _gemm((3,), transB=1, beta=0.0),
    Case("Gemm", [_A, _B, normal(3)], {"broadcast": 1}, opset=6, expected=[_A @ _B + normal(3)], note="no oracle runs opset 6"),
    Case("Gemm", [_A.astype(np.float64), _B.astype(np.float64), normal(3, dtype=np.float64)], {"alpha": 0.3}),
    _einsum("ij,jk->ik", (3, 4), (4, 5)),
    _einsum("i j , j k", (3, 4), (4, 5)),
    _einsum("...ii->...i", (2, 3, 3)),
    _einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    _einsum("i,i->", (5,), (5,)),
    _einsum("ij,kj->ki", (3, 4), (5, 4)),
    _einsum("bnhd,bmhd->bhnm", (2, 7, 3, 4), (2, 5, 3, 4)),
    _einsum("bhnm,bmhd->bnhd", (2, 3, 7, 5), (2, 5, 3, 4)),
    _einsum("xcdy,zdc->yzx", (2, 3, 4, 5), (6, 4, 3)),
    _einsum("bij,bkj->bik", (8, 40, 16), (8, 50, 16)),
    _einsum("ij,jk->ik", (3, 0), (0, 5)),
    _einsum("ij,jk->ik", (3, 1), (4, 5)),
    Case("Einsum", [normal(3, 4, dtype=np.float64), normal(4, 5, dtype=np.float64)], {"equation": "ij,jk->ik"}, opset=12),
    _einsum("ij->", (2, 3)),
    _einsum("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    _einsum("a,b,c->abc", (2,), (3,), (4,)),
    *(Case("MatMul", [normal(*a), normal(*b)], atol=1e-4) for a, b in (((70, 33), (33, 65)), ((3, 600), (600, 130)), ((5, 520), (520, 2)))),
    Case("MatMul", [normal(2, 3, 9, 17), normal(2, 1, 17, 3)]),
    Case("MatMul", [normal(300, 9), normal(9, 5000)]),
    *(Case("MatMul", [normal(9, 40).astype(d), normal(40, 12).astype(d)], rtol=t, atol=t) for d, t in _HALVES),
    *(Case("MatMul", [integers(9, 600, dtype=d), integers(600, 7, dtype=d)]) for d in ("int32", "uint64")),
    Case("Gemm", [normal(600, 5), normal(3, 600), normal(3)], {"alpha": 0.5, "beta": -1.5, "transA": 1, "transB": 1}, atol=1e-4),
    *(
        Case("FusedGemm", [normal(9, 20), normal(20, 7), normal(7)], {"activation": name, **given}, opset=1, domain=_MS)
        for name, given in _ACTIVATIONS.items()
    ),
    Case("Det", [normal(3, 3)], opset=11, rtol=1e-4),
    Case("Det", [normal(2, 4, 4)], opset=22, rtol=1e-4, oracle="reference"),
    Case("Det", [normal(3, 40, 40, dtype="f8") / 4], opset=22, oracle="reference"),
    Case("Det", [normal(90, 90, dtype="f8") / 8], opset=22, oracle="reference"),
    Case("Det", [np.array([[[0, 2], [3, 4]], [[1, 2], [2, 4]], [[0, 0], [0, 1]]], "f")], opset=22, expected=[np.array([-6, 0, 0], "f")]),
    Case("Det", [normal(0, 3, 3)], opset=22, oracle="reference"),
    Case("FusedMatMul", [_A, _B], {"alpha": 0.5}, opset=1, domain=_MS),
    Case("FusedMatMul", [normal(2, 5, 4), normal(2, 3, 5)], {"transA": 1, "transB": 1}, opset=1, domain=_MS),
    Case("FusedMatMul", [normal(4, 2, 5), normal(5, 2, 3)], {"transBatchA": 1, "transBatchB": 1}, opset=1, domain=_MS),
]
