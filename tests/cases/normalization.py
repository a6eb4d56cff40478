"""Layer, RMS, batch, instance, group, Lp and mean-variance normalisation, LRN."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal, uniform

_X = normal(2, 6, 4, 5)
_C = [uniform(6, low=0.5, high=1.5), normal(6)]
_STATISTICS = [normal(6, seed=1), uniform(6, low=0.5, high=1.5, seed=1)]
_MS = "com.microsoft"


def _layer(axis: int, outputs: int = 1, bias: bool = True, dtype: Any = "f", **more: Any) -> Case:
    x = normal(2, 3, 4, 5, dtype=dtype)
    shape = x.shape[axis:]
    inputs = [x, uniform(*shape, dtype=dtype), *([normal(*shape, dtype=dtype)] if bias else [])]
    return Case("LayerNormalization", inputs, {"axis": axis}, opset=17, outputs=outputs, **more)


CASES = [
    _layer(-1),
    _layer(1),
    _layer(0, outputs=3),
    _layer(-2, outputs=3, bias=False),
    _layer(-1, outputs=2, dtype=np.float16, oracle="onnxruntime", rtol=1e-2, atol=1e-2),
    _layer(-1, dtype=np.float64),
    Case("LayerNormalization", [normal(37, 13), uniform(13), normal(13)], opset=17, outputs=3),
    Case("LayerNormalization", [normal(3, 768), uniform(768), normal(768)], opset=17, rtol=1e-4, atol=1e-5),
    Case("LayerNormalization", [normal(2, 16390), uniform(16390), normal(16390)], opset=17, outputs=3, rtol=1e-4, atol=1e-4),
    Case("RMSNormalization", [_X, uniform(5)], {"axis": -1, "epsilon": 1e-3}, opset=23, oracle="reference"),
    Case("RMSNormalization", [_X, uniform(4, 5)], {"axis": 2}, opset=23, oracle="reference"),
    Case("SimplifiedLayerNormalization", [normal(2, 3, 8), uniform(8)], {"axis": -1}, outputs=2, opset=17),
    Case("BatchNormalization", [_X, *_C, *_STATISTICS], opset=15),
    Case("BatchNormalization", [_X, *_C, *_STATISTICS], {"epsilon": 1e-2}, opset=9),
    Case("BatchNormalization", [_X, *_C, *_STATISTICS], opset=7),
    Case("BatchNormalization", [normal(3, 6), *_C, *_STATISTICS], opset=15),
    Case("BatchNormalization", [_X, *_C, *_STATISTICS], {"training_mode": 1, "momentum": 0.7}, opset=15, outputs=3, oracle="reference"),
    Case("BatchNormalization", [_X, *_C, *_STATISTICS], {"training_mode": 1}, opset=14, outputs=3, oracle="reference"),
    Case("BatchNormalization", [_X, *_C, *_STATISTICS], {"is_test": 1}, opset=6, oracle="reference"),
    Case(
        "BatchNormalization",
        [_X.astype(np.float16), *(p.astype(np.float32) for p in (*_C, *_STATISTICS))],
        opset=15,
        oracle="reference",
        rtol=1e-2,
        atol=1e-2,
    ),
    Case("InstanceNormalization", [_X, *_C], {"epsilon": 1e-3}, opset=6),
    Case("InstanceNormalization", [normal(2, 6, 7), *_C], opset=22, oracle="reference"),
    Case("InstanceNormalization", [normal(1, 2, 129, 130), uniform(2), normal(2)], opset=6, rtol=1e-4, atol=1e-4),
    Case("GroupNormalization", [normal(1, 4, 70, 70), uniform(4), normal(4)], {"num_groups": 2}, opset=21, rtol=1e-4, atol=1e-4),
    Case("GroupNormalization", [_X, uniform(3), normal(3)], {"num_groups": 3}, opset=18, oracle="reference", rtol=1e-4, atol=1e-5),
    Case("GroupNormalization", [_X, *_C], {"num_groups": 2}, opset=21),
    Case("GroupNormalization", [normal(2, 6), *_C], {"num_groups": 3}, opset=21, rtol=1e-4, atol=1e-4),
    Case("LpNormalization", [_X], {"axis": 1, "p": 1}, opset=1),
    Case("LpNormalization", [_X], {}, opset=1),
    Case("LpNormalization", [np.zeros((2, 3), "f")], {}, opset=22, expected=[np.zeros((2, 3), "f")]),
    Case("MeanVarianceNormalization", [_X], opset=13),
    Case("MeanVarianceNormalization", [_X], {"axes": [1, 2]}, opset=9),
    Case("LRN", [_X], {"size": 3}, opset=13),
    Case("LRN", [_X], {"size": 5, "alpha": 0.1, "beta": 0.5, "bias": 2.0}, opset=1),
    Case(
        "SkipLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8, seed=1), uniform(8), normal(8), normal(8, seed=2)], opset=1, domain=_MS
    ),
    Case("SkipLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8, seed=1), uniform(8)], {"epsilon": 1e-3}, opset=1, domain=_MS),
    Case(
        "SkipSimplifiedLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8, seed=1), uniform(8)], {"epsilon": 1e-5}, opset=1, domain=_MS
    ),
    Case("SkipSimplifiedLayerNormalization", [normal(2, 3, 8), normal(2, 3, 8, seed=1), uniform(8), normal(8)], opset=1, domain=_MS),
]
