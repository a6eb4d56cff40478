"""All steps of a recurrent layer as they mostly come, in memory that is taken once: ONNX's default activations, and nothing clipped.

A step of a small layer costs what its calls cost, not what they compute: results are written in place, and the sigmoids and hyperbolic
tangents of a step come out of one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxgpu.provider import Array
from onnxgpu.providers.array_ops.recurrent_steps import Cell, States


def rnn_loop(xp: Any, cell: Cell, gates: Array, states: States) -> tuple[Array, States]:
    """H = tanh(gates + H R)."""
    (hidden,), y = states, _like(xp, gates, *gates.shape)
    for new, share in zip(y, gates, strict=True):
        xp.matmul(hidden, cell.r, out=new)
        xp.add(new, share, out=new)
        hidden = xp.tanh(new, out=new)
    return y, (hidden,)


def gru_loop(xp: Any, cell: Cell, gates: Array, states: States, linear_before_reset: bool) -> tuple[Array, States]:
    """Gates in ONNX's order: update, reset, hidden."""
    (hidden,), (batch, size), half = states, states[0].shape, xp.asarray(0.5, gates.dtype)
    y, both = _like(xp, gates, gates.shape[0], batch, size), 2 * size
    if linear_before_reset:
        total, weights = _like(xp, gates, batch, 3 * size), cell.r
        pair, candidate = total[:, :both], total[:, both:]
    else:
        total, weights, of_candidate = _like(xp, gates, batch, both), cell.r[:, :both], cell.r[:, both:]
        pair, candidate, reset_state = total, _like(xp, gates, batch, size), _like(xp, gates, batch, size)
    update, reset = pair[:, :size], pair[:, size:]
    for new, share in zip(y, gates, strict=True):
        xp.matmul(hidden, weights, out=total)
        xp.add(pair, share[:, :both], out=pair)
        xp.multiply(pair, half, out=pair)  # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2
        xp.tanh(pair, out=pair)
        xp.multiply(pair, half, out=pair)
        xp.add(pair, half, out=pair)
        if not linear_before_reset:
            xp.matmul(xp.multiply(reset, hidden, out=reset_state), of_candidate, out=candidate)
        else:
            if cell.rb is not None:
                xp.add(candidate, cell.rb, out=candidate)
            xp.multiply(candidate, reset, out=candidate)
        xp.add(candidate, share[:, both:], out=candidate)
        xp.tanh(candidate, out=candidate)
        xp.subtract(hidden, candidate, out=new)
        xp.multiply(new, update, out=new)
        hidden = xp.add(new, candidate, out=new)
    return y, (hidden,)


def lstm_loop(xp: Any, cell: Cell, gates: Array, states: States, seen: Callable[[Any, Array], Array] | None = None) -> tuple[Array, States]:
    """Gates in ONNX's order: input, output, forget, cell; `seen` is what the product takes for a hidden state."""
    hidden, (batch, size), half = states[0], states[0].shape, xp.asarray(0.5, gates.dtype)
    y, total, memory = (_like(xp, gates, *shape) for shape in ((gates.shape[0], batch, size), (batch, 4 * size), (batch, size)))
    memory[...] = states[1]
    three, (entering, leaving, forgetting, candidate) = total[:, : 3 * size], (total[:, i * size : (i + 1) * size] for i in range(4))
    for new, share in zip(y, gates, strict=True):
        xp.matmul(hidden if seen is None else seen(xp, hidden), cell.r, out=total)
        xp.add(total, share, out=total)
        xp.multiply(three, half, out=three)  # as above
        xp.tanh(total, out=total)
        xp.multiply(three, half, out=three)
        xp.add(three, half, out=three)
        xp.multiply(memory, forgetting, out=memory)
        xp.multiply(candidate, entering, out=candidate)
        xp.add(memory, candidate, out=memory)
        xp.tanh(memory, out=new)
        hidden = xp.multiply(new, leaving, out=new)
    return y, (hidden, memory)


def _like(xp: Any, gates: Array, *shape: int) -> Array:
    """Memory that the loop writes."""
    return xp.empty_like(gates, shape=shape)
