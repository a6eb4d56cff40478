"""Attention, rotary embeddings, linear attention, and onnxruntime's attention operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, uniform

_MS = "com.microsoft"
_Q, _K, _V = normal(2, 4, 3, 8), normal(2, 2, 6, 8), normal(2, 2, 6, 8, seed=1)
_CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def _attention(inputs: list[np.ndarray | None], opset: int = 23, outputs: int = 1, **attributes: Any) -> Case:
    return Case("Attention", inputs, attributes, opset=opset, outputs=outputs, oracle="reference", **_CLOSE)


def _multi_head(inputs: list[np.ndarray | None], outputs: int = 1, **attributes: Any) -> Case:
    return Case("MultiHeadAttention", inputs, {"num_heads": 2, **attributes}, opset=1, domain=_MS, outputs=outputs, **_CLOSE)


def _packed(inputs: list[np.ndarray | None], outputs: int = 1, **attributes: Any) -> Case:
    projection: list[np.ndarray | None] = [normal(2, 3, 6), normal(6, 24), normal(24)]
    return Case("Attention", projection + inputs, {"num_heads": 2, **attributes}, opset=1, domain=_MS, outputs=outputs, **_CLOSE)


def _grouped(length: int, past: int, seqlens: list[int], **attributes: Any) -> Case:
    total = max(seqlens) + 1
    inputs = [
        normal(2, length, 4 * 16),
        normal(2, length, 2 * 16),
        normal(2, length, 2 * 16, seed=1),
        normal(2, 2, past, 16),
        normal(2, 2, past, 16, seed=1),
        np.array(seqlens, "int32"),
        np.array(total, "int32"),
        uniform(32, 8),
        uniform(32, 8, seed=1),
    ]
    return Case("GroupQueryAttention", inputs, {"num_heads": 4, "kv_num_heads": 2, **attributes}, opset=1, domain=_MS, outputs=3, **_CLOSE)


def _multimodal(inputs: list[np.ndarray | None], half: int = 4, **attributes: Any) -> Case:
    caches = [_COS[:, :half].copy(), _SIN[:, :half].copy()]
    places = integers(3, 2, 3, low=0, high=16)
    return Case("MRotaryEmbedding", [*inputs, places, *caches], attributes, opset=1, domain=_MS, oracle="onnxruntime")


def _plain_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Inputs (batch, length, heads, size)."""
    weights = np.exp(np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[3]))
    weights /= weights.sum(axis=-1, keepdims=True)
    result: np.ndarray = np.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*q.shape[:2], -1)
    return result.astype(q.dtype)


_PACKED = normal(2, 3, 2, 3, 8)
_PAST = [normal(2, 2, 4, 8, seed=2), normal(2, 2, 4, 8, seed=3)]
_COS, _SIN = uniform(16, 4), uniform(16, 4, seed=1)
_POSITIONS = integers(2, 3, low=0, high=16)
_HEADS = normal(2, 3, 16), normal(2, 5, 16), normal(2, 5, 16, seed=1)

CASES = [
    _attention([_Q, _K, _V]),
    _attention([_Q, _K, _V], is_causal=1),
    _attention([_Q, _K, _V, normal(3, 6)], softcap=2.0, scale=0.3),
    _attention([_Q, _K, _V, integers(2, 1, 3, 6, low=0, high=2, dtype=bool)]),
    _attention([_Q, _K, _V, None, *_PAST], outputs=3, is_causal=1),
    _attention([_Q, _K, _V, normal(3, 10), *_PAST], outputs=4, qk_matmul_output_mode=2),
    _attention([_Q, _K, _V], outputs=4, qk_matmul_output_mode=3, softmax_precision=11),
    _attention([normal(2, 3, 32), normal(2, 6, 16), normal(2, 6, 16)], q_num_heads=4, kv_num_heads=2),
    _attention([_Q, _K, _V, None, None, None, np.array([4, 6])], opset=24, is_causal=1),
    _attention([_Q, _K, _V], opset=25, left_window_size=1, right_window_size=2),
    _attention([normal(1, 4, 2, 20), normal(1, 2, 300, 20), normal(1, 2, 300, 24), normal(2, 300)], softcap=5.0),
    _attention([normal(1, 2, 70, 100), normal(1, 1, 70, 100), normal(1, 1, 70, 100)], is_causal=1),
    _attention([normal(1, 2, 5, 130), normal(1, 2, 300, 130), normal(1, 2, 300, 130)], opset=25, left_window_size=40, right_window_size=3),
    _attention([x.astype(np.float64) for x in (_Q, _K, _V)], is_causal=1),
    Case("Attention", [x.astype(np.float16) for x in (_Q, _K, _V)], opset=23, oracle="reference", rtol=1e-2, atol=1e-2),
    Case("RotaryEmbedding", [normal(2, 4, 3, 8), _COS, _SIN, _POSITIONS], opset=23, oracle="reference"),
    Case("RotaryEmbedding", [normal(2, 4, 3, 8), _COS, _SIN, _POSITIONS], {"interleaved": 1}, opset=23, oracle="reference"),
    Case(
        "RotaryEmbedding",
        [normal(2, 3, 32), uniform(2, 3, 2), uniform(2, 3, 2)],
        {"num_heads": 4, "rotary_embedding_dim": 4},
        opset=23,
        oracle="reference",
    ),
    Case("RotaryEmbedding", [normal(2, 3, 32), _POSITIONS, _COS, _SIN], opset=1, domain=_MS),
    Case("RotaryEmbedding", [normal(2, 4, 3, 8), np.array([2]), _COS, _SIN], {"interleaved": 1}, opset=1, domain=_MS),
    _multimodal([normal(2, 3, 32)], mrope_section=[2, 1, 1], num_heads=4),
    _multimodal([normal(2, 4, 3, 8)], mrope_section=[0, 1, 3]),
    _multimodal([normal(2, 4, 3, 8)], mrope_section=[2, 1, 1], mrope_layout=1, interleaved=1),
    _multimodal([normal(2, 4, 3, 8)], mrope_section=[1, 0, 3], mrope_layout=1, scale=2.0),
    _multimodal([normal(2, 3, 32)], 2, mrope_section=[1, 1, 0], num_heads=4, rotary_embedding_dim=4),
    *(
        Case(
            "LinearAttention",
            [normal(2, 5, 16), uniform(2, 5, 8), normal(2, 5, 6), state, decay, *rate],
            {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": rule},
            opset=27,
            outputs=2,
            oracle="reference",
            **_CLOSE,
        )
        for rule, state, decay, rate in (
            ("linear", normal(2, 2, 4, 3), None, ()),
            ("gated", None, -uniform(2, 5, 8), ()),
            ("delta", None, None, (uniform(2, 5, 2),)),
            ("gated_delta", normal(2, 2, 4, 3), -uniform(2, 5, 2), (uniform(2, 5, 1),)),
        )
    ),
    *(
        Case(
            "LinearAttention",
            [
                *(uniform(2, 3, width, dtype=dtype) for width in (16, 8, 10)),
                normal(2, 2, 4, 5, dtype=state),
                -uniform(2, 3, 2, dtype=dtype),
                uniform(2, 3, 2, dtype=dtype),
            ],
            {"q_num_heads": 4, "kv_num_heads": 2},
            opset=27,
            outputs=2,
            oracle="reference",
        )
        for dtype, state in (("float16", "float32"), ("float32", "float16"), ("bfloat16", "float32"), ("bfloat16", "bfloat16"))
    ),
    Case(
        "CausalConvWithState",
        [normal(2, 3, 6), normal(3, 1, 4), normal(3), normal(2, 3, 3)],
        {"activation": "silu"},
        opset=27,
        outputs=2,
        **_CLOSE,
    ),
    Case("SwiGLU", [normal(2, 6), normal(2, 6, seed=1)], {"alpha": 1.5}, opset=28, oracle="reference"),
    _multi_head([*_HEADS]),
    _multi_head([*_HEADS, normal(48)], scale=0.4),
    _multi_head([*_HEADS, None, np.array([3, 5], "int32")]),
    _multi_head([*_HEADS, None, integers(2, 5, low=0, high=2, dtype="int32"), normal(1, 2, 3, 5)]),
    _multi_head([normal(2, 3, 16), normal(2, 3, 16, seed=1), normal(2, 3, 16, seed=2)], unidirectional=1),
    _multi_head([normal(2, 3, 16), normal(2, 3, 16, seed=1), normal(2, 3, 16, seed=2), None, None, None, *_PAST], outputs=3),
    Case(
        "MultiHeadAttention",
        [_PACKED],
        {"num_heads": 2},
        opset=1,
        domain=_MS,
        expected=[_plain_attention(*(_PACKED[:, :, :, i] for i in range(3)))],
        note="onnxruntime's CPU does not take packed inputs",
        **_CLOSE,
    ),
    _packed([]),
    _packed([], unidirectional=1),
    _packed([np.array([2, 3], "int32")]),
    _packed([np.array([[1, 1, 0], [1, 1, 1]], "int32")], scale=0.2),
    _packed([None, normal(2, 2, 2, 4, 4)], outputs=2, unidirectional=1),
    _grouped(3, 0, [2, 2]),
    _grouped(1, 6, [3, 6]),
    _grouped(1, 6, [3, 5], do_rotary=1),
    _grouped(4, 0, [3, 3], do_rotary=1, rotary_interleaved=1, softcap=3.0),
    _grouped(6, 0, [5, 5], local_window_size=2),
    _grouped(5, 0, [4, 4], smooth_softmax=1, scale=0.1),
    Case("FlexAttention", [_Q, _K, _V], {"scale": 0.2}, opset=1, domain="ai.onnx.preview", oracle="reference", **_CLOSE),
]
