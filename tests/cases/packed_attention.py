"""Attention over packed tokens, and fairseq's attention with a cache.

onnxruntime's CPU has none of these operators; expected is what its others give for the same attention.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.oracles import expected_outputs
from tests.cases.random_arrays import normal

_BATCH, _LENGTH, _HEADS, _SIZE = 3, 4, 2, 8
_HIDDEN = _HEADS * _SIZE
_COUNTS = np.array([1, 4, 2], "int32")
_PADDED = (np.arange(_LENGTH) >= _COUNTS[:, None]).reshape(-1)
_OFFSETS = np.argsort(_PADDED, kind="stable").reshape(_BATCH, _LENGTH).astype("int32")
_BOUNDS = np.concatenate(([0], np.cumsum(_COUNTS))).astype("int32")
_NOTE = "onnxruntime's CPU lacks the operator; expected is what another of its operators gives for the same attention"
_CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def _packed(x: np.ndarray) -> np.ndarray:
    return x.reshape(_BATCH * _LENGTH, -1)[~_PADDED]


def _case(operator: str, inputs: list[np.ndarray | None], attributes: dict[str, Any], expected: list[np.ndarray], outputs: int = 1) -> Case:
    return Case(operator, inputs, attributes, opset=1, domain="com.microsoft", outputs=outputs, expected=expected, note=_NOTE, **_CLOSE)


def _padded_result(operator: str, inputs: list[np.ndarray | None], attributes: dict[str, Any]) -> list[np.ndarray]:
    padded = Case(operator, inputs, {**attributes, "mask_filter_value": -1e30}, opset=1, domain="com.microsoft", oracle="onnxruntime")
    return [_packed(expected_outputs(padded)[0])]


def _self_attention(bias: np.ndarray | None = None, **attributes: Any) -> Case:
    x, widths = normal(_BATCH, _LENGTH, 6), attributes.get("qkv_hidden_sizes", (_HIDDEN,) * 3)
    weights, offset = normal(6, sum(widths)), normal(sum(widths))
    given = {"num_heads": _HEADS, **attributes}
    expected = _padded_result("Attention", [x, weights, offset, _COUNTS, None, bias], given)
    return _case("PackedAttention", [_packed(x), weights, offset, _OFFSETS, _BOUNDS, bias], given, expected)


def _multi_head(together: bool, offset: np.ndarray | None = None, bias: np.ndarray | None = None, **attributes: Any) -> Case:
    parts = [normal(_BATCH, _LENGTH, _HIDDEN, seed=i) for i in range(3)]
    given = {"num_heads": _HEADS, **attributes}
    expected = _padded_result("MultiHeadAttention", [*parts, offset, _COUNTS, bias], given)
    packed: list[np.ndarray | None] = [_packed(part) for part in parts]
    if together:
        packed = [np.stack([_packed(part).reshape(-1, _HEADS, _SIZE) for part in parts], axis=2), None, None]
    return _case("PackedMultiHeadAttention", [*packed, offset, _OFFSETS, _BOUNDS, bias], given, expected)


def _decoder(across: bool, past: bool, masked: bool) -> Case:
    """Against MultiHeadAttention of what was projected here; the cache of the other sequence is all there is to attend to."""
    length, batch = 2, 3
    query, key = normal(length, batch, _HIDDEN), normal(5, batch, _HIDDEN)
    q_weight, kv_weight, offset = normal(_HIDDEN, _HIDDEN), normal(_HIDDEN, 2 * _HIDDEN), normal(3 * _HIDDEN)
    caches = [normal(batch, _HEADS, 4, _SIZE, seed=i) for i in range(2)]
    source = (key if across else query) @ kv_weight + offset[_HIDDEN:]
    q, k, v = (x.swapaxes(0, 1) for x in (query @ q_weight + offset[:_HIDDEN], source[..., :_HIDDEN], source[..., _HIDDEN:]))
    keys: list[np.ndarray | None] = [*caches] if past and across else [k, v]
    before: list[np.ndarray | None] = [*caches] if past and not across else [None, None]
    total = 4 if past and across else (4 if past else 0) + k.shape[1]
    padding = np.arange(total) >= np.array([[total], [total - 1], [1]])
    mask = (~padding).astype("int32") if masked else None
    attention = Case(
        "MultiHeadAttention",
        [q, *keys, None, mask, None, *before],
        {"num_heads": _HEADS, "mask_filter_value": -1e30},
        opset=1,
        domain="com.microsoft",
        outputs=3,
        oracle="onnxruntime",
    )
    y, present_key, present_value = expected_outputs(attention)
    if past and across:
        present_key, present_value = caches
    flags: list[np.ndarray | None] = [np.array(flag) for flag in (across, past, True, masked)]
    inputs: list[np.ndarray | None] = [query, key, q_weight, kv_weight, offset, padding, *caches, *flags]
    given = {"num_heads": _HEADS, "mask_filter_value": -1e30}
    return _case("DecoderAttention", inputs, given, [y.swapaxes(0, 1), present_key, present_value], outputs=3)


_TOKENS = normal(_BATCH, _LENGTH, 5)

CASES = [
    _case(
        "RemovePadding",
        [_TOKENS, _COUNTS],
        {},
        [_packed(_TOKENS), _OFFSETS, _BOUNDS, np.array([4], "int32")],
        outputs=4,
    ),
    _case("RestorePadding", [_packed(_TOKENS), _OFFSETS], {}, [np.where(_PADDED.reshape(_BATCH, _LENGTH, 1), np.float32(0), _TOKENS)]),
    _self_attention(),
    _self_attention(normal(1, _HEADS, _LENGTH, _LENGTH), scale=0.3),
    _self_attention(qkv_hidden_sizes=[_HIDDEN, _HIDDEN, 6]),
    _multi_head(False),
    _multi_head(True, normal(3 * _HIDDEN)),
    _multi_head(False, bias=normal(_BATCH, 1, _LENGTH, _LENGTH), scale=0.2),
    *(_decoder(across, past, masked) for across in (False, True) for past in (False, True) for masked in (False, True)),
]
