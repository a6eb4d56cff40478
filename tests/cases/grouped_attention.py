"""Attention over caches: GroupQueryAttention, one-token decoding, and caches shared between past and present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, uniform

Inputs = list[np.ndarray | None]
_HEADS, _GROUPS, _SIZE = 4, 2, 16
_CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def _numbers(*values: int) -> np.ndarray:
    return np.array(values, "int32")


def _case(operator: str, inputs: Inputs, outputs: int, attributes: dict[str, Any], **tolerances: Any) -> Case:
    return Case(
        operator, inputs, attributes, opset=1, domain="com.microsoft", outputs=outputs, oracle="onnxruntime", **(tolerances or _CLOSE)
    )


def _grouped(
    length: int,
    past: int | None,
    totals: Sequence[int],
    *,
    packed: bool = False,
    dtype: str = "f",
    caches: Inputs | None = None,
    optional: dict[int, np.ndarray] | None = None,
    bound: int | None = None,
    outputs: int = 3,
    **attributes: Any,
) -> Case:
    """`totals` are the sequences' lengths after the step; `optional` holds inputs by position."""
    batch = len(totals)
    q, k, v = (normal(batch, length, n * _SIZE, dtype=dtype, seed=i) for i, n in enumerate((_HEADS, _GROUPS, _GROUPS)))
    if caches is None:
        caches = [None, None] if past is None else [normal(batch, _GROUPS, past, _SIZE, dtype=dtype, seed=i) for i in (1, 2)]
    projected: Inputs = [np.concatenate((q, k, v), 2), None, None] if packed else [q, k, v]
    angles = [uniform(32, _SIZE // 2, dtype=dtype, seed=i) for i in range(2)]
    lengths = [np.array([total - 1 for total in totals], "int32"), np.array(bound or max(totals), "int32")]
    inputs: Inputs = [*projected, *caches, *lengths, *angles]
    given = optional or {}
    inputs += [given.get(i) for i in range(9, 1 + max(given, default=8))]
    tolerances = {"rtol": 3e-3, "atol": 3e-3} if dtype == "float16" else _CLOSE
    return _case("GroupQueryAttention", inputs, outputs, {"num_heads": _HEADS, "kv_num_heads": _GROUPS, **attributes}, **tolerances)


def _quantized(bits: int, per_channel: bool, length: int, past: int, totals: Sequence[int]) -> Case:
    low, high, dtype = (-128, 128, "int8") if bits == 8 else (0, 256, "uint8")
    size = _SIZE * bits // 8
    caches: Inputs = [integers(2, _GROUPS, past, size, low=low, high=high, dtype=dtype, seed=i) for i in range(2)]
    shape = (1, _GROUPS, 1, _SIZE) if per_channel else (1,)
    scales = {i: uniform(*shape, low=0.02, high=0.1, seed=i) for i in (12, 13)}
    mode = "PER_CHANNEL" if per_channel else "PER_TENSOR"
    return _grouped(
        length, past, totals, caches=caches, optional=scales, k_quant_type=mode, v_quant_type=mode, kv_cache_bit_width=bits, do_rotary=1
    )


def _one_token(heads: Inputs, places: int | None, outputs: int = 3, **attributes: Any) -> Case:
    """DecoderMaskedMultiHeadAttention; `heads` are the inputs behind the value, without the caches."""
    batch = 2
    query, key, value = (normal(batch, 1, 16, seed=i) for i in range(3))
    padded: Inputs = [*heads, *[None] * (6 - len(heads))]
    mask, bias, length, beams, indirection, projection = padded
    if places is None:
        inputs: Inputs = [query, *(normal(batch, 2, 6, 8, seed=i) for i in range(2)), mask, bias, None, None, None, None, None, projection]
        return _case("DecoderMaskedMultiHeadAttention", inputs, 1, {"num_heads": 2, **attributes})
    caches = [normal(batch, 2, places, 8, seed=i) for i in range(2)]
    inputs = [query, key, value, mask, bias, *caches, length, beams, indirection, projection]
    return _case("DecoderMaskedMultiHeadAttention", inputs, outputs, {"num_heads": 2, "past_present_share_buffer": 1, **attributes})


def _beams() -> Case:
    query, key, value = (normal(4, 1, 16, seed=i) for i in range(3))
    caches = [normal(4, 2, 6, 8, seed=i) for i in range(2)]
    whose = integers(2, 2, 6, low=0, high=2, dtype="int32")
    inputs: Inputs = [query, key, value, None, None, *caches, _numbers(3), _numbers(2), whose]
    return _case("DecoderMaskedMultiHeadAttention", inputs, 3, {"num_heads": 2, "past_present_share_buffer": 1})


def _shared_cache(length: int, batch: int, whose: np.ndarray | None = None) -> Case:
    projected = [normal(batch, length, 16, seed=i) for i in range(3)]
    caches = [normal(batch, 2, 8, 8, seed=i) for i in range(2)]
    inputs: Inputs = [*projected, None, None, None, *caches, _numbers(4), whose]
    return _case("MultiHeadAttention", inputs, 3, {"num_heads": 2})


_STEPS: list[tuple[int, int | None, tuple[int, ...]]] = [
    (1, 6, (4, 6)),
    (1, 8, (4, 7)),
    (1, 5, (6, 6)),
    (4, None, (4, 4)),
    (4, 0, (4, 2)),
    (4, 9, (4, 3)),
    (3, 9, (6,)),
]
_MASK = integers(2, 4, low=0, high=2, dtype="int32")

CASES = [
    *(_grouped(*step) for step in _STEPS),
    *(_grouped(*step, do_rotary=1, packed=True, local_window_size=2) for step in _STEPS),
    *(_grouped(*step, do_rotary=1, rotary_interleaved=1, optional={11: normal(_HEADS)}, softcap=3.0) for step in _STEPS),
    *(_grouped(*step, do_rotary=1, dtype="float16", smooth_softmax=1, scale=0.1) for step in _STEPS),
    _grouped(4, 0, (4, 4), optional={10: normal(2, 4, 4, 4)}),
    _grouped(1, 6, (4, 6), optional={10: normal(2, 1, 1, 6)}),
    _grouped(4, None, (4, 2), causal=0),
    _grouped(1, 6, (4, 6), causal=0),
    _grouped(4, None, (4, 4), optional={9: np.array([[2, 3, 4, 5], [0, 1, 2, 3]])}, do_rotary=1),
    _grouped(1, 6, (4, 6), optional={9: np.array([[2], [4]])}, do_rotary=1),
    *(_grouped(4, 0, (4, 3), outputs=4, qk_output=mode, softcap=3.0, optional={10: normal(1, 1, 4, 4)}) for mode in (1, 2)),
    *(_grouped(1, 6, (4, 6), outputs=4, qk_output=mode, local_window_size=3) for mode in (1, 2)),
    _grouped(2, 9, (4, 6), optional={16: _numbers(2, 2)}, bound=9, do_rotary=1),
    _grouped(1, 9, (4, 6), optional={16: _numbers(1, 1)}, bound=9),
    *(
        _grouped(length, capacity, totals, sliding_window_cache=1, local_window_size=4, do_rotary=1)
        for length, capacity, totals in ((1, 4, (4, 4)), (1, 4, (10, 13)), (1, 6, (9, 12)), (5, 4, (5,)), (3, 6, (12,)), (7, 4, (7, 7)))
    ),
    _grouped(1, 6, (9, 12), optional={10: normal(1, 1, 1, 12)}, sliding_window_cache=1, local_window_size=4),
    *(
        _quantized(bits, per_channel, *step)
        for bits in (8, 4)
        for per_channel in (False, True)
        for step in ((1, 6, (4, 6)), (4, 0, (4, 4)))
    ),
    _one_token([], None),
    _one_token([integers(2, 6, low=0, high=2, dtype="int32")], None, mask_filter_value=-2.0, scale=0.3),
    _one_token([None, None, None, None, None, normal(48)], None),
    *(_one_token([None, None, _numbers(taken)], 6) for taken in (0, 3, 5)),
    _one_token([_MASK, normal(2, 2, 1, 4), _numbers(3), None, None, normal(48)], 6),
    _beams(),
    _shared_cache(3, 2),
    _shared_cache(1, 4, integers(2, 2, 8, low=0, high=2, dtype="int32")),
]
