"""DFT, STFT, MelWeightMatrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal, scalar, uniform

_REAL, _COMPLEX = normal(2, 10, 1), normal(2, 10, 2)
_CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}

CASES = [
    Case("DFT", [_REAL], opset=17, **_CLOSE),
    Case("DFT", [_REAL], {"onesided": 1}, opset=17, **_CLOSE),
    Case("DFT", [_COMPLEX, scalar(16, "int64")], {"inverse": 1}, opset=17, **_CLOSE),
    Case("DFT", [_COMPLEX, scalar(7, "int64"), scalar(1, "int64")], opset=20, **_CLOSE),
    Case("DFT", [normal(3, 4, 5, 1), None, scalar(-3, "int64")], {"onesided": 1}, opset=20, **_CLOSE),
    Case("DFT", [normal(2, 6, 2)], {"inverse": 1, "onesided": 1}, opset=20, oracle="reference", **_CLOSE),
    Case("DFT", [normal(2, 8, 2, dtype=np.float64)], opset=20),
    *(
        Case("DFT", [normal(2, n, 1), None, scalar(1, "int64")], opset=20, oracle="reference", **_CLOSE)
        for n in (1, 2, 12, 17, 60, 97, 1024, 4000)
    ),
    Case("DFT", [normal(1, 3200, 2, dtype=np.float64)], {"onesided": 1, "axis": 1}, opset=17, oracle="reference"),
    Case("DFT", [normal(1, 4003, 1, dtype=np.float64), None, scalar(1, "int64")], {"inverse": 1}, opset=20, oracle="reference"),
    Case("DFT", [normal(2, 2501, 2), scalar(5000, "int64")], {"inverse": 1, "onesided": 1}, opset=20, oracle="reference", **_CLOSE),
    Case("DFT", [normal(2, 6, 5, 2), scalar(4, "int64"), scalar(1, "int64")], {"inverse": 1}, opset=20, **_CLOSE),
    Case(
        "DFT",
        [normal(2, 4, 3, 2), scalar(7, "int64"), scalar(1, "int64")],
        {"inverse": 1, "onesided": 1},
        opset=20,
        oracle="reference",
        **_CLOSE,
    ),
    Case("DFT", [normal(3, 16, 2, dtype="float16")], opset=20, oracle="reference", atol=2e-2),
    Case("DFT", [normal(0, 16, 2)], opset=20, oracle="reference"),
    Case("STFT", [normal(2, 32, 1), scalar(4, "int64"), uniform(8)], opset=17, **_CLOSE),
    Case("STFT", [normal(2, 32, 1), scalar(5, "int64"), None, scalar(8, "int64")], {"onesided": 0}, opset=17, **_CLOSE),
    Case("STFT", [normal(1, 32, 2), scalar(8, "int64"), uniform(16), scalar(16, "int64")], {"onesided": 0}, opset=17, **_CLOSE),
    Case("STFT", [normal(2, 2000, 1), scalar(160, "int64"), uniform(400)], opset=17, oracle="reference", **_CLOSE),
    Case("MelWeightMatrix", [scalar(8, "int64"), scalar(32, "int64"), scalar(8192, "int64"), scalar(0.0), scalar(4096.0)], opset=17),
    Case("MelWeightMatrix", [scalar(300, "int64"), scalar(1024, "int64"), scalar(16000, "int64"), scalar(20.0), scalar(7900.0)], opset=17),
    Case("MelWeightMatrix", [scalar(20, "int64"), scalar(64, "int64"), scalar(16000, "int64"), scalar(100.0), scalar(7000.0)], opset=17),
]
