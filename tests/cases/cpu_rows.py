"""Products, softmax, normalisation, reductions and elementwise operators where the cpu provider has kernels of its own."""

from __future__ import annotations

import numpy as np

from tests.cases import Case

_RANDOM = np.random.default_rng(13)


def _array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return _RANDOM.standard_normal(shape).astype(dtype)


def _positive(*shape: int) -> np.ndarray:
    return _RANDOM.random(shape).astype(np.float32) + np.float32(0.5)


_PRODUCTS = [
    Case("MatMul", [_array(5, 7), _array(7, 3)], atol=1e-5),
    Case("MatMul", [_array(2, 5, 7), _array(7, 3)], atol=1e-5),
    Case("MatMul", [_array(2, 3, 5, 7), _array(3, 7, 4)], atol=1e-5),
    Case("MatMul", [_array(5, 7), _array(2, 7, 4, dtype="float32")], atol=1e-5),
    Case("MatMul", [_array(3, 1, 7, dtype="float64"), _array(7, 1, dtype="float64")]),
    Case("MatMul", [_array(3, 0), _array(0, 2)]),
    Case("Gemm", [_array(5, 7), _array(7, 3), _array(3)], atol=1e-5),
    Case("Gemm", [_array(7, 5), _array(3, 7), _array(5, 1)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, atol=1e-5),
    Case("Gemm", [_array(7, 5), _array(5, 4)], {"alpha": 1.5}, atol=1e-5),
    Case("FusedMatMul", [_array(2, 5, 7), _array(2, 4, 7)], {"transB": 1, "alpha": 0.25}, opset=1, domain="com.microsoft", atol=1e-5),
    Case("FusedMatMul", [_array(2, 7, 5), _array(7, 4)], {"transA": 1}, opset=1, domain="com.microsoft", atol=1e-5),
]
_ROWS = [
    Case("Softmax", [_array(3, 4, 9)]),
    Case("Softmax", [_array(3, 300, 700)]),
    Case("Softmax", [_array(3, 4, 9)], {"axis": 2}),
    Case("Softmax", [_array(3, 4, 9)], {"axis": 1}, opset=11),
    Case("Softmax", [_array(3, 4, 9, dtype="float64")], {"axis": -1}),
    Case("LayerNormalization", [_array(3, 5, 16), _array(16), _array(16)], {"epsilon": 1e-3}, opset=17),
    Case("LayerNormalization", [_array(300, 700), _array(700)], {"axis": 1}, opset=17, atol=2e-5),
    Case("LayerNormalization", [_array(3, 5, 4), _array(5, 4), _array(5, 4)], {"axis": 1}, opset=17),
    Case("RMSNormalization", [_array(3, 5, 16), _array(16)], opset=23),
    Case("RMSNormalization", [_array(2, 5), _array(5, dtype="float16")], opset=23, oracle="reference"),
    Case("SkipLayerNormalization", [_array(2, 5, 16), _array(2, 5, 16), _array(16), _array(16)], opset=1, domain="com.microsoft"),
    Case(
        "SkipLayerNormalization", [_array(2, 5, 16), _array(2, 5, 16), _array(16), _array(16), _array(16)], opset=1, domain="com.microsoft"
    ),
    Case("SkipSimplifiedLayerNormalization", [_array(2, 5, 16), _array(2, 5, 16), _array(16)], opset=1, domain="com.microsoft"),
    Case("BatchNormalization", [_array(2, 3, 5, 4), _array(3), _array(3), _array(3), _positive(3)], {"epsilon": 1e-3}, opset=15),
    Case("BatchNormalization", [_array(2, 3), _array(3), _array(3), _array(3), _positive(3)], opset=9),
    Case("ReduceMean", [_array(2, 3, 5, 4)], {"axes": [2, 3]}, opset=13),
    Case("ReduceMean", [_array(2, 3, 5, 4)], {"axes": [-1], "keepdims": 0}, opset=13),
    Case("ReduceMean", [_array(2, 3, 5, 4)], {"axes": [1]}, opset=13),
]
_ELEMENTWISE = [
    *(Case(operator, [_array(2, 3, 4), _positive(3, 1)]) for operator in ("Add", "Sub", "Mul", "Div")),
    *(Case(operator, [_array(40, 100, 150), _positive(1, 100, 1)]) for operator in ("Add", "Mul")),
    *(Case(operator, [_array(7, 11)]) for operator in ("Relu", "Sigmoid", "Tanh", "Exp", "HardSwish", "Erf")),
    Case("Sqrt", [_positive(7, 11)]),
    Case("Erf", [np.linspace(-6, 6, 4001, dtype=np.float32)]),
    Case("Gelu", [np.linspace(-9, 9, 4001, dtype=np.float32)], opset=20),
    Case("Gelu", [_array(20, 31)], {"approximate": "tanh"}, opset=20),
    Case("Gelu", [_array(20, 31)], opset=1, domain="com.microsoft"),
    Case("QuickGelu", [_array(20, 31)], {"alpha": 1.5}, opset=1, domain="com.microsoft"),
]
CASES = [*_PRODUCTS, *_ROWS, *_ELEMENTWISE]
