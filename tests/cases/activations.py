"""Relu, LeakyRelu, PRelu, Elu, Celu, Selu, ThresholdedRelu, the sigmoids, Softplus, Softsign, Mish, Gelu, Swish and Shrink."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.samples import FLOATS, INTEGERS, array, floats, integers

FAR = np.array([-1000, -100, -20, -5, -0.5, -0.0, 0.0, 1e-6, 0.5, 5, 20, 100, 1000], np.float32)
LONG = np.linspace(-12, 12, 100_000, dtype=np.float32)
SPECIAL = np.array([np.nan, np.inf, 1.0, -1.0], np.float32)
SINCE = {
    "Relu": 14, "LeakyRelu": 16, "Elu": 22, "Celu": 12, "Selu": 22, "ThresholdedRelu": 22, "Sigmoid": 13, "HardSigmoid": 22,
    "HardSwish": 22, "Softplus": 22, "Softsign": 22, "Mish": 22, "Gelu": 20, "Swish": 24,
}  # fmt: skip
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "LeakyRelu": [{"alpha": 0.3}, {"alpha": 0.0}, {"alpha": 1.5}, {"alpha": -0.5}],
    "Elu": [{"alpha": 2.0}],
    "Celu": [{"alpha": 2.0}, {"alpha": 0.5}],
    "Selu": [{"alpha": 2.0, "gamma": 3.0}],
    "ThresholdedRelu": [{"alpha": 0.2}, {"alpha": -1.0}],
    "HardSigmoid": [{"alpha": 0.5, "beta": 0.6}],
    "Gelu": [{"approximate": "tanh"}, {"approximate": "none"}],
    "Swish": [{"alpha": 0.5}, {"alpha": 2.0}],
}


def _all_activations() -> list[Case]:
    cases = []
    for name, opset in SINCE.items():
        cases += [Case(name, [floats(shape)], opset=opset) for shape in ((2, 3), (), (0, 4), (2, 1, 3))]
        cases += [Case(name, [FAR], opset=opset), Case(name, [LONG], opset=opset), Case(name, [SPECIAL], opset=opset)]
        if name == "Celu":
            opset = 28
        cases += [Case(name, [floats((7,), t)], opset=opset, oracle="reference") for t in FLOATS if name != "Celu"]
        cases += [Case(name, [FAR], attributes, opset=opset if name != "Celu" else 12) for attributes in VARIANTS.get(name, [])]
    return cases


def _early() -> list[Case]:
    x = floats((2, 3, 2))
    consumed = {"consumed_inputs": [0]}
    exponential = np.exp(np.minimum(x, 0)) - 1
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    return [
        Case("Relu", [x], consumed, opset=1, expected=[np.maximum(x, 0)]),
        Case("Elu", [x], consumed, opset=1, expected=[np.maximum(x, 0) + exponential]),
        Case("Selu", [x], consumed, opset=1, expected=[(np.maximum(x, 0) + 1.6732 * exponential) * 1.0507]),
        Case("Sigmoid", [x], consumed, opset=1, expected=[1 / (1 + np.exp(-x))]),
        Case("LeakyRelu", [x], consumed, opset=1, expected=[np.where(x > 0, x, 0.01 * x)], rtol=1e-5),
        Case("HardSigmoid", [x], consumed, opset=1, expected=[np.clip(0.2 * x + 0.5, 0, 1)]),
        Case("PRelu", [x, slope], consumed, opset=1, expected=[np.where(x > 0, x, x * slope[:, None])]),
        Case("PRelu", [x, slope[:1]], opset=6, expected=[np.where(x > 0, x, x * slope[0])]),
    ]


def _parametric() -> list[Case]:
    x = floats((2, 3, 4))
    cases = [Case("PRelu", [x, floats(shape, seed=1)]) for shape in ((3, 1), (1,), (4,), (2, 3, 4), ())]
    cases += [Case("PRelu", [floats((5,), t), floats((5,), t, seed=1)], oracle="reference") for t in FLOATS]
    cases += [Case("PRelu", [integers((5,), t), integers((5,), t, seed=1)], oracle="reference") for t in ("i4", "i8", "u4", "u8")]
    cases += [Case("Relu", [integers((5,), t)], opset=14, oracle="reference") for t in ("i1", "i2", "i4", "i8")]
    return cases


def _shrink() -> list[Case]:
    attributes = [{}, {"lambd": 1.5}, {"lambd": 1.5, "bias": 1.5}]
    cases = [Case("Shrink", [np.linspace(-3, 3, 9, dtype=t)], a) for a in attributes for t in ("f2", "f4", "f8")]
    return cases + [Case("Shrink", [integers((9,), t)], {"lambd": 2.0, "bias": 1.0}, oracle="reference") for t in INTEGERS]


def _microsoft() -> list[Case]:
    x, bias = floats((2, 3, 8)), floats((8,), seed=1)
    domain = "com.microsoft"
    return [
        Case("Gelu", [x], opset=1, domain=domain),
        Case("QuickGelu", [x], opset=1, domain=domain),
        Case("QuickGelu", [x], {"alpha": 1.0}, opset=1, domain=domain),
        Case("FastGelu", [x], opset=1, domain=domain),
        Case("FastGelu", [x, bias], opset=1, domain=domain),
        Case("BiasGelu", [x, bias], opset=1, domain=domain),
        Case("BiasGelu", [LONG[None], np.zeros_like(LONG)], opset=1, domain=domain),
    ]


CASES = [*_all_activations(), *_early(), *_parametric(), *_shrink(), *_microsoft(), Case("Relu", [array([-0.0, -1.0])], opset=14)]
