"""Mixtures of experts, their router, and experts with packed weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, uniform

_EXPERTS, _HIDDEN, _INNER, _TOKENS = 4, 8, 6, 5
_CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def _case(operator: str, inputs: list[np.ndarray | None], attributes: dict[str, Any], **tolerances: Any) -> Case:
    return Case(operator, inputs, attributes, opset=1, domain="com.microsoft", oracle="onnxruntime", **tolerances)


def _mixture(
    x: np.ndarray | None = None, router: np.ndarray | None = None, rows: int = _INNER, bias: bool = True, **attributes: Any
) -> Case:
    inputs = [
        normal(_TOKENS, _HIDDEN) if x is None else x,
        normal(_TOKENS, _EXPERTS, seed=3) if router is None else router,
        normal(_EXPERTS, rows, _HIDDEN),
        normal(_EXPERTS, rows) if bias else None,
        normal(_EXPERTS, _HIDDEN, _INNER),
        normal(_EXPERTS, _HIDDEN) if bias else None,
    ]
    return _case("MoE", inputs, attributes, **_CLOSE)


def _other_layout(fusion: int) -> Case:
    """SwiGLU with its two halves where onnxruntime's CPU does not take them, against the interleaved ones, which it does."""
    from tests.cases.oracles import expected_outputs

    x, router, both, bias, second, last = _mixture(rows=2 * _INNER).inputs
    assert both is not None and bias is not None
    interleaved = _mixture(rows=2 * _INNER, k=2, activation_type="swiglu", swiglu_fusion=1)
    gate, linear, gate_bias, linear_bias = both[:, ::2], both[:, 1::2], bias[:, ::2], bias[:, 1::2]
    inputs = (
        [x, router, gate, gate_bias, second, last, linear, linear_bias]
        if fusion == 0
        else [x, router, np.concatenate((gate, linear), 1), np.concatenate((gate_bias, linear_bias), 1), second, last]
    )
    return Case(
        "MoE",
        inputs,
        {"k": 2, "activation_type": "swiglu", "swiglu_fusion": fusion},
        opset=1,
        domain="com.microsoft",
        expected=expected_outputs(interleaved),
        note="onnxruntime's CPU takes interleaved SwiGLU only",
        **_CLOSE,
    )


def _packed(numbers: np.ndarray, bits: int) -> np.ndarray:
    digits = ((numbers[..., None] >> np.arange(bits, dtype=np.uint8)) & 1).reshape(*numbers.shape[:-1], -1)
    return np.packbits(digits, axis=-1, bitorder="little")


def _quantized(
    bits: int,
    block: int = 0,
    swiglu: bool = False,
    zero_points: bool = False,
    dtype: str = "f",
    router_weights: np.ndarray | None = None,
    **attributes: Any,
) -> Case:
    hidden, inner = 64, 32
    rows = 2 * inner if swiglu else inner
    shapes = ((rows, hidden), (hidden, inner))
    weights = [_packed(integers(_EXPERTS, *shape, low=0, high=1 << bits, dtype="uint8"), bits) for shape in shapes]
    scales = [uniform(_EXPERTS, n, *((k // block,) if block else ()), high=0.05, dtype=dtype) for n, k in shapes]
    bias = [normal(_EXPERTS, n, dtype=dtype) for n, _ in shapes]
    zeros: list[np.ndarray | None] = [None, None]
    if zero_points:
        sizes = [(n, -(-(k // block) * bits // 8)) if block else (-(-n * bits // 8),) for n, k in shapes]
        zeros = [integers(_EXPERTS, *size, low=0, high=256, dtype="uint8") for size in sizes]
    inputs = [normal(_TOKENS, hidden, dtype=dtype), normal(_TOKENS, _EXPERTS, dtype=dtype, seed=3)]
    inputs += [weights[0], scales[0], bias[0], weights[1], scales[1], bias[1]]
    settings: dict[str, Any] = {"expert_weight_bits": bits, **attributes}
    if block:
        settings["block_size"] = block
    if swiglu:
        settings |= {"activation_type": "swiglu", "swiglu_fusion": 1}
    optional = [None, None, None, *zeros, None, router_weights]
    tolerances = {"rtol": 3e-3, "atol": 3e-3} if dtype == "float16" else {"rtol": 1e-4, "atol": 1e-3}
    return _case("QMoE", [*inputs, *optional], settings, **tolerances)


def _router(logits: np.ndarray, **attributes: Any) -> Case:
    return _case("MoEGroupRouter", [logits, normal(8)], attributes)


CASES = [
    *(_mixture(k=k, activation_type=name) for k, name in ((1, "relu"), (2, "gelu"), (4, "silu"), (2, "identity"))),
    _mixture(k=2, normalize_routing_weights=1),
    _mixture(rows=2 * _INNER, k=2, activation_type="swiglu", swiglu_fusion=1),
    _mixture(
        rows=2 * _INNER,
        bias=False,
        k=2,
        activation_type="swiglu",
        swiglu_fusion=1,
        swiglu_limit=0.7,
        activation_alpha=1.7,
        activation_beta=1.0,
    ),
    _mixture(normal(1, _TOKENS, _HIDDEN), bias=False, k=2, use_sparse_mixer=1),
    _mixture(router=np.zeros((_TOKENS, _EXPERTS), "f"), k=2),
    _mixture(router=-np.eye(_TOKENS, _EXPERTS, dtype="f"), k=1),
    _mixture(normal(0, _HIDDEN), normal(0, _EXPERTS)),
    _other_layout(0),
    _other_layout(2),
    *(_quantized(bits, block, swiglu, zeros, k=2) for bits in (2, 4, 8) for block, swiglu, zeros in ((0, False, True), (16, True, False))),
    _quantized(4, 32, True, True, k=2, accuracy_level=4),
    _quantized(4, activation_type="silu"),
    _quantized(4, 32, True, dtype="float16", weights_prepacked=0),
    _quantized(3, 32, True, dtype="float16", weights_prepacked=0, k=2),
    _quantized(3, 32, True, dtype="float16", weights_prepacked=0, k=2, normalize_routing_weights=1),
    _quantized(4, k=2, router_weights=uniform(_TOKENS, _EXPERTS)),
    _quantized(4, k=2, router_weights=uniform(_TOKENS, _EXPERTS), normalize_routing_weights=1),
    _router(normal(3, 8), top_k=2, n_group=4, topk_group=2),
    _router(normal(2, 3, 8), top_k=3, n_group=2, group_topk=9),
    _router(normal(3, 8, dtype="float16"), top_k=5, n_group=2, router_sentinel=-50.0),
    _router(np.zeros((2, 8), "f"), top_k=2),
    _router(normal(0, 8), top_k=3, n_group=4, topk_group=2),
]
