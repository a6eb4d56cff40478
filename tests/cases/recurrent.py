"""RNN, GRU and LSTM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.cases import Case
from tests.cases.oracles import expected_outputs
from tests.cases.random_arrays import normal

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_STEPS, _BATCH, _INPUT, _HIDDEN = 5, 3, 4, 2
_LENGTHS = np.array([5, 2, 3], np.int32)


def _recurrent(
    name: str,
    direction: str = "forward",
    bias: bool = True,
    lengths: bool = False,
    initial: bool = False,
    peepholes: bool = False,
    opset: int = 14,
    outputs: int | None = None,
    dtype: str = "float32",
    oracle: str = "any",
    **attributes: Any,
) -> Case:
    directions, gates = 2 if direction == "bidirectional" else 1, _GATES[name]
    inputs: list[np.ndarray | None] = [
        normal(_STEPS, _BATCH, _INPUT),
        normal(directions, gates * _HIDDEN, _INPUT),
        normal(directions, gates * _HIDDEN, _HIDDEN),
        normal(directions, 2 * gates * _HIDDEN) if bias else None,
        _LENGTHS if lengths else None,
        normal(directions, _BATCH, _HIDDEN) if initial else None,
    ]
    if name == "LSTM":
        inputs.append(normal(directions, _BATCH, _HIDDEN, seed=1) if initial else None)
        inputs.append(normal(directions, 3 * _HIDDEN) if peepholes else None)
    while inputs[-1] is None:
        inputs.pop()
    inputs = [x if x is None or x.dtype.kind == "i" else x.astype(dtype) for x in inputs]
    outputs = outputs or (3 if name == "LSTM" else 2)
    rtol, atol = (1e-2, 4e-3) if dtype == "float16" else (1e-4, 1e-5)
    attributes |= {"direction": direction, "hidden_size": _HIDDEN}
    return Case(name, inputs, attributes, opset=opset, outputs=outputs, rtol=rtol, atol=atol, oracle=oracle)


def _batch_first(name: str, direction: str = "forward", **attributes: Any) -> Case:
    """With layout 1, which onnxruntime does not run: the expectation is that of layout 0 with the batch axis moved."""
    first = _recurrent(name, direction, initial=True, lengths=True, **attributes)
    inputs = [None if x is None else x.swapaxes(0, 1) if x.ndim == 3 and i not in (1, 2) else x for i, x in enumerate(first.inputs)]
    y, *lasts = expected_outputs(first)
    expected = [y.transpose(2, 0, 1, 3), *(last.swapaxes(0, 1) for last in lasts)]
    return replace(
        first, inputs=inputs, attributes={**first.attributes, "layout": 1}, expected=expected, note="onnxruntime has layout 0 alone"
    )


def _sized(name: str, batch: int, hidden: int, dtype: str = "float32", **attributes: Any) -> Case:
    """States of several tiles, of depths that are no whole ones; lengths and two directions in float32, which onnxruntime has alone."""
    rows, scale, directions = _GATES[name] * hidden, hidden**-0.5, 2 if dtype == "float32" else 1
    recurrence = normal(directions, rows, hidden, seed=1) * scale
    arrays = [normal(3, batch, 5), normal(directions, rows, 5), recurrence, normal(directions, 2 * rows)]
    states = [normal(directions, batch, hidden, seed=seed) for seed in range(2, 3 + (name == "LSTM"))]
    lengths = np.arange(batch, dtype=np.int32) % 3 + 1 if directions == 2 else None
    inputs = [*(x.astype(dtype) for x in arrays), lengths, *(x.astype(dtype) for x in states)]
    rtol, atol = (1e-2, 4e-3) if dtype == "float16" else (1e-4, 1e-5)
    attributes |= {"direction": "bidirectional" if directions == 2 else "forward", "hidden_size": hidden}
    oracle = "any" if directions == 2 else "reference"
    return Case(name, inputs, attributes, opset=14, outputs=1 + len(states), rtol=rtol, atol=atol, oracle=oracle)


CASES = [
    *(_sized("LSTM", batch, hidden) for batch, hidden in ((1, 48), (8, 36), (11, 19))),
    *(_sized("LSTM", batch, hidden, "float16") for batch, hidden in ((1, 48), (9, 72), (3, 21))),
    *(_sized("GRU", 10, 20, dtype, linear_before_reset=1) for dtype in ("float32", "float16", "float64")),
    *(_sized(name, 9, 12) for name in ("RNN", "GRU")),
    *(_recurrent(name, direction) for name in _GATES for direction in ("forward", "reverse", "bidirectional")),
    *(_recurrent(name, direction, lengths=True, initial=True) for name in _GATES for direction in ("reverse", "bidirectional")),
    *(_recurrent(name, bias=False, clip=0.5) for name in _GATES),
    *(_recurrent(name, outputs=count) for name, count in (("RNN", 1), ("GRU", 1), ("LSTM", 1), ("LSTM", 2))),
    *(_recurrent(name, opset=opset) for name in _GATES for opset in (7, 22)),
    _recurrent("RNN", activations=["LeakyRelu"], activation_alpha=[0.3]),
    _recurrent("RNN", "bidirectional", activations=["Relu", "HardSigmoid"]),
    _recurrent("GRU", linear_before_reset=1, initial=True),
    _recurrent("GRU", "bidirectional", linear_before_reset=1, lengths=True),
    _recurrent("GRU", activations=["HardSigmoid", "Softsign"], activation_alpha=[0.3], activation_beta=[0.4]),
    _recurrent("LSTM", peepholes=True, initial=True),
    _recurrent("LSTM", input_forget=1),
    _recurrent("LSTM", activations=["Sigmoid", "Elu", "ScaledTanh"], activation_alpha=[0.7, 1.5], activation_beta=[0.6]),
    *(_recurrent(name, dtype="float16", oracle="reference") for name in _GATES),
    *(_recurrent(name, "reverse", dtype="float64", initial=True) for name in ("RNN", "LSTM")),
    *(_batch_first(name, direction) for name in _GATES for direction in ("reverse", "bidirectional")),
    _batch_first("GRU", linear_before_reset=1),
    Case(
        "LSTM", [normal(2, 70, 40), normal(2, 400, 40), normal(2, 400, 100)], {"direction": "bidirectional", "hidden_size": 100}, outputs=3
    ),
    Case("GRU", [normal(3, 1, 4), normal(1, 9, 4), normal(1, 9, 3), None, np.array([2], np.int32)], {"hidden_size": 3}, outputs=2),
    Case("RNN", [normal(3, 2, 4), normal(1, 3, 4), normal(1, 3, 3)], {"hidden_size": 3, "activations": ["Softplus"], "clip": 2.0}),
    Case(
        "LSTM",
        [normal(_BATCH, _STEPS, _INPUT), normal(1, 8, _INPUT), normal(1, 8, _HIDDEN)],
        {"hidden_size": _HIDDEN, "layout": 1},
        opset=14,
        outputs=3,
        oracle="reference",
    ),
]
