"""onnxruntime's forms of LSTM: AttnLSTM, which attends to a memory, and DynamicQuantizeLSTM, with 8-bit weights.

Spec: onnxruntime's ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.host_values import braced
from onnxgpu.providers.array_ops.precision import stored, widened
from onnxgpu.providers.array_ops.quantization import dynamic_quantize_linear
from onnxgpu.providers.array_ops.recurrent import Names, Numbers, cells_of, directions_of, initial_state, lstm_step, run
from onnxgpu.providers.array_ops.recurrent_loops import lstm_loop
from onnxgpu.providers.array_ops.recurrent_steps import Cell, States, run_direction
from onnxgpu.providers.array_ops.registry import operator

_LEVELS = 255
_DEFAULTS = ("Sigmoid", "Tanh", "Tanh")


@dataclass(frozen=True, slots=True)
class _Attention:
    """Bahdanau's attention of one direction.

    Attributes:
        query_weights: (hidden, A).
        keys: the memory through its layer, (batch, steps, A).
        vector: (A,).
        values: the memory, zero behind its end, (batch, steps, depth).
        seen: False behind the memory's end, (batch, steps).
        layer: (depth + hidden, size), or None: the context itself is given on.
    """

    query_weights: Array
    keys: Array
    vector: Array
    values: Array
    seen: Array
    layer: Array | None

    @property
    def size(self) -> int:
        """How many features it gives."""
        return int(self.values.shape[2] if self.layer is None else self.layer.shape[1])

    def of(self, xp: Any, hidden: Array) -> Array:
        """What a hidden state (batch, hidden) makes of the memory: (batch, size)."""
        query = xp.matmul(hidden, self.query_weights)[:, None]
        scores = xp.sum(xp.tanh(self.keys + query) * self.vector, axis=2)
        scores = xp.where(self.seen, scores, xp.asarray(-np.inf, scores.dtype))
        shares = xp.exp(scores - xp.max(scores, axis=1, keepdims=True))
        shares = shares / xp.sum(shares, axis=1, keepdims=True)
        context = xp.matmul(shares[:, None], self.values)[:, 0]
        return context if self.layer is None else xp.matmul(xp.concatenate((hidden, context), axis=1), self.layer)


def _attention(
    xp: Any, direction: int, qw: Array, mw: Array, v: Array, memory: Array, lengths: Array | None, aw: Array | None
) -> _Attention:
    steps = xp.arange(memory.shape[1])
    seen = xp.ones(memory.shape[:2], bool) if lengths is None else steps < lengths[:, None]
    values = xp.where(seen[..., None], memory, xp.zeros((), memory.dtype))
    return _Attention(qw[direction], xp.matmul(values, mw[direction]), v[direction], values, seen, None if aw is None else aw[direction])


@operator("AttnLSTM", domain="com.microsoft")
def attention_lstm(
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    sequence_lens: Array = None,
    initial_h: Array = None,
    initial_c: Array = None,
    p: Array = None,
    qw: Array = None,
    mw: Array = None,
    v: Array = None,
    memory: Array = None,
    memory_seq_lens: Array = None,
    aw: Array = None,
    *,
    activation_alpha: Numbers = None,
    activation_beta: Numbers = None,
    activations: Names = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """An LSTM whose input has what it attended to in the step before beside it; W is (directions, 4 * hidden, input + size)."""
    if any(tensor is None for tensor in (qw, mw, v, memory)):
        raise InvalidArgument("AttnLSTM: expected QW, MW, V and M, of which the node leaves some out")
    attributes = {"activation_alpha": activation_alpha, "activation_beta": activation_beta, "activations": activations, "clip": clip}
    backwards = directions_of("AttnLSTM", direction, w)
    tensors = {"w": w, "r": r, "b": b, "p": p}
    hiddens, finals = [], []
    for d, cell in enumerate(cells_of("AttnLSTM", 4, tensors, attributes, _DEFAULTS, len(backwards))):
        attention = _attention(xp, d, qw, mw, v, memory, memory_seq_lens, aw)
        own = x.shape[2]
        if cell.w.shape[1] != own + attention.size:
            raise InvalidArgument(f"AttnLSTM: expected W with {own} + {attention.size} columns, got shape {braced(w.shape)}")
        attended = cell.w[:, own:].T

        def step(
            xp: Any, cell: Cell, gates: Array, states: States, attention: _Attention = attention, attended: Array = attended
        ) -> States:
            hidden, cell_state = lstm_step(xp, cell, gates + xp.matmul(states[2], attended), states[:2], bool(input_forget))
            return hidden, cell_state, attention.of(xp, hidden)

        first = [initial_state(xp, state, d, 0, x, r.shape[2]) for state in (initial_h, initial_c)]
        states = (*first, xp.zeros((x.shape[1], attention.size), x.dtype))
        hidden, last = run_direction(xp, replace(cell, w=cell.w[:, :own]), step, x, states, sequence_lens, backwards[d])
        hiddens.append(hidden)
        finals.append(last)
    results = (xp.stack(hiddens, axis=1), *(xp.stack([last[i] for last in finals]) for i in range(2)))
    return tuple(stored(xp, value, x.dtype) for value in results)[:output_count]


def _through_bytes(xp: Any, x: Array) -> Array:
    """`x` as it comes out of 8-bit numbers with one scale and zero point for all."""
    if not x.size:
        return x
    numbers, scale, zero = dynamic_quantize_linear(xp, x)
    return (numbers.astype(np.float32) - zero.astype(np.float32)) * scale


def _rows_through_bytes(xp: Any, x: Array) -> Array:
    """The same for `x` (batch, hidden) with a scale and zero point for each row, which so does not depend on the others."""
    low, high = xp.minimum(x.min(axis=1, keepdims=True), 0), xp.maximum(x.max(axis=1, keepdims=True), 0)
    scale = (high - low) / np.float32(_LEVELS)
    scale += scale == 0
    zero = xp.rint(-low / scale)
    numbers = x / scale
    xp.rint(numbers, out=numbers)
    xp.minimum(numbers, _LEVELS - zero, out=numbers)  # zero is in 0 … 255, as 0 is in low … high
    xp.maximum(numbers, -zero, out=numbers)
    return xp.multiply(numbers, scale, out=numbers)


def _weights(xp: Any, weights: Array, scale: Array, zero_point: Array) -> Array:
    """Weights (directions, inputs, gates) as numbers, transposed; one scale a direction or one a column."""
    columns = (weights.shape[0], 1, -1)
    wide = (weights.astype(np.float32) - zero_point.astype(np.float32).reshape(columns)) * widened(scale).reshape(columns)
    return xp.swapaxes(wide, 1, 2)


@operator("DynamicQuantizeLSTM", domain="com.microsoft")
def dynamic_quantize_lstm(
    xp: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    sequence_lens: Array = None,
    initial_h: Array = None,
    initial_c: Array = None,
    p: Array = None,
    w_scale: Array = None,
    w_zero_point: Array = None,
    r_scale: Array = None,
    r_zero_point: Array = None,
    *,
    activation_alpha: Numbers = None,
    activation_beta: Numbers = None,
    activations: Names = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    output_count: int = 1,
) -> tuple[Array, ...]:
    """An LSTM whose input, and whose hidden state at each step, are quantised to 8 bits before the products.

    Weights are (directions, input or hidden, 4 * hidden).
    """
    if any(tensor is None for tensor in (w_scale, w_zero_point, r_scale, r_zero_point)):
        raise InvalidArgument("DynamicQuantizeLSTM: expected scales and zero points of W and R, of which the node leaves some out")
    attributes = {
        "activation_alpha": activation_alpha,
        "activation_beta": activation_beta,
        "activations": activations,
        "clip": clip,
        "direction": direction,
        "layout": 0,
    }

    def step(xp: Any, cell: Cell, gates: Array, states: States) -> States:
        return lstm_step(xp, cell, gates, (_rows_through_bytes(xp, states[0]), states[1]), bool(input_forget))

    def loop(xp: Any, cell: Cell, gates: Array, states: States) -> tuple[Array, States]:
        return lstm_loop(xp, cell, gates, states, _rows_through_bytes)

    weights = {"w": _weights(xp, w, w_scale, w_zero_point), "r": _weights(xp, r, r_scale, r_zero_point)}
    tensors = {**weights, "b": b, "lengths": sequence_lens, "p": p}
    name, given = "DynamicQuantizeLSTM", _through_bytes(xp, x)
    chosen = None if input_forget else loop
    return run(xp, name, 4, step, given, tensors, (initial_h, initial_c), attributes, _DEFAULTS, output_count, loop=chosen)
