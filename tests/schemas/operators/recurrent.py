"""RNN, GRU, LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.schemas.draw import Draw
from tests.schemas.examples import Example, generates

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


@generates("RNN", "GRU", "LSTM")
def recurrent(draw: Draw) -> Example:
    operator, dtype = draw.schema.name, draw.dtype("X")
    gates = GATES[operator]
    length, batch, size, hidden = draw.integer(1, 3), draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2)
    direction = draw.among(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    layout = draw.integer(0, 1) if draw.version >= 14 else 0

    def numbers(*shape: int) -> np.ndarray:
        return draw.plain(dtype, shape, -1, 1)

    x = numbers(batch, length, size) if layout else numbers(length, batch, size)
    inputs: list[np.ndarray | None] = [x, numbers(directions, gates * hidden, size), numbers(directions, gates * hidden, hidden)]
    inputs.append(numbers(directions, 2 * gates * hidden) if draw.flag() else None)
    inputs.append(draw.generator.integers(1, length + 1, batch).astype(np.int32) if draw.flag() else None)
    state = (batch, directions, hidden) if layout else (directions, batch, hidden)
    states = 2 if operator == "LSTM" else 1
    inputs += [numbers(*state) if draw.flag() else None for _ in range(states)]
    if operator == "LSTM":
        inputs.append(numbers(directions, 3 * hidden) if draw.flag() else None)
    while inputs[-1] is None:
        inputs.pop()
    attributes: dict[str, Any] = {"hidden_size": hidden}
    attributes |= {"direction": direction} if directions == 2 or draw.flag() or direction == "reverse" else {}
    attributes |= {"layout": 1} if layout else {}
    attributes |= draw.some(
        {
            "clip": lambda: 0.5,
            "linear_before_reset": lambda: draw.integer(0, 1),
            "input_forget": lambda: draw.integer(0, 1),
            "activations": lambda: [draw.among(["Tanh", "Sigmoid", "Relu"]) for _ in range(FUNCTIONS[operator] * directions)],
        }
    )
    attributes |= draw.some({"output_sequence": lambda: 1})
    outputs = [[True] * (1 + states)] + ([[True], [False, True]] if draw.version > 1 else [])
    return Example(inputs, attributes, draw.among(outputs))
