"""Products of quantised matrices."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, scalar, uniform

_MS = "com.microsoft"


def _bytes(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    limits = np.iinfo(dtype)
    return integers(*shape, low=limits.min, high=limits.max, dtype=dtype, seed=seed)


_A, _B = _bytes(3, 4), _bytes(4, 5, dtype="int8")


CASES = [
    Case("MatMulInteger", [_A, _B], opset=10),
    Case("MatMulInteger", [_bytes(2, 3, 4), _bytes(2, 4, 5), scalar(12, "uint8"), scalar(100, "uint8")], opset=10),
    Case("MatMulInteger", [_A, _B, scalar(12, "uint8"), _bytes(5, dtype="int8")], opset=10),
    Case("MatMulInteger", [_bytes(3, 600), _bytes(600, 2)], opset=10),
    Case(
        "QLinearMatMul",
        [_A, scalar(0.02), scalar(100, "uint8"), _bytes(4, 5), scalar(0.01), scalar(120, "uint8"), scalar(0.1), scalar(90, "uint8")],
        opset=10,
    ),
    Case(
        "QLinearMatMul",
        [_A, scalar(0.02), scalar(100, "uint8"), _B, uniform(5), np.zeros(5, "int8"), scalar(3.0), scalar(90, "uint8")],
        opset=10,
    ),
    Case(
        "MatMulIntegerToFloat",
        [_A, _B, scalar(0.02), uniform(5), scalar(7, "uint8"), _bytes(5, dtype="int8"), normal(5)],
        opset=1,
        domain=_MS,
    ),
    Case("DynamicQuantizeMatMul", [normal(3, 4), _B, scalar(0.02), scalar(3, "int8"), normal(5)], opset=1, domain=_MS),
    Case("DynamicQuantizeMatMul", [normal(3, 4), _bytes(4, 5), uniform(5), _bytes(5)], opset=1, domain=_MS),
    *(
        Case(
            name,
            [_A, scalar(0.02), scalar(100, "uint8"), _bytes(4), scalar(0.03), scalar(90, "uint8"), scalar(0.05), scalar(80, "uint8")],
            opset=1,
            domain=_MS,
        )
        for name in ("QLinearAdd", "QLinearMul")
    ),
    *(
        Case("MatMulInteger16", [a, b], opset=1, domain=_MS)
        for a, b in (
            (_bytes(3, 4, dtype="int16"), _bytes(4, 5, dtype="int16")),
            (_bytes(2, 3, 4, dtype="int16"), _bytes(4, dtype="int16")),
            (np.full((1, 3), -(2**15), "int16"), np.full((3, 1), -(2**15), "int16")),
        )
    ),
    Case(
        "MatMulInteger16",
        [np.full((1, 2), 65535, "uint16"), np.full((2, 1), 65535, "uint16")],
        opset=1,
        domain=_MS,
        expected=[np.array([[2 * 65535**2 % 2**32]], "uint32")],
        note="onnxruntime has no kernel for unsigned factors",
    ),
    Case("MatMulInteger", [np.full((1, 70_000), 255, "uint8"), np.full((70_000, 1), 255, "uint8")], opset=10, note="wraps"),
]
