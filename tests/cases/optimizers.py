"""Adagrad, Adam, Momentum."""

from __future__ import annotations

from tests.cases import Case
from tests.cases.random_arrays import normal, scalar, uniform

_DOMAIN = "ai.onnx.preview.training"
_STEP = [scalar(0.1), scalar(3, "int64")]
_TENSORS, _GRADIENTS = [normal(3), normal(2, 2)], [normal(3, seed=1), normal(2, 2, seed=1)]
_FIRST, _SECOND = [uniform(3, seed=2), uniform(2, 2, seed=2)], [uniform(3, seed=3), uniform(2, 2, seed=3)]

CASES = [
    Case("Adagrad", _STEP + _TENSORS + _GRADIENTS + _FIRST, {"decay_factor": 0.1, "norm_coefficient": 0.01}, 1, _DOMAIN, 4),
    Case("Adam", _STEP + _TENSORS + _GRADIENTS + _FIRST + _SECOND, {"norm_coefficient": 0.01}, 1, _DOMAIN, 6, rtol=1e-4),
    *(
        Case(
            "Momentum",
            [*_STEP, *_TENSORS, *_GRADIENTS, *_FIRST],
            {"mode": mode, "alpha": 0.9, "beta": 0.5, "norm_coefficient": 0.01},
            1,
            _DOMAIN,
            4,
        )
        for mode in ("standard", "nesterov")
    ),
]
