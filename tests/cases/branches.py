"""Layers over residual branches, and gates (domain com.microsoft)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import normal, scalar
from tests.cases.samples import BFLOAT16


def _case(name: str, inputs: list[np.ndarray | None], outputs: int = 1, **attributes: Any) -> Case:
    return Case(name, inputs, attributes, opset=1, domain="com.microsoft", outputs=outputs)


def _bfloat16(name: str, inputs: list[np.ndarray], expected: np.ndarray, **attributes: Any) -> Case:
    """A case whose outputs onnxruntime computes but cannot give to Python."""
    narrow = [x.astype(BFLOAT16) for x in inputs]
    note = "onnxruntime's Python interface has no bfloat16 arrays"
    return Case(name, narrow, attributes, opset=1, domain="com.microsoft", expected=[expected.astype(BFLOAT16)], note=note)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _wide(x: np.ndarray) -> np.ndarray:
    """What is left of `x` after rounding to bfloat16."""
    return x.astype(BFLOAT16).astype(np.float32)


_X = normal(2, 3, 4, 8)
_FLAT = normal(2, 3, 32)


def _branch_norms() -> list[Case]:
    name = "BranchwiseRMSNorm"
    cases = [_case(name, [_X, scale]) for scale in (normal(32), normal(4, 8), normal(8), None)]
    cases += [_case(name, [_FLAT, scale], num_branches=4, epsilon=0.1) for scale in (normal(32), normal(4, 8), normal(8))]
    cases += [_case(name, [_X.astype("f2"), normal(8)]), _case(name, [_X, normal(8, dtype="f2")]), _case(name, [normal(0, 4, 8)])]
    x = _wide(_X)
    cases.append(_bfloat16(name, [_X], x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-5)))
    return cases


def _pre_mixes() -> list[Case]:
    name = "HyperConnectionPreMix"
    cases = [_case(name, [_X, gates], reduction_scale=0.25) for gates in (normal(2, 3, 4), normal(2, 3, 4, 1), normal(2, 3, 4, 8))]
    flat = (normal(2, 3, 4), normal(2, 3, 4, 1), normal(2, 3, 4, 8), normal(2, 3, 32))
    cases += [_case(name, [_FLAT, gates], num_branches=4) for gates in flat]
    cases += [_case(name, [_X.astype("f2"), normal(2, 3, 4)]), _case(name, [normal(4, 8), normal(4)])]
    gates = normal(2, 3, 4)
    cases.append(_bfloat16(name, [_X, gates], np.sum(_wide(_X) * _wide(gates)[..., None], axis=-2)))
    return cases


def _post_mixes() -> list[Case]:
    name, output = "HyperConnectionPostMix", normal(2, 3, 8, seed=1)
    cases = [_case(name, [_X, output, gates]) for gates in (normal(2, 3, 4), normal(2, 3, 4, 1), normal(2, 3, 4, 8))]
    mix = normal(2, 3, 4, 4)
    cases += [_case(name, [_X, output, normal(2, 3, 4), mix]), _case(name, [_FLAT, output, normal(2, 3, 4, 8), mix], num_branches=4)]
    cases.append(_case(name, [_X.astype("f2"), output.astype("f2"), normal(2, 3, 4), mix]))
    gates = normal(2, 3, 4)
    cases.append(_bfloat16(name, [_X, output, gates], _wide(_X) + _wide(gates)[..., None] * _wide(output)[:, :, None]))
    return cases


def _gates() -> list[Case]:
    x, gate, scale = normal(2, 3, 24), normal(2, 3, 24, seed=1), normal(8)
    cases = [_case("GatedRMSNorm", [x, scale, gate], activation=name) for name in ("silu", "swish", "sigmoid")]
    cases += [_case("GatedRMSNorm", [x.astype("f2"), scale.astype("f2"), gate.astype("f2")]), _case("GatedRMSNorm", [x, normal(24), gate])]
    wide, z = _wide(x).reshape(2, 3, 3, 8), _wide(gate)
    normed = (wide / np.sqrt(np.mean(wide * wide, -1, keepdims=True) + 1e-5) * _wide(scale)).reshape(x.shape)
    cases.append(_bfloat16("GatedRMSNorm", [x, scale, gate], normed * z * _sigmoid(z)))
    row = normal(2, 3, 1)
    cases += [_case("GatedAdd", [x, gate, row]), _case("GatedAdd", [x.astype("f2"), gate.astype("f2"), row.astype("f2")])]
    deep, weight = normal(2, 3, 5), normal(5, 1)
    projected = _wide(_sigmoid(_wide(_wide(deep) @ _wide(weight))))
    cases.append(_bfloat16("GatedAdd", [x, gate, deep, weight], _wide(x) + _wide(z * projected)))
    cases += [
        _case("ScaledSiLU", [x], alpha=1.7),
        _case("ScaledSiLU", [x * 20, scalar(-0.5)]),
        _case("ScaledSiLU", [x.astype("f2"), scalar(3.0)]),
    ]
    z = _wide(_wide(x) * np.float32(1.5))
    cases.append(_bfloat16("ScaledSiLU", [x], z * _wide(_sigmoid(z)), alpha=1.5))
    return cases


def _engrams(dtype: str) -> list[Case]:
    key, query, value = normal(2, 3, 4, 8, dtype=dtype), normal(2, 3, 4, 8, dtype=dtype, seed=1), normal(2, 3, 8, dtype=dtype)
    scales = [normal(4, 8, dtype=dtype, seed=seed) for seed in range(3)]
    return [
        _case("EngramGate", [key, query, value, *scales[:2]]),
        _case("EngramGate", [key, query, value, *scales], outputs=2, epsilon=0.01),
        _case("EngramGate", [key * 0, query, value, *scales], outputs=2),
    ]


CASES = [*_branch_norms(), *_pre_mixes(), *_post_mixes(), *_gates(), *_engrams("f4"), *_engrams("f2")]
