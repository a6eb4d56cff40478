"""onnxruntime's forms of LSTM: with attention to a memory, and with 8-bit weights.

onnxruntime quantises the hidden states of as many rows together as fall to one of its threads, so the cases of
DynamicQuantizeLSTM have one row; its int8 products saturate on machines without VNNI, so these weights are small.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.random_arrays import integers, normal, uniform

_STEPS, _BATCH, _INPUT, _HIDDEN = 3, 2, 4, 5
_DEPTH, _MEMORY, _SCORED, _LAYER = 7, 8, 6, 9


def _attention(
    directions: int = 1,
    layer: bool = True,
    optional: dict[int, np.ndarray] | None = None,
    bias: bool = True,
    memory_lengths: np.ndarray | None = None,
    outputs: int = 3,
    **attributes: Any,
) -> Case:
    """`optional` holds sequence_lens, initial_h, initial_c and P by position."""
    size = _LAYER if layer else _DEPTH
    inputs = [
        normal(_STEPS, _BATCH, _INPUT),
        normal(directions, 4 * _HIDDEN, _INPUT + size),
        normal(directions, 4 * _HIDDEN, _HIDDEN),
        normal(directions, 8 * _HIDDEN) if bias else None,
        *((optional or {}).get(i) for i in range(4, 8)),
        normal(directions, _HIDDEN, _SCORED),
        normal(directions, _DEPTH, _SCORED),
        normal(directions, _SCORED),
        normal(_BATCH, _MEMORY, _DEPTH),
        memory_lengths,
        normal(directions, _DEPTH + _HIDDEN, _LAYER) if layer else None,
    ]
    return _case("AttnLSTM", inputs, outputs, attributes)


def _case(operator: str, inputs: list[np.ndarray | None], outputs: int, attributes: dict[str, Any]) -> Case:
    given = {"hidden_size": _HIDDEN, **attributes}
    return Case(operator, inputs, given, opset=1, domain="com.microsoft", outputs=outputs, oracle="onnxruntime", rtol=1e-4, atol=1e-5)


def _quantized(
    dtype: str,
    directions: int = 1,
    per_column: bool = False,
    optional: dict[int, np.ndarray] | None = None,
    zero: int = 0,
    **attributes: Any,
) -> Case:
    low, high, middle = (-60, 60, 0) if dtype == "int8" else (0, 256, 128)
    columns = (directions, 4 * _HIDDEN) if per_column else (directions,)
    zero_point = np.full(columns, middle + zero, dtype)
    inputs = [
        normal(_STEPS, 1, _INPUT),
        integers(directions, _INPUT, 4 * _HIDDEN, low=low, high=high, dtype=dtype),
        integers(directions, _HIDDEN, 4 * _HIDDEN, low=low, high=high, dtype=dtype),
        normal(directions, 8 * _HIDDEN),
        *((optional or {}).get(i) for i in range(4, 8)),
        uniform(*columns, high=0.02),
        zero_point,
        uniform(*columns, high=0.02, seed=1),
        zero_point,
    ]
    return _case("DynamicQuantizeLSTM", inputs, 3, attributes)


_LENGTHS = np.array([3, 2], "int32")
_STATES = {5: normal(1, _BATCH, _HIDDEN), 6: normal(1, _BATCH, _HIDDEN, seed=1)}

CASES = [
    _attention(),
    _attention(layer=False),
    _attention(2, direction="bidirectional"),
    _attention(direction="reverse", optional={4: _LENGTHS}),
    _attention(optional={4: _LENGTHS, 7: normal(1, 3 * _HIDDEN)}, outputs=1),
    _attention(optional=_STATES, bias=False),
    _attention(memory_lengths=np.array([8, 4], "int32")),
    _attention(input_forget=1, clip=0.5),
    *(_quantized(dtype, per_column=per_column) for dtype in ("int8", "uint8") for per_column in (False, True)),
    _quantized("uint8", zero=-7),
    _quantized("int8", zero=3, optional={4: np.array([2], "int32"), 7: normal(1, 3 * _HIDDEN)}),
    _quantized("uint8", 2, direction="bidirectional"),
    _quantized("uint8", optional={5: normal(1, 1, _HIDDEN), 6: normal(1, 1, _HIDDEN, seed=1)}, direction="reverse", input_forget=1),
]
